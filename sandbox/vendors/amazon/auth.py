"""Login with Amazon: a refresh token buys an access token for one hour of real time."""

import re
import secrets
from hmac import compare_digest

from sandbox.store import Row, Store

LIFETIME_SECONDS = 3600
# Name/Version (Language=...; ...): the language is the one attribute that must be there.
USER_AGENT = re.compile(r"^[^/()]+/[^/()]+ \((?:[^()]*;\s*)?Language=[^;()]+(?:;[^()]*)?\)$")


class GrantRefused(Exception):
    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


def grant_token(store: Store, fields: dict[str, str]) -> dict[str, object]:
    """Raises GrantRefused with the body that Login with Amazon gives."""
    if fields.get("grant_type") != "refresh_token":
        raise GrantRefused(
            400, "unsupported_grant_type", "The authorization grant type is not supported by this server"
        )
    for name in ("refresh_token", "client_id", "client_secret"):
        if not fields.get(name):
            raise GrantRefused(400, "invalid_request", f"The request is missing a required parameter : {name}")
    seller = store.one("select * from sellers where client_id = ?", (fields["client_id"],))
    if seller is None or not compare_digest(fields["client_secret"].encode(), seller["client_secret"].encode()):
        raise GrantRefused(401, "invalid_client", "Client authentication failed")
    if not compare_digest(fields["refresh_token"].encode(), seller["refresh_token"].encode()):
        raise GrantRefused(400, "invalid_grant", "The request has an invalid grant parameter : refresh_token")
    token = f"Atza|{secrets.token_urlsafe(48)}"
    with store.transaction():
        store.run("delete from tokens where expires_at < ?", (store.wall(),))
        store.insert(
            "tokens", token=token, kind="amazon", owner=seller["seller_id"], expires_at=store.wall() + LIFETIME_SECONDS
        )
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": LIFETIME_SECONDS,
        "refresh_token": fields["refresh_token"],
    }


def seller_of(store: Store, token: str | None) -> Row | None:
    """The seller an access token speaks for, or None when it is missing, unknown or expired."""
    if not token:
        return None
    return store.one(
        "select s.* from tokens t join sellers s on s.seller_id = t.owner"
        " where t.token = ? and t.kind = 'amazon' and t.expires_at > ?",
        (token, store.wall()),
    )


def is_user_agent(text: str | None) -> bool:
    # Escaped characters stand for themselves and never end an attribute.
    return bool(text) and USER_AGENT.match(re.sub(r"\\.", "x", text or "")) is not None
