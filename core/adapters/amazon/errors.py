"""What the Selling Partner API's errors mean. Sources: developer-docs.amazon.com/sp-api/docs/sp-api-errors-faq,
.../usage-plans-and-rate-limits, and the error tables of the Listings Items API (2021-08-01).
"""

from __future__ import annotations

from core.adapters.meanings import ErrorTable, Meaning

_STATUSES = {
    400: Meaning("refuse", "Amazon does not accept the request"),
    401: Meaning("renew", "Amazon does not accept the access token"),
    403: Meaning("renew", "Amazon refuses access: the token has expired, or the app lacks a role"),
    404: Meaning("refuse", "Amazon knows nothing of that name"),
    413: Meaning("refuse", "the request is too large for Amazon"),
    415: Meaning("refuse", "Amazon does not accept the form of the request"),
    429: Meaning("wait", "more calls than the usage plan allows"),
    500: Meaning("repeat", "Amazon failed inside"),
    503: Meaning("repeat", "Amazon is not available just now"),
}

ERRORS = ErrorTable(_STATUSES)
