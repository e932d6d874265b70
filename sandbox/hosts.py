"""Vendors by their own names: a call whose Host is a shop's domain, or Amazon's or Klaviyo's, goes there as at the
vendor's.

A client that insists on such a name is led here by its proxy setting or its transport, without a change to it.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.store import Store

AMAZON_LOGIN = "api.amazon.com"
KLAVIYO = "a.klaviyo.com"
AMAZON_API = re.compile(r"(sandbox\.)?sellingpartnerapi-(na|eu|fe)\.amazon\.com")


class ByHost:
    """An ASGI layer that puts the shop's domain, or the vendor's name, in front of the path."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            if prefix := self._prefix(host.rsplit(":", 1)[0].lower(), scope["path"]):
                raw = scope.get("raw_path") or scope["path"].encode()
                scope = {**scope, "path": prefix + scope["path"], "raw_path": prefix.encode() + raw}
        await self._app(scope, receive, send)

    def _prefix(self, host: str, path: str) -> str:
        if host == AMAZON_LOGIN:
            return "/amazon"
        if host == KLAVIYO:
            return "/klaviyo"
        if found := AMAZON_API.fullmatch(host):
            # Addresses of documents, which were given out here, say where they are.
            if path.startswith("/amazon/"):
                return ""
            return "/amazon-static" if found.group(1) else "/amazon"
        is_shop = path.startswith("/admin/") and self._store.one("select 1 from shops where domain = ?", (host,))
        return f"/shopify/{host}" if is_shop else ""
