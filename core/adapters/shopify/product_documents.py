"""The GraphQL documents about products, with page sizes that keep each below Shopify's 1000 points a query.

As `documents`, which has those about everything else and says how cost is counted.
"""

from __future__ import annotations

PRODUCTS_AT_ONCE = 4
METAFIELDS_AT_ONCE = 25
"""As many as one metafieldsSet takes (shopify.dev, metafieldsSet)."""

PRODUCT_CHANGES = """
query ProductChanges($query: String, $after: String) {
  products(first: 100, after: $after, query: $query, sortKey: UPDATED_AT) {
    pageInfo { hasNextPage endCursor }
    nodes { legacyResourceId updatedAt }
  }
}
"""

_METAFIELD = """
fragment Metafield on Metafield { namespace key type value }
"""

_MEDIUM = """
fragment Medium on Media { id alt mediaContentType ... on MediaImage { image { url } } }
"""

_VARIANT = """
fragment Variant on ProductVariant {
  legacyResourceId
  sku
  barcode
  price
  compareAtPrice
  taxable
  selectedOptions { name value }
  media(first: 1) { nodes { id } }
  inventoryItem {
    tracked
    requiresShipping
    measurement { weight { value unit } }
    unitCost { amount currencyCode }
  }
  metafields(first: 5) { pageInfo { hasNextPage endCursor } nodes { ...Metafield } }
}
"""

# Most products fit whole into it: what does not is read to its end by the queries after it.
SOME_PRODUCTS = (
    """
query SomeProducts($ids: [ID!]!) {
  nodes(ids: $ids) {
    ... on Product {
      legacyResourceId
      handle
      title
      descriptionHtml
      vendor
      productType
      status
      tags
      onlineStoreUrl
      updatedAt
      seo { title description }
      category { id }
      options(first: 3) { name }
      media(first: 10) { pageInfo { hasNextPage endCursor } nodes { ...Medium } }
      metafields(first: 10) { pageInfo { hasNextPage endCursor } nodes { ...Metafield } }
      variants(first: 9) { pageInfo { hasNextPage endCursor } nodes { ...Variant } }
    }
  }
}
"""
    + _METAFIELD
    + _MEDIUM
    + _VARIANT
)

PRODUCT_VARIANTS = (
    """
query ProductVariants($id: ID!, $after: String) {
  product(id: $id) {
    variants(first: 40, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...Variant } }
  }
}
"""
    + _METAFIELD
    + _VARIANT
)

PRODUCT_MEDIA = (
    """
query ProductMedia($id: ID!, $after: String) {
  product(id: $id) {
    media(first: 200, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...Medium } }
  }
}
"""
    + _MEDIUM
)

METAFIELDS = (
    """
query Metafields($id: ID!, $after: String) {
  node(id: $id) {
    ... on HasMetafields {
      metafields(first: 200, after: $after) { pageInfo { hasNextPage endCursor } nodes { ...Metafield } }
    }
  }
}
"""
    + _METAFIELD
)

PRODUCT_OF_HANDLE = """
query ProductOfHandle($handle: String!) {
  productByIdentifier(identifier: { handle: $handle }) { legacyResourceId }
}
"""

SET_PRODUCT = """
mutation SetProduct($identifier: ProductSetIdentifiers, $input: ProductSetInput!) {
  productSet(identifier: $identifier, input: $input, synchronous: true) {
    product { legacyResourceId }
    userErrors { code field message }
  }
}
"""

CHANGE_VARIANTS = """
mutation ChangeVariants($product: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkUpdate(productId: $product, variants: $variants) {
    productVariants { legacyResourceId }
    userErrors { code field message }
  }
}
"""

ADD_VARIANTS = """
mutation AddVariants($product: ID!, $variants: [ProductVariantsBulkInput!]!) {
  productVariantsBulkCreate(productId: $product, variants: $variants, strategy: PRESERVE_STANDALONE_VARIANT) {
    productVariants { legacyResourceId sku }
    userErrors { code field message }
  }
}
"""

DROP_VARIANTS = """
mutation DropVariants($product: ID!, $variants: [ID!]!) {
  productVariantsBulkDelete(productId: $product, variantsIds: $variants) {
    product { legacyResourceId }
    userErrors { code field message }
  }
}
"""

ORDER_VARIANTS = """
mutation OrderVariants($product: ID!, $positions: [ProductVariantPositionInput!]!) {
  productVariantsBulkReorder(productId: $product, positions: $positions) {
    product { legacyResourceId }
    userErrors { code field message }
  }
}
"""

SET_METAFIELDS = """
mutation SetMetafields($metafields: [MetafieldsSetInput!]!) {
  metafieldsSet(metafields: $metafields) {
    metafields { id }
    userErrors { code field message elementIndex }
  }
}
"""

DELETE_METAFIELDS = """
mutation DeleteMetafields($metafields: [MetafieldIdentifierInput!]!) {
  metafieldsDelete(metafields: $metafields) {
    deletedMetafields { ownerId namespace key }
    userErrors { field message }
  }
}
"""

ALL = {
    name: text
    for name, text in list(globals().items())
    if name.isupper() and not name.startswith("_") and isinstance(text, str) and "{" in text
}
