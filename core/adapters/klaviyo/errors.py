"""What Klaviyo's errors mean. Source: developers.klaviyo.com/en/docs/rate_limits_and_error_handling, .../
api_versioning_and_deprecation_policy."""

from __future__ import annotations

from core.adapters.meanings import ErrorTable, Meaning

ERRORS = ErrorTable(
    {
        400: Meaning("refuse", "Klaviyo does not accept the request"),
        401: Meaning("grant", "Klaviyo does not accept the private key: enter one that holds"),
        403: Meaning(
            "grant", "the private key lacks a scope: catalogs:read, catalogs:write and accounts:read are needed"
        ),
        404: Meaning("refuse", "Klaviyo knows nothing of that: of an id, or of the address that the connection names"),
        405: Meaning("refuse", "Klaviyo does not do that at the address that the connection names"),
        409: Meaning("refuse", "there is one of that id already"),
        410: Meaning("refuse", "this revision of the interface is retired: update Switchyard"),
        413: Meaning("refuse", "the request is too large for Klaviyo"),
        415: Meaning("refuse", "Klaviyo does not accept the form of the request"),
        429: Meaning("wait", "more calls than Klaviyo allows"),
        503: Meaning("repeat", "Klaviyo is not available just now"),
        524: Meaning("repeat", "Klaviyo took too long"),
    }
)
