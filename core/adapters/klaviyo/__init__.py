"""Klaviyo: a target of the catalogue."""

from core.adapters.klaviyo.target import KlaviyoTarget

__all__ = ["KlaviyoTarget"]
