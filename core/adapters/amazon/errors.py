"""What the Selling Partner API's errors mean. Sources: developer-docs.amazon.com/sp-api/docs/sp-api-errors-faq,
.../usage-plans-and-rate-limits, and the error tables of the Listings Items API (2021-08-01).
"""

from __future__ import annotations

from core.adapters.meanings import ErrorTable, Meaning

_STATUSES = {
    400: Meaning("refuse", "Amazon does not accept the request"),
    401: Meaning("renew", "Amazon does not accept the access token"),
    403: Meaning("renew", "Amazon refuses access: the token has expired, or, with a new one, the app lacks a role"),
    404: Meaning("refuse", "Amazon knows nothing of that name"),
    413: Meaning("refuse", "the request is too large for Amazon"),
    415: Meaning("refuse", "Amazon does not accept the form of the request"),
    429: Meaning("wait", "more calls than the usage plan allows"),
    500: Meaning("repeat", "Amazon failed inside"),
    503: Meaning("repeat", "Amazon is not available just now"),
}

ERRORS = ErrorTable(_STATUSES)

TOKEN_ERRORS = {
    "invalid_grant": "the refresh token does not hold (any longer): the seller withdrew consent, or it was given to"
    " another app; authorise the app again in Seller Central and enter the new refresh token",
    "invalid_client": "client ID and client secret do not belong together, or the secret was rotated: enter both again"
    " from the app's page in the Developer Central",
    "unauthorized_client": "the app may not ask in this way: enter the client ID that the refresh token was given to,"
    " and see that the app is not disabled",
    "invalid_scope": "the app may not ask for this in its own name: see that it is registered for the Selling Partner"
    " API",
    "unsupported_grant_type": "the address is not that of Login with Amazon: check `lwa_url`",
    "invalid_request": "something is missing of the credentials: enter all of them again",
}
"""What Login with Amazon says of credentials, and what to do. Source: developer-docs.amazon.com/sp-api/docs/
connecting-to-the-selling-partner-api; RFC 6749, section 5.2."""
