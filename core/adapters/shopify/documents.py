"""Every GraphQL document we send, with page sizes that keep each below Shopify's 1000 points a query.

Cost: a scalar 0, an object 1, a connection its size times its node, a mutation 10
(shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits). Tests hold these against the vendor's schema.
"""

from __future__ import annotations

from core.adapters.shopify import product_documents

API_VERSION = "2026-10"
ARRAY_MAX = 250
"""Elements of any list that is handed in."""
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
query Variants($first: Int!, $levels: Int!, $query: String, $after: String) {
  productVariants(first: $first, after: $after, query: $query, sortKey: ID) {
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

NEWEST_CHANGE = """
query NewestChange {
  orders(first: 1, sortKey: UPDATED_AT, reverse: true) {
    nodes { updatedAt }
  }
}
"""

VARIANT_COUNT = """
query VariantCount {
  productVariantsCount(limit: null) { count }
}
"""

_EXPORT = """
fragment Export on BulkOperation { id status errorCode createdAt objectCount url partialDataUrl }
"""

EXPORT = (
    """
mutation Export($query: String!) {
  bulkOperationRunQuery(query: $query, groupObjects: false) {
    bulkOperation { ...Export }
    userErrors { code field message }
  }
}
"""
    + _EXPORT
)

EXPORT_STATE = (
    """
query ExportState($id: ID!) {
  bulkOperation(id: $id) { ...Export }
}
"""
    + _EXPORT
)

EXPORTS = (
    """
query Exports {
  bulkOperations(first: 10, sortKey: CREATED_AT, reverse: true, query: "operation_type:query") {
    nodes { ...Export query }
  }
}
"""
    + _EXPORT
)

# Run by the shop by itself, not by the page: sizes mean nothing in it, and connections are given by their edges.
EXPORTED_VARIANTS = (
    """
{
  productVariants {
    edges {
      node {
        id
        legacyResourceId
        title
        sku
        barcode
        updatedAt
        product { legacyResourceId title status productType updatedAt }
        inventoryItem {
          id
          legacyResourceId
          tracked
          inventoryLevels { edges { node { id ...Level } } }
        }
      }
    }
  }
}
"""
    + _LEVEL
)

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
  currentQuantity
  variant { legacyResourceId }
  originalUnitPriceSet { shopMoney { amount } }
  totalDiscountSet { shopMoney { amount } }
  taxLines { priceSet { shopMoney { amount } } }
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
  totalTaxSet { shopMoney { amount } }
  lineItem { id }
}
"""

_REFUNDED_CARRIAGE = """
fragment RefundedCarriage on RefundShippingLine {
  subtotalAmountSet { shopMoney { amount } }
  taxAmountSet { shopMoney { amount } }
}
"""

# Most orders fit whole into the page: what does not is read to its end by the queries after it.
_ORDER = (
    """
fragment Order on Order {
  id
  legacyResourceId
  name
  sourceIdentifier
  sourceName
  edited
  createdAt
  processedAt
  updatedAt
  cancelledAt
  cancelReason
  displayFinancialStatus
  currencyCode
  totalPriceSet { shopMoney { amount } }
  totalTaxSet { shopMoney { amount } }
  totalShippingPriceSet { shopMoney { amount } }
  totalDiscountsSet { shopMoney { amount } }
  taxesIncluded
  discountCodes
  customAttributes { key value }
  customer { legacyResourceId }
  shippingAddress { countryCodeV2 }
  test
  lineItems(first: 10) { pageInfo { hasNextPage endCursor } nodes { ...Line } }
  fulfillments(first: 2) {
    id
    legacyResourceId
    status
    createdAt
    updatedAt
    trackingInfo(first: 5) { company number }
    fulfillmentLineItems(first: 10) { pageInfo { hasNextPage endCursor } nodes { ...FulfilledLine } }
  }
  refunds(first: 2) {
    id
    legacyResourceId
    createdAt
    processedAt
    totalRefundedSet { shopMoney { amount } }
    refundLineItems(first: 4) { pageInfo { hasNextPage endCursor } nodes { ...RefundLine } }
    refundShippingLines(first: 1) { pageInfo { hasNextPage endCursor } nodes { ...RefundedCarriage } }
  }
}
"""
    + _LINE
    + _FULFILLED_LINE
    + _REFUND_LINE
    + _REFUNDED_CARRIAGE
)

ORDERS = (
    """
query Orders($query: String!, $after: String) {
  orders(first: 4, after: $after, query: $query, sortKey: UPDATED_AT) {
    pageInfo { hasNextPage endCursor }
    nodes { ...Order }
  }
}
"""
    + _ORDER
)
ORDERS_AT_ONCE = 4

SOME_ORDERS = (
    """
query SomeOrders($ids: [ID!]!) {
  nodes(ids: $ids) { ... on Order { ...Order } }
}
"""
    + _ORDER
)
ORDER_SHIPMENTS_SHOWN = 2
ORDER_REFUNDS_SHOWN = 2

ORDER_LINES = (
    """
query OrderLines($id: ID!, $after: String) {
  order(id: $id) {
    lineItems(first: 98, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...Line } }
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

_FULFILMENT_ORDER_LINE = """
fragment FulfilmentOrderLine on FulfillmentOrderLineItem { id totalQuantity remainingQuantity lineItem { id } }
"""

FULFILMENT_ORDERS = (
    """
query FulfilmentOrders($id: ID!, $after: String) {
  order(id: $id) {
    fulfillmentOrders(first: 10, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes {
        id
        orderId
        status
        requestStatus
        updatedAt
        assignedLocation { name location { legacyResourceId } }
        fulfillmentHolds { reason }
        lineItems(first: 30) { pageInfo { hasNextPage endCursor } nodes { ...FulfilmentOrderLine } }
      }
    }
  }
}
"""
    + _FULFILMENT_ORDER_LINE
)

FULFILMENT_ORDER_LINES = (
    """
query FulfilmentOrderLines($id: ID!, $after: String) {
  fulfillmentOrder(id: $id) {
    lineItems(first: 250, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...FulfilmentOrderLine } }
  }
}
"""
    + _FULFILMENT_ORDER_LINE
)

ORDERS_BEHIND = """
query OrdersBehind($ids: [ID!]!) {
  nodes(ids: $ids) { ... on FulfillmentOrder { orderId } }
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
      refundLineItems(first: 148, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...RefundLine } }
    }
  }
}
"""
    + _REFUND_LINE
)

REFUNDED_CARRIAGE = (
    """
query RefundedCarriages($id: ID!, $after: String) {
  node(id: $id) {
    ... on Refund {
      refundShippingLines(first: 50, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...RefundedCarriage } }
    }
  }
}
"""
    + _REFUNDED_CARRIAGE
)

SET_QUANTITIES = """
mutation SetQuantities($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id createdAt changes(quantityNames: ["available"]) { item { id } location { id } } }
    userErrors { code field message }
  }
}
"""

SUBSCRIPTIONS = """
query Subscriptions($after: String) {
  webhookSubscriptions(first: 100, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes { id topic uri name filter includeFields }
  }
}
"""

SUBSCRIBE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $subscription: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $subscription) {
    webhookSubscription { id uri }
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

_CATEGORIES = "{ pageInfo { hasNextPage endCursor } nodes { id fullName isArchived isLeaf } }"

TAXONOMY_TOP = f"""
query TaxonomyTop($after: String) {{
  taxonomy {{ categories(first: 250, after: $after) {_CATEGORIES} }}
}}
"""

TAXONOMY_BELOW = f"""
query TaxonomyBelow($id: ID!, $after: String) {{
  taxonomy {{ categories(first: 250, after: $after, descendantsOf: $id) {_CATEGORIES} }}
}}
"""

ALL = {
    name: text
    for name, text in list(globals().items())
    if name.isupper() and not name.startswith("_") and isinstance(text, str) and "{" in text
} | product_documents.ALL
"""By name: for the tests that hold each against the vendor's schema and rules."""
