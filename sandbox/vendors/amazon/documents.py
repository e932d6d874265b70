"""The store of files beside the Selling Partner API: presigned addresses by which one file is put or fetched.

The addresses are signed as AWS Signature Version 4 signs a query; they carry their own permission, so that a token of
ours has no business there. They die by the date, as the vendor's do.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qsl, quote, urlencode
from uuid import uuid4
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import utc_at
from sandbox.store import Row, Store

LINK_SECONDS = 300
ALGORITHM = "AWS4-HMAC-SHA256"
STAMP = "%Y%m%dT%H%M%SZ"
ENCODING = "response-content-encoding"
REGION = "eu-west-1"


@dataclass(frozen=True)
class Refusal(Exception):
    """One of the file store's own answers, in XML."""

    status: int
    code: str
    message: str
    more: str = ""

    def as_response(self) -> Response:
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message>{self.more}"
            f"<RequestId>{secrets.token_hex(8).upper()}</RequestId><HostId>{secrets.token_urlsafe(40)}</HostId></Error>"
        )
        return Response(body, self.status, media_type="application/xml")


class Documents:
    """Files of sellers. What was not put there yet has no content."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        path = "/documents/{document_id}"
        return [Route(path, self.put, methods=["PUT"]), Route(path, self.fetch, methods=["GET"])]

    def open(self, seller: Row, content_type: str) -> str:
        """The id of a file that is yet to be put there; call inside a transaction."""
        return self._insert(seller, f"amzn1.tortuga.4.eu.{uuid4()}.T{secrets.token_hex(6).upper()}", content_type, None)

    def keep(self, seller: Row, content_type: str, data: bytes, *, is_gzip: bool, prefix: str = "tortuga") -> str:
        """The id of a file of the vendor's own; call inside a transaction."""
        number = f"amzn1.{prefix}.4.eu.{uuid4()}.T{secrets.token_hex(6).upper()}"
        return self._insert(seller, number, content_type, data, is_gzip)

    def _insert(self, seller: Row, number: str, content_type: str, data: bytes | None, is_gzip: bool = False) -> str:
        self._store.insert(
            "documents",
            id=number,
            seller_id=seller["seller_id"],
            content_type=content_type,
            data=data,
            gzip=is_gzip,
            created_at=self._store.wall(),
        )
        return number

    def find(self, seller: Row, document_id: str) -> Row | None:
        return self._store.one(
            "select id, content_type, data, gzip from documents where id = ? and seller_id = ?",
            (document_id, seller["seller_id"]),
        )

    def upload_url(self, request: Request, document_id: str, content_type: str) -> str:
        """Where the file may be put, with exactly this content type."""
        return self._url("PUT", request, document_id, {"content-type": content_type}, {})

    def download_url(self, request: Request, document: Row) -> str:
        """Where the file may be fetched; whoever asks for it is told its compression by the HTTP header too."""
        wanted = document["gzip"] and request.query_params.get("enableContentEncodingUrlHeader") == "true"
        return self._url("GET", request, document["id"], {}, {ENCODING: "gzip"} if wanted else {})

    def _url(
        self, method: str, request: Request, document_id: str, headers: dict[str, str], extra: dict[str, str]
    ) -> str:
        moment = datetime.fromtimestamp(self._store.wall(), UTC)
        signed = {**headers, "host": request.url.netloc}
        query = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self._access_key()}/{moment:%Y%m%d}/{REGION}/s3/aws4_request",
            "X-Amz-Date": moment.strftime(STAMP),
            "X-Amz-Expires": str(LINK_SECONDS),
            "X-Amz-SignedHeaders": ";".join(sorted(signed)),
            **extra,
        }
        path = f"/amazon/documents/{document_id}"
        query["X-Amz-Signature"] = signature(self._secret_key(), method, path, query, signed)
        return f"{request.url.scheme}://{request.url.netloc}{path}?{urlencode(query, quote_via=quote)}"

    async def put(self, request: Request) -> Response:
        data = await request.body()
        try:
            self._check(request)
        except Refusal as refusal:
            return refusal.as_response()
        with self._store.transaction():
            self._store.run("update documents set data = ? where id = ?", (data, request.path_params["document_id"]))
        return Response(None, 200, {"ETag": f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'})

    async def fetch(self, request: Request) -> Response:
        try:
            self._check(request)
            return self._content(request)
        except Refusal as refusal:
            return refusal.as_response()

    def _content(self, request: Request) -> Response:
        row = self._store.one("select * from documents where id = ?", (request.path_params["document_id"],))
        if row is None or row["data"] is None:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        encoding = request.query_params.get(ENCODING)
        headers = {"Content-Encoding": encoding} if encoding else {}
        return Response(row["data"], 200, headers, row["content_type"])

    def _check(self, request: Request) -> None:
        """Raises Refusal unless the address is whole, alive, and used as it was signed."""
        query = dict(parse_qsl(request.url.query, keep_blank_values=True))
        given = query.pop("X-Amz-Signature", "")
        if not given:
            raise Refusal(403, "AccessDenied", "Access Denied")
        if "authorization" in request.headers:
            raise Refusal(400, "InvalidArgument", "Only one auth mechanism allowed")
        self._check_age(query)
        names = query.get("X-Amz-SignedHeaders", "").split(";")
        if unsigned := sorted(name for name in request.headers if name.startswith("x-amz-") and name not in names):
            more = f"<HeadersNotSigned>{', '.join(unsigned)}</HeadersNotSigned>"
            message = "There were headers present in the request which were not signed"
            raise Refusal(403, "AccessDenied", message, more)
        path = f"/amazon/documents/{request.path_params['document_id']}"
        signed = {name: request.headers.get(name, "") for name in names}
        expected = signature(self._secret_key(), request.method, path, query, signed)
        if not hmac.compare_digest(expected, given):
            message = (
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method."
            )
            raise Refusal(403, "SignatureDoesNotMatch", message)

    def _check_age(self, query: dict[str, str]) -> None:
        try:
            signed_at = datetime.strptime(query["X-Amz-Date"], STAMP).replace(tzinfo=UTC).timestamp()
            expires_at = signed_at + int(query["X-Amz-Expires"])
        except (KeyError, ValueError):
            message = "Query-string authentication version 4 requires the X-Amz-Date and X-Amz-Expires parameters"
            raise Refusal(400, "AuthorizationQueryParametersError", message) from None
        # The signing date is cut to the second, and the address lives to the end of its last one.
        if self._store.wall() >= expires_at + 1:
            more = (
                f"<X-Amz-Expires>{LINK_SECONDS}</X-Amz-Expires><Expires>{utc_at(expires_at)}</Expires>"
                f"<ServerTime>{utc_at(self._store.wall())}</ServerTime>"
            )
            raise Refusal(403, "AccessDenied", "Request has expired", more)

    def _access_key(self) -> str:
        return self._kept("documents_access_key", lambda: f"AKIA{secrets.token_hex(8).upper()}")

    def _secret_key(self) -> str:
        return self._kept("documents_secret_key", lambda: secrets.token_urlsafe(30))

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        if not self._store.meta(name):
            with self._store.transaction():
                self._store.set_meta(name, make())
        return self._store.meta(name)


def signature(secret: str, method: str, path: str, query: dict[str, str], headers: dict[str, str]) -> str:
    """AWS Signature Version 4 of a presigned request; `headers` are the signed ones by their lower-case names."""
    names = sorted(headers)
    canonical = "\n".join(
        [
            method,
            quote(path, safe="/-_.~"),
            "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query)),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            "UNSIGNED-PAYLOAD",
        ]
    )
    scope = query.get("X-Amz-Credential", "").partition("/")[2]
    text = "\n".join([ALGORITHM, query.get("X-Amz-Date", ""), scope, sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.new(key, step.encode(), sha256).digest()
    return hmac.new(key, text.encode(), sha256).hexdigest()
