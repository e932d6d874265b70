"""Login with Amazon: a refresh token, or a scope of the application's own, buys an access token for one hour.

Source: developer-docs.amazon.com/sp-api/docs/connecting-to-the-selling-partner-api, .../grantless-operations.
"""

import re
import secrets
from hmac import compare_digest

from sandbox.store import Row, Store

LIFETIME_SECONDS = 3600
# What each kind of grant buys a token with.
NEEDED = {"refresh_token": "refresh_token", "client_credentials": "scope"}
NOTIFICATIONS_SCOPE = "sellingpartnerapi::notifications"
SCOPES = (NOTIFICATIONS_SCOPE, "sellingpartnerapi::client_credential:rotation")
# Name/Version (Language=...; ...): the language is the one attribute that must be there.
USER_AGENT = re.compile(r"^[^/()]+/[^/()]+ \((?:[^()]*;\s*)?Language=[^;()]+(?:;[^()]*)?\)$")


class GrantRefused(Exception):
    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


def grant_token(store: Store, fields: dict[str, str]) -> dict[str, object]:
    """Raises GrantRefused with the body that Login with Amazon gives."""
    grant = fields.get("grant_type")
    if grant not in NEEDED:
        raise GrantRefused(
            400, "unsupported_grant_type", "The authorization grant type is not supported by this server"
        )
    for name in (NEEDED[grant], "client_id", "client_secret"):
        if not fields.get(name):
            raise GrantRefused(400, "invalid_request", f"The request is missing a required parameter : {name}")
    if all(fields.get(name) for name in NEEDED.values()):
        raise GrantRefused(400, "invalid_request", "The request has both a refresh_token and a scope")
    seller = store.one("select * from sellers where client_id = ?", (fields["client_id"],))
    if seller is None or not compare_digest(fields["client_secret"].encode(), seller["client_secret"].encode()):
        raise GrantRefused(401, "invalid_client", "Client authentication failed")
    if grant == "client_credentials":
        if fields["scope"] not in SCOPES:
            raise GrantRefused(400, "invalid_scope", "The request has an invalid grant parameter : scope")
        return _issued(store, own_kind(fields["scope"]), seller["client_id"])
    if not compare_digest(fields["refresh_token"].encode(), seller["refresh_token"].encode()):
        raise GrantRefused(400, "invalid_grant", "The request has an invalid grant parameter : refresh_token")
    return {**_issued(store, "amazon", seller["seller_id"]), "refresh_token": fields["refresh_token"]}


def own_kind(scope: str) -> str:
    """How tokens are marked that speak for an application itself, within a scope."""
    return f"amazon:{scope}"


def _issued(store: Store, kind: str, owner: str) -> dict[str, object]:
    token = f"Atza|{secrets.token_urlsafe(48)}"
    with store.transaction():
        store.run("delete from tokens where expires_at < ?", (store.wall(),))
        store.insert("tokens", token=token, kind=kind, owner=owner, expires_at=store.wall() + LIFETIME_SECONDS)
    return {"access_token": token, "token_type": "bearer", "expires_in": LIFETIME_SECONDS}


def application_of(store: Store, token: str | None, scope: str) -> Row | None:
    """The application that an access token of its own speaks for within the scope; None as for `seller_of`.

    Every seller here has an application to himself: it is the row of that seller.
    """
    if not token:
        return None
    return store.one(
        "select s.* from tokens t join sellers s on s.client_id = t.owner"
        " where t.token = ? and t.kind = ? and t.expires_at > ?",
        (token, own_kind(scope), store.wall()),
    )


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
