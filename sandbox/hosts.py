"""Shops by their own name: a call whose Host is a shop's domain goes to that shop, as at the vendor's.

A client that insists on `{shop}.myshopify.com` is led here by its proxy setting, without a change to it.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.store import Store


class ByHost:
    """An ASGI layer that puts the shop's domain in front of the path."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/admin/"):
            host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            domain = host.rsplit(":", 1)[0].lower()
            if self._store.one("select 1 from shops where domain = ?", (domain,)):
                path = f"/shopify/{domain}{scope['path']}"
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)
