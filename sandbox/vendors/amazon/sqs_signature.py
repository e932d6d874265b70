"""AWS Signature Version 4, checked: who signs a request with which key.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from starlette.requests import Request

ALGORITHM = "AWS4-HMAC-SHA256"
# How far a signer's clock may be off, in seconds.
SKEW_MAX = 900
_PART = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")


@dataclass(frozen=True)
class Claim:
    """What an Authorization header says of itself."""

    access_key_id: str
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/aws4_request"


def claim_of(request: Request) -> Claim | None:
    """The claim of a request; None without one in the form of this algorithm."""
    text = request.headers.get("authorization", "")
    parts = dict(_PART.findall(text)) if text.startswith(ALGORITHM) else {}
    credential = parts.get("Credential", "").split("/")
    if len(credential) != 5 or credential[4] != "aws4_request" or not {"SignedHeaders", "Signature"} <= parts.keys():
        return None
    key, day, region, service, _ = credential
    return Claim(key, day, region, service, tuple(parts["SignedHeaders"].split(";")), parts["Signature"])


def is_genuine(request: Request, body: bytes, claim: Claim, secret: str) -> bool:
    """Whether the holder of the secret signed exactly this request."""
    stamp = request.headers.get("x-amz-date", "")
    text = "\n".join(
        (ALGORITHM, stamp, claim.scope, hashlib.sha256(_canonical(request, body, claim).encode()).hexdigest())
    )
    key = f"AWS4{secret}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), claim.signature)


def is_timely(request: Request, wall: float) -> bool:
    """Whether it was signed about now."""
    try:
        signed_at = datetime.strptime(request.headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(signed_at.timestamp() - wall) <= SKEW_MAX


def _canonical(request: Request, body: bytes, claim: Claim) -> str:
    path = request.scope.get("raw_path", request.scope["path"].encode()).decode("ascii").partition("?")[0]
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in claim.signed_headers)
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(request.query_params.multi_items())
    )
    digest = request.headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
    return "\n".join((request.method, quote(path, safe="/~"), query, headers, ";".join(claim.signed_headers), digest))
