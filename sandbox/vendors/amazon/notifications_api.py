"""The Notifications API (v1): where notifications go, and who asked for which.

Source: models/notifications-api-model of github.com/amzn/selling-partner-api-models. Destinations are the
application's own (grantless); subscriptions are made in the seller's name and removed in the application's.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.store import Row, Store
from sandbox.vendors.amazon.auth import NOTIFICATIONS_SCOPE
from sandbox.vendors.amazon.gate import Denied, Gate, answer, bad, body_of, many
from sandbox.vendors.amazon.notices import KINDS

DESTINATIONS_MAX = 50
NAME_MAX = 256
PAGE_MAX = 100
# What filters the types have: the others take none.
FILTERED = {"ORDER_CHANGE": {"eventFilterType", "marketplaceIds", "orderChangeTypes"}}
ORDER_CHANGES = ("BuyerRequestedChange", "DeliveryTipChange", "OrderStatusChange")
_ARN = re.compile(r"arn:aws:sqs:\S+:\S+:\S+")


class NotificationsApi:
    def __init__(self, store: Store, gate: Gate) -> None:
        self._store = store
        self._gate = gate

    def routes(self) -> list[Route]:
        subscriptions, destinations = "/notifications/v1/subscriptions", "/notifications/v1/destinations"
        kind, destination = f"{subscriptions}/{{kind}}", f"{destinations}/{{destination_id}}"
        one = f"{kind}/{{subscription_id}}"
        route, own = self._gate.route, self._gate.own_route
        scope = NOTIFICATIONS_SCOPE
        return [
            own("getDestinations", "GET", destinations, scope, self.get_destinations),
            own("createDestination", "POST", destinations, scope, self.create_destination),
            own("getDestination", "GET", destination, scope, self.get_destination),
            own("deleteDestination", "DELETE", destination, scope, self.delete_destination),
            route("getSubscriptions", "GET", subscriptions, self.get_subscriptions),
            route("getSubscription", "GET", kind, self.get_subscription),
            route("createSubscription", "POST", kind, self.create_subscription),
            own("getSubscriptionById", "GET", one, scope, self.get_by_id),
            own("deleteSubscriptionById", "DELETE", one, scope, self.delete_by_id),
        ]

    async def get_destinations(self, request: Request, application: Row) -> Response:
        rows = self._store.all(
            "select * from destinations where client_id = ? order by id", (application["client_id"],)
        )
        return answer({"payload": [_destination(row) for row in rows]})

    async def create_destination(self, request: Request, application: Row) -> Response:
        given = await _object(request)
        name, arn = given.get("name"), ((given.get("resourceSpecification") or {}).get("sqs") or {}).get("arn")
        if not isinstance(name, str) or not name or len(name) > NAME_MAX:
            raise bad(f"'name' is required and has at most {NAME_MAX} characters.")
        if not isinstance(arn, str) or not _ARN.fullmatch(arn):
            raise bad("'resourceSpecification' must name the ARN of an SQS queue.")
        client_id = application["client_id"]
        if self._store.one("select 1 from destinations where client_id = ? and arn = ?", (client_id, arn)):
            raise Denied(409, "Conflict", f"A destination for {arn} exists already.")
        if self._store.value("select count(*) from destinations where client_id = ?", (client_id,)) >= DESTINATIONS_MAX:
            raise bad(f"An application has at most {DESTINATIONS_MAX} destinations.")
        with self._store.transaction():
            self._store.insert("destinations", id=str(uuid4()), client_id=client_id, name=name, arn=arn)
        made = self._store.one("select * from destinations where client_id = ? and arn = ?", (client_id, arn))
        assert made is not None
        return answer({"payload": _destination(made)})

    async def get_destination(self, request: Request, application: Row) -> Response:
        return answer({"payload": _destination(self._own_destination(request, application))})

    async def delete_destination(self, request: Request, application: Row) -> Response:
        """Its subscriptions stay and lead nowhere."""
        found = self._own_destination(request, application)
        with self._store.transaction():
            self._store.run("delete from destinations where id = ?", (found["id"],))
        return answer({})

    async def get_subscriptions(self, request: Request, seller: Row) -> Response:
        kinds = many(request, "notificationTypes")
        if not kinds:
            raise bad("'notificationTypes' is required but was not provided.")
        wanted = [_known(kind) for kind in kinds]
        rows = [row for kind in wanted for row in self._of_kind(seller, kind, request)]
        return answer({"payload": {"subscriptions": [_subscription(row) for row in rows[:PAGE_MAX]]}})

    async def get_subscription(self, request: Request, seller: Row) -> Response:
        rows = self._of_kind(seller, _kind(request), request)
        if not rows:
            raise _no_subscription()
        return answer({"payload": _subscription(rows[0])})

    async def create_subscription(self, request: Request, seller: Row) -> Response:
        kind, given = _kind(request), await _object(request)
        version, destination_id = given.get("payloadVersion"), given.get("destinationId")
        if version not in KINDS[kind].versions:
            raise bad(f"'payloadVersion' {version} is not one of {', '.join(KINDS[kind].versions)} for {kind}.")
        who = (destination_id, seller["client_id"])
        if self._store.one("select 1 from destinations where id = ? and client_id = ?", who) is None:
            raise bad(f"The destination {destination_id} does not exist.")
        directive = _directive(kind, given.get("processingDirective"))
        self._refuse_unauthorised(seller, kind)
        if self._of_kind(seller, kind, None, version):
            raise Denied(409, "Conflict", f"A subscription to {kind} exists already for this seller and application.")
        with self._store.transaction():
            self._store.insert(
                "notice_subscriptions",
                id=str(uuid4()),
                seller_id=seller["seller_id"],
                client_id=seller["client_id"],
                kind=kind,
                payload_version=version,
                destination_id=destination_id,
                directive=orjson.dumps(directive).decode(),
            )
        return answer({"payload": _subscription(self._of_kind(seller, kind, None, version)[0])})

    async def get_by_id(self, request: Request, application: Row) -> Response:
        return answer({"payload": _subscription(self._own_subscription(request, application))})

    async def delete_by_id(self, request: Request, application: Row) -> Response:
        found = self._own_subscription(request, application)
        with self._store.transaction():
            self._store.run("delete from notice_subscriptions where id = ?", (found["id"],))
        return answer({})

    def _refuse_unauthorised(self, seller: Row, kind: str) -> None:
        """A type that the application's roles do not cover (see /_control/amazon/{seller}/forbidden_notices)."""
        if kind in orjson.loads(self._store.meta(f"forbidden_notices:{seller['seller_id']}", "[]")):
            raise Denied(
                403, "Unauthorized", "Access to requested resource is denied.", f"The application may not have {kind}."
            )

    def _own_destination(self, request: Request, application: Row) -> Row:
        found = self._store.one(
            "select * from destinations where id = ? and client_id = ?",
            (request.path_params["destination_id"], application["client_id"]),
        )
        if found is None:
            raise Denied(404, "NotFound", "The destination does not exist.")
        return found

    def _own_subscription(self, request: Request, application: Row) -> Row:
        found = self._store.one(
            "select * from notice_subscriptions where id = ? and kind = ? and client_id = ?",
            (request.path_params["subscription_id"], _kind(request), application["client_id"]),
        )
        if found is None:
            raise _no_subscription()
        return found

    def _of_kind(self, seller: Row, kind: str, request: Request | None, version: str | None = None) -> list[Row]:
        """The seller's subscriptions to a type, of one payload version if one is asked for."""
        wanted = version or (request.query_params.get("payloadVersion") if request is not None else None)
        return self._store.all(
            "select * from notice_subscriptions where seller_id = ? and kind = ?"
            " and (? is null or payload_version = ?) order by payload_version",
            (seller["seller_id"], kind, wanted, wanted),
        )


def _kind(request: Request) -> str:
    return _known(request.path_params["kind"])


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise bad(f"The notification type {kind} is not supported.")
    return kind


def _no_subscription() -> Denied:
    return Denied(404, "NotFound", "The subscription does not exist.")


def _directive(kind: str, given: Any) -> dict[str, Any]:
    """What a subscription says of its processing. Raises Denied where the type has no such filter."""
    if given is None:
        return {}
    if not isinstance(given, dict) or given.keys() - {"eventFilter"}:
        raise bad("'processingDirective' takes an eventFilter here.")
    wanted = given.get("eventFilter")
    if wanted is None:
        return {}
    if kind not in FILTERED:
        raise bad(f"{kind} does not support an event filter.")
    if not isinstance(wanted, dict) or wanted.get("eventFilterType") != kind or wanted.keys() - FILTERED[kind]:
        raise bad("'eventFilter' does not fit the notification type.")
    if wrong := set(wanted.get("orderChangeTypes") or ()) - set(ORDER_CHANGES):
        raise bad(f"'orderChangeTypes' does not take {min(wrong)}.")
    return dict(given)


def _destination(row: Row) -> dict[str, Any]:
    return {"destinationId": row["id"], "name": row["name"], "resource": {"sqs": {"arn": row["arn"]}}}


def _subscription(row: Row) -> dict[str, Any]:
    directive = orjson.loads(row["directive"])
    return {
        "subscriptionId": row["id"],
        "payloadVersion": row["payload_version"],
        "destinationId": row["destination_id"],
        **({"processingDirective": directive} if directive else {}),
    }


async def _object(request: Request) -> dict[str, Any]:
    found = await body_of(request)
    if not isinstance(found, dict):
        raise bad("The request body must be an object.")
    return found
