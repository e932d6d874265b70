"""Client-credentials tokens: 24 hours of the world's date, one app per shop."""

import secrets
from hmac import compare_digest

from sandbox.store import Row, Store
from sandbox.vendors.shopify.scopes import listed

LIFETIME_SECONDS = 86_399


class TokenRefused(Exception):
    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


def grant_token(store: Store, shop: Row, fields: dict[str, str]) -> dict[str, object]:
    """Raises TokenRefused with the vendor's OAuth error body."""
    if not fields.get("client_id") or not fields.get("client_secret"):
        raise TokenRefused(400, "invalid_request", "The request is missing a client id or a client secret.")
    if fields.get("grant_type") != "client_credentials":
        raise TokenRefused(400, "unsupported_grant_type", "The grant type must be client_credentials.")
    known = compare_digest(fields["client_id"].encode(), shop["client_id"].encode())
    if not (known and compare_digest(fields["client_secret"].encode(), shop["client_secret"].encode())):
        raise TokenRefused(401, "invalid_client", "The client id or the client secret is wrong.")
    token = f"shpat_{secrets.token_hex(16)}"
    with store.transaction():
        store.run("delete from tokens where expires_at < ?", (store.wall(),))
        store.insert(
            "tokens", token=token, kind="shopify", owner=shop["domain"], expires_at=store.wall() + LIFETIME_SECONDS
        )
    return {"access_token": token, "scope": ",".join(listed(shop)), "expires_in": LIFETIME_SECONDS}


def token_is_good(store: Store, shop: Row, token: str | None) -> bool:
    if not token:
        return False
    row = store.one("select owner, expires_at from tokens where token = ? and kind = 'shopify'", (token,))
    return row is not None and row["owner"] == shop["domain"] and row["expires_at"] > store.wall()


def revoke_tokens(store: Store, shop: Row) -> int:
    """Ends every token of the shop's app now; how many there were."""
    with store.transaction():
        return store.run("delete from tokens where kind = 'shopify' and owner = ?", (shop["domain"],))
