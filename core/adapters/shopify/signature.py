"""Proof that a webhook comes from Shopify. Source: shopify.dev/docs/apps/build/webhooks/verify-deliveries."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

HEADER = "X-Shopify-Hmac-Sha256"


def verify_signature(secrets: Sequence[str], body: bytes, header: str | None) -> bool:
    """Whether `header` is base64(HMAC-SHA256(secret, body)) for one of `secrets`.

    Several secrets, because Shopify signs with the old one for up to an hour after a rotation. Every secret is
    tried, in constant time, so that the answer's delay says nothing about which one or how much was right.
    """
    given = (header or "").strip().encode("utf-8", "replace")
    good = False
    for secret in secrets:
        expected = base64.b64encode(hmac.digest(secret.encode(), body, "sha256"))
        good |= hmac.compare_digest(expected, given) and bool(secret)
    return good
