"""Shops and their connections to the systems outside."""
