"""Every GraphQL document we send, with page sizes that keep each below Shopify's 1000 points a query.

Cost: a scalar 0, an object 1, a connection its size times its node, a mutation 10
(shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits). Tests hold these against the vendor's schema.
"""

from __future__ import annotations

API_VERSION = "2026-10"
QUERY_BUDGET = 900
"""Points; the rest of the 1000 is left for what the vendor may count otherwise."""

ABOUT = """
query About {
  shop { name myshopifyDomain currencyCode ianaTimezone plan { publicDisplayName } }
  currentAppInstallation { accessScopes { handle } }
}
"""

_LEVEL = """
fragment Level on InventoryLevel {
  updatedAt
  location { legacyResourceId }
  quantities(names: ["available"]) { quantity updatedAt }
}
"""

LOCATIONS = """
query Locations($after: String) {
  locations(first: 50, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes { legacyResourceId name }
  }
}
"""

VARIANTS = (
    """
query Variants($first: Int!, $levels: Int!, $after: String) {
  productVariants(first: $first, after: $after, sortKey: ID) {
    pageInfo { hasNextPage endCursor }
    nodes {
      legacyResourceId
      title
      sku
      barcode
      updatedAt
      product { legacyResourceId title status productType updatedAt }
      inventoryItem {
        legacyResourceId
        tracked
        inventoryLevels(first: $levels) { pageInfo { hasNextPage endCursor } nodes { ...Level } }
      }
    }
  }
}
"""
    + _LEVEL
)

VARIANT_COUNT = """
query VariantCount {
  productVariantsCount(limit: null) { count }
}
"""

ITEMS = (
    """
query Items($ids: [ID!]!, $levels: Int!) {
  nodes(ids: $ids) {
    ... on InventoryItem {
      legacyResourceId
      tracked
      inventoryLevels(first: $levels) { pageInfo { hasNextPage endCursor } nodes { ...Level } }
    }
  }
}
"""
    + _LEVEL
)

ITEM_LEVELS = (
    """
query ItemLevels($id: ID!, $after: String) {
  inventoryItem(id: $id) {
    inventoryLevels(first: 50, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...Level } }
  }
}
"""
    + _LEVEL
)

_LINE = """
fragment Line on LineItem {
  id
  name
  sku
  quantity
  variant { legacyResourceId }
  originalUnitPriceSet { shopMoney { amount } }
  totalDiscountSet { shopMoney { amount } }
}
"""

_FULFILLED_LINE = """
fragment FulfilledLine on FulfillmentLineItem { quantity lineItem { id } }
"""

_REFUND_LINE = """
fragment RefundLine on RefundLineItem {
  quantity
  restockType
  subtotalSet { shopMoney { amount } }
  lineItem { id }
}
"""

# Most orders fit whole into the page: what does not is read to its end by the queries after it.
ORDERS = (
    """
query Orders($query: String!, $after: String) {
  orders(first: 4, after: $after, query: $query, sortKey: UPDATED_AT) {
    pageInfo { hasNextPage endCursor }
    nodes {
      id
      legacyResourceId
      name
      sourceIdentifier
      createdAt
      processedAt
      updatedAt
      cancelledAt
      cancelReason
      displayFinancialStatus
      currencyCode
      totalPriceSet { shopMoney { amount } }
      totalDiscountsSet { shopMoney { amount } }
      customer { legacyResourceId }
      shippingAddress { countryCodeV2 }
      test
      lineItems(first: 12) { pageInfo { hasNextPage endCursor } nodes { ...Line } }
      fulfillments(first: 2) {
        id
        legacyResourceId
        status
        createdAt
        updatedAt
        trackingInfo(first: 5) { company number }
        fulfillmentLineItems(first: 12) { pageInfo { hasNextPage endCursor } nodes { ...FulfilledLine } }
      }
      refunds(first: 2) {
        id
        legacyResourceId
        createdAt
        processedAt
        totalRefundedSet { shopMoney { amount } }
        refundLineItems(first: 8) { pageInfo { hasNextPage endCursor } nodes { ...RefundLine } }
      }
    }
  }
}
"""
    + _LINE
    + _FULFILLED_LINE
    + _REFUND_LINE
)
ORDER_SHIPMENTS_SHOWN = 2
ORDER_REFUNDS_SHOWN = 2

ORDER_LINES = (
    """
query OrderLines($id: ID!, $after: String) {
  order(id: $id) {
    lineItems(first: 120, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...Line } }
  }
}
"""
    + _LINE
)

# Order-level discounts are not in a line's totalDiscountSet; asked for only where the sums differ.
ORDER_DISCOUNTS = """
query OrderDiscounts($id: ID!, $after: String) {
  order(id: $id) {
    lineItems(first: 40, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { id discountAllocations { allocatedAmountSet { shopMoney { amount } } } }
    }
  }
}
"""

ORDER_PARTS = """
query OrderParts($id: ID!) {
  order(id: $id) {
    fulfillments(first: 90) {
      id
      legacyResourceId
      status
      createdAt
      updatedAt
      trackingInfo(first: 5) { company number }
    }
    refunds(first: 100) {
      id
      legacyResourceId
      createdAt
      processedAt
      totalRefundedSet { shopMoney { amount } }
    }
  }
}
"""

FULFILMENT_LINES = (
    """
query FulfilmentLines($id: ID!, $after: String) {
  node(id: $id) {
    ... on Fulfillment {
      fulfillmentLineItems(first: 250, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...FulfilledLine } }
    }
  }
}
"""
    + _FULFILLED_LINE
)

REFUND_LINES = (
    """
query RefundLines($id: ID!, $after: String) {
  node(id: $id) {
    ... on Refund {
      refundLineItems(first: 200, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...RefundLine } }
    }
  }
}
"""
    + _REFUND_LINE
)

SET_QUANTITIES = """
mutation SetQuantities($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id createdAt }
    userErrors { code field message }
  }
}
"""

SUBSCRIPTIONS = """
query Subscriptions($after: String) {
  webhookSubscriptions(first: 100, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes { id topic uri name }
  }
}
"""

SUBSCRIBE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $subscription: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $subscription) {
    webhookSubscription { id }
    userErrors { field message }
  }
}
"""

RESUBSCRIBE = """
mutation Resubscribe($id: ID!, $subscription: WebhookSubscriptionInput!) {
  webhookSubscriptionUpdate(id: $id, webhookSubscription: $subscription) {
    webhookSubscription { id }
    userErrors { field message }
  }
}
"""

UNSUBSCRIBE = """
mutation Unsubscribe($id: ID!) {
  webhookSubscriptionDelete(id: $id) {
    deletedWebhookSubscriptionId
    userErrors { field message }
  }
}
"""

ALL = {
    name: text
    for name, text in list(globals().items())
    if name.isupper() and not name.startswith("_") and isinstance(text, str) and "{" in text
}
"""By name: for the tests that hold each against the vendor's schema and rules."""
