"""What Shopify's errors mean. Sources: shopify.dev/docs/api/usage/response-codes, .../admin-graphql (status and error
codes), .../mutations/inventorySetQuantities (user errors), .../usage/idempotent-requests.
"""

from __future__ import annotations

from core.adapters.meanings import ErrorTable, Meaning

_STATUSES = {
    400: Meaning("refuse", "Shopify cannot read the request"),
    401: Meaning("renew", "Shopify does not accept the access token"),
    402: Meaning("ask", "the shop is frozen: its bill is not paid"),
    403: Meaning("grant", "Shopify forbids it: the app lacks a scope, or the shop's plan does not allow it"),
    404: Meaning("ask", "there is no such shop at this address, or it has moved"),
    413: Meaning("refuse", "the request is too large for Shopify"),
    422: Meaning("refuse", "Shopify does not accept the content of the request"),
    423: Meaning("ask", "the shop is locked by Shopify"),
    429: Meaning("wait", "too many calls in a short time"),
    430: Meaning("ask", "Shopify's protection took the request for an attack: ask its support to let us through"),
    500: Meaning("repeat", "Shopify failed inside"),
    501: Meaning("refuse", "Shopify does not offer this"),
    502: Meaning("repeat", "Shopify failed inside"),
    503: Meaning("repeat", "Shopify is not available just now"),
    504: Meaning("repeat", "Shopify took too long"),
}

# errors[].extensions.code of an answer with status 200.
_CODES = {
    "THROTTLED": Meaning("wait", "the quota of points is used up"),
    "ACCESS_DENIED": Meaning("grant", "the app lacks a scope: grant it in the shop's admin and connect again"),
    "UNAUTHORIZED": Meaning("renew", "Shopify does not accept the access token"),
    "SHOP_INACTIVE": Meaning("ask", "the shop is not active"),
    "MAX_COST_EXCEEDED": Meaning("refuse", "the query costs more than one query may"),
    "MAX_INPUT_SIZE_EXCEEDED": Meaning("refuse", "more than 250 elements in one call"),
    "BAD_REQUEST": Meaning("refuse", "Shopify does not accept the form of the request"),
    "INVALID_FIELD_ARGUMENTS": Meaning("refuse", "the request lacks an argument that Shopify demands"),
    "INVALID_VARIABLE": Meaning("refuse", "a value of the request is not of the kind that Shopify expects"),
    "undefinedField": Meaning("refuse", "this version of the API does not know a field"),
    "INTERNAL_SERVER_ERROR": Meaning("repeat", "Shopify failed inside"),
    "SERVICE_UNAVAILABLE": Meaning("repeat", "Shopify is not available just now"),
    "TIMEOUT": Meaning("repeat", "Shopify took too long"),
}

# userErrors[].code: of setting quantities, and of starting bulk operations.
_OBJECTIONS = {
    "CHANGE_FROM_QUANTITY_STALE": Meaning("replan", "Shopify shows another quantity than we last knew"),
    "COMPARE_QUANTITY_STALE": Meaning("replan", "Shopify shows another quantity than we last knew"),
    "COMPARE_QUANTITY_REQUIRED": Meaning("refuse", "the request does not say which quantity it starts from"),
    "IDEMPOTENCY_CONCURRENT_REQUEST": Meaning("same_key", "an earlier attempt with the same key is still running"),
    "IDEMPOTENCY_KEY_PARAMETER_MISMATCH": Meaning("fresh_key", "the key was used before with other content"),
    "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED": Meaning("fresh_key", "an earlier attempt with the same key failed"),
    "INVALID_INVENTORY_ITEM": Meaning("refuse", "Shopify knows no such inventory item: was the product deleted?"),
    "INVALID_LOCATION": Meaning("refuse", "Shopify knows no such location: was it closed?"),
    "INVALID_NAME": Meaning("refuse", "Shopify knows no quantity of that name"),
    "INVALID_QUANTITY_NEGATIVE": Meaning("refuse", "a quantity cannot be set below zero"),
    "INVALID_QUANTITY_TOO_HIGH": Meaning("refuse", "the quantity is above a billion"),
    "INVALID_QUANTITY_TOO_LOW": Meaning("refuse", "the quantity is below minus a billion"),
    "INVALID_REASON": Meaning("refuse", "Shopify does not know the reason given for the change"),
    "INVALID_REFERENCE_DOCUMENT": Meaning("refuse", "the document named for the change is no address"),
    "NON_MUTABLE_INVENTORY_ITEM": Meaning("refuse", "Shopify does not count the stock of this item"),
    "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR": Meaning("refuse", "the same item and place twice in one call"),
    "INVALID": Meaning("refuse", "Shopify does not accept the bulk operation"),
    "LIMIT_REACHED": Meaning("wait", "as many bulk operations as Shopify allows are running"),
    "OPERATION_IN_PROGRESS": Meaning("wait", "another bulk operation is running"),
}

ERRORS = ErrorTable(_STATUSES, _CODES, _OBJECTIONS)

# userErrors[].code: of productSet, productVariantsBulkUpdate and metafieldsSet. What is not here is as Shopify says it.
PRODUCT_WORDS = {
    "CAPABILITY_VIOLATION": "a rule of the metafield's definition at Shopify does not allow the value",
    "DUPLICATED_METAFIELD_VALUE": "the metafield must be unique at Shopify, and another product has the value",
    "DUPLICATED_OPTION_NAME": "two options have the same name",
    "DUPLICATED_OPTION_VALUE": "an option has the same value twice",
    "HANDLE_NOT_UNIQUE": "another product of the shop has that handle",
    "INVALID_INPUT": "Shopify does not accept the value",
    "INVALID_METAFIELD": "Shopify does not accept the metafield",
    "INVALID_TYPE": "Shopify keeps the metafield in another type",
    "INVALID_VALUE": "Shopify keeps the metafield in another type, or allows other values only",
    "INVALID_VARIANT": "Shopify does not accept the variant",
    "NEGATIVE_PRICE_VALUE": "a price is below nothing",
    "OPTIONS_OVER_LIMIT": "Shopify allows three options at most",
    "PRODUCT_DOES_NOT_EXIST": "Shopify has no such product any more",
    "PRODUCT_SUSPENDED": "Shopify has suspended the product",
    "PRODUCT_VARIANT_DOES_NOT_EXIST": "Shopify has no such variant any more",
    "VARIANTS_OVER_LIMIT": "the product has more variants than Shopify allows",
}
"""What happened, in words; Shopify's own come behind."""
