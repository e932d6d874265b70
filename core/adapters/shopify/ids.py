"""Global ids and the plain numbers in them. Only the numbers cross our border."""

from __future__ import annotations


def gid(kind: str, ref: str) -> str:
    """gid://shopify/Kind/123"""
    return f"gid://shopify/{kind}/{ref}"
