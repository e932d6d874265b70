"""SalesChannel over Shopify's Admin GraphQL API and webhooks."""

from core.adapters.shopify.channel import ShopifyChannel
from core.adapters.shopify.parsing import POLLED_ORDER, SUBSCRIBED, TOPICS, UnreadableBody
from core.adapters.shopify.signature import verify_signature

__all__ = ["POLLED_ORDER", "SUBSCRIBED", "TOPICS", "ShopifyChannel", "UnreadableBody", "verify_signature"]
