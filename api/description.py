"""What the public port offers, in the words of OpenAPI 3.1: for whoever sets up a channel by hand, and for tests."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {"error": {"type": "string", "description": "What is wrong, in one sentence."}},
}


_READY = {"$ref": "#/components/schemas/Ready"}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error(description: str) -> dict[str, Any]:
    return _json(description, {"$ref": "#/components/schemas/Error"})


def _header(name: str, description: str, schema: dict[str, Any], *, is_needed: bool = True) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": is_needed, "description": description, "schema": schema}


def _word(length_max: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": length_max, "pattern": "^[\\x21-\\x7e]+$"}


DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Switchyard",
        "version": "1",
        "description": "What channels call, and links to documents lead to. A 200 to a delivery means that it is"
        " committed; the same one again changes nothing. Everything else but 5xx is final for it: the same is answered"
        " alike again.",
    },
    "paths": {
        "/webhooks/shopify/{connection}": {
            "post": {
                "operationId": "receiveShopifyWebhook",
                "summary": "Record one webhook of Shopify, verified on its raw body.",
                "parameters": [
                    {
                        "name": "connection",
                        "in": "path",
                        "required": True,
                        "description": "Our number of the connection.",
                        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
                    },
                    _header("X-Shopify-Hmac-Sha256", "HMAC-SHA256 of the body, in base64.", {"type": "string"}),
                    _header("X-Shopify-Webhook-Id", "The id of this delivery: once only.", _word(200)),
                    _header("X-Shopify-Topic", "What it is about.", _word(100)),
                    _header("X-Shopify-Shop-Domain", "The shop that the connection is for.", _word(255)),
                    _header("X-Shopify-Event-Id", "The event behind it.", {"type": "string"}, is_needed=False),
                    _header("X-Shopify-Triggered-At", "When, by RFC 3339.", {"type": "string"}, is_needed=False),
                ],
                "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
                "responses": {
                    "200": {"description": "Committed, by this delivery or by an earlier one of the same id."},
                    "400": _error("A header that must be there is not, or cannot be; or the body ended early."),
                    "401": _error("The signature does not fit."),
                    "403": _error("The connection is for another shop."),
                    "404": _error("No such connection."),
                    "408": _error("The body did not arrive in time."),
                    "413": _error("The body is too long."),
                    "422": _error("It cannot be recorded as it is."),
                    "503": _error("Not recorded: to be delivered again after the seconds of Retry-After."),
                },
            }
        },
        "/documents/{token}": {
            "parameters": [
                {
                    "name": "token",
                    "in": "path",
                    "required": True,
                    "description": "The last part of a link that was given out: signed, for one act, until a moment.",
                    "schema": {"type": "string", "minLength": 1},
                }
            ],
            "put": {
                "operationId": "uploadDocument",
                "summary": "Store a file by a link for that: all of it or nothing, once.",
                "requestBody": {"required": True, "content": {"*/*": {"schema": {}}}},
                "responses": {
                    "201": _json("Stored.", {"$ref": "#/components/schemas/Stored"}),
                    "400": _error("The file did not arrive whole."),
                    "403": _error("The link is none of ours, or not for this."),
                    "408": _error("The file did not arrive in time."),
                    "409": _error("A file was uploaded with this link before."),
                    "410": _error("The link has expired, or nobody waits for the file any more."),
                    "413": _error("The file is larger than the link is for."),
                    "415": _error("The link is for a file of another type."),
                    "503": _error("Not stored: to be sent again after the seconds of Retry-After."),
                    "507": _error("There is no room left for documents."),
                },
            },
            "get": {
                "operationId": "downloadDocument",
                "summary": "Fetch a file by a link for that, or parts of it (Range).",
                "responses": {
                    "200": {"description": "All of it.", "content": {"*/*": {}}},
                    "206": {"description": "The parts that were asked for.", "content": {"*/*": {}}},
                    "400": {"description": "The parts are not named as they should.", "content": {"text/plain": {}}},
                    "403": _error("The link is none of ours, or not for this."),
                    "410": _error("The link has expired, or the file was deleted."),
                    "416": {"description": "There are no such parts.", "content": {"text/plain": {}}},
                    "503": _error("To be asked again after the seconds of Retry-After."),
                },
            },
        },
        "/healthz": {
            "get": {
                "operationId": "alive",
                "summary": "The process serves.",
                "responses": {
                    "200": _json(
                        "It does.",
                        {"type": "object", "required": ["status"], "properties": {"status": {"const": "alive"}}},
                    )
                },
            }
        },
        "/readyz": {
            "get": {
                "operationId": "ready",
                "summary": "Deliveries can be recorded.",
                "responses": {
                    "200": _json(
                        "They can; what is away all the same stands in `degraded`.",
                        {"$ref": "#/components/schemas/Ready"},
                    ),
                    "503": _json("They cannot, for want of what is `missing`.", {"$ref": "#/components/schemas/Ready"}),
                },
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "describe",
                "summary": "This document.",
                "responses": {"200": _json("It.", {"type": "object", "required": ["openapi", "paths"]})},
            }
        },
    },
    "components": {
        "schemas": {
            "Error": _ERROR,
            "Stored": {
                "type": "object",
                "required": ["bytes", "sha256", "state"],
                "additionalProperties": False,
                "properties": {
                    "bytes": {"type": "integer", "minimum": 0},
                    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                    "state": {"const": "stored"},
                },
            },
            "Ready": {
                "type": "object",
                "required": ["status", "degraded"],
                "additionalProperties": False,
                "properties": {
                    "status": {"enum": ["ready", "not ready"]},
                    "missing": {"type": "array", "items": {"type": "string"}},
                    "degraded": {"type": "array", "items": {"type": "string"}},
                },
            },
        }
    },
}


async def describe(_: Request) -> Response:
    """GET /openapi.json."""
    return JSONResponse(DESCRIPTION)
