"""SalesChannel over Amazon's Selling Partner API, for a seller's own stock."""

from core.adapters.amazon.channel import AmazonSellerChannel

__all__ = ["AmazonSellerChannel"]
