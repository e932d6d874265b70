"""What stands between our workers and the sandbox in a test: passes every request on, and keeps which writes came."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


class Passing:
    """A road to the sandbox that remembers the idempotency keys of the writes that took it, in their order."""

    def __init__(self, target: str) -> None:
        self.target = httpx.Client(base_url=target, timeout=30)
        self.keys: list[str] = []
        road = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                road.note(body)
                kept = {name: self.headers[name] for name in _PASSED if name in self.headers}
                answer = road.target.post(self.path, content=body, headers=kept)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_words: Any) -> None:
                """Nothing to say."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def note(self, body: bytes) -> None:
        if b"inventorySetQuantities" in body:
            self.keys.append(json.loads(body)["variables"]["key"])

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.target.close()


_PASSED = ("Content-Type", "X-Shopify-Access-Token", "Accept")
