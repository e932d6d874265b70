"""Profiles, events and metrics of the fake Klaviyo, and who waits for what is sold out."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.sandbox.klaviyo_side import KlaviyoSide, change, compound, new_item, new_variant
from tests.sandbox.outside import Inside


@pytest.fixture
def side(inside: Inside) -> KlaviyoSide:
    return KlaviyoSide(inside)


def profile(**attributes: Any) -> dict[str, Any]:
    return {"type": "profile", "attributes": attributes}


def event(email: str = "a@b.test", name: str = "Order Shipped", **more: Any) -> dict[str, Any]:
    metric = {"data": {"type": "metric", "attributes": {"name": name}}}
    attributes = {"properties": {"parcel": 1}, "metric": metric, "profile": {"data": profile(email=email)}}
    return {"type": "event", "attributes": attributes | more}


def send(side: KlaviyoSide, *events: dict[str, Any]) -> list[dict[str, Any]]:
    """What was processed of them, and of earlier ones."""
    for entry in events:
        assert side.call("POST", "events", {"data": entry}).status_code == 202
    side.clock.advance(2)
    found: list[dict[str, Any]] = side.world.get(f"/klaviyo/{side.public_key}/events")["events"]
    return found


def bulk(*groups: tuple[dict[str, Any], list[dict[str, Any]]]) -> dict[str, Any]:
    def of(person: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
        bare = [{name: value for name, value in entry["attributes"].items() if name != "profile"} for entry in events]
        entries = [{"type": "event", "attributes": attributes} for attributes in bare]
        return {"type": "event-bulk-create", "attributes": {"profile": {"data": person}, "events": {"data": entries}}}

    many = {"data": [of(*group) for group in groups]}
    return {"data": {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": many}}}


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def test_an_event_makes_its_profile_and_its_metric_a_moment_later(side: KlaviyoSide) -> None:
    assert side.call("POST", "events", {"data": event(value=9.5, unique_id="o1")}).content == b""
    assert side.got("events")["data"] == []
    side.clock.advance(2)
    page = side.got("events", include="metric,profile")
    (found,) = page["data"]
    assert found["attributes"]["event_properties"] == {"parcel": 1, "$value": 9.5, "$event_id": "o1"}
    assert {
        entry["type"]: entry["attributes"].get("email") or entry["attributes"]["name"] for entry in page["included"]
    } == {
        "metric": "Order Shipped",
        "profile": "a@b.test",
    }
    for related in ("metric", "profile"):
        at = f"events/{found['id']}"
        whole, identifier = side.got(f"{at}/{related}")["data"], side.got(f"{at}/relationships/{related}")["data"]
        assert (whole["type"], whole["id"]) == (identifier["type"], identifier["id"])


def test_of_one_unique_id_the_first_counts(side: KlaviyoSide) -> None:
    kept = send(
        side,
        event(unique_id="o1-shipped", properties={"n": 1}),
        event(unique_id="o1-shipped", properties={"n": 2}),
        event(unique_id="o1-shipped", properties={"n": 3}, email="c@d.test"),
        event(unique_id="o1-shipped", properties={"n": 4}, name="Order Delivered"),
    )
    assert [entry["properties"]["n"] for entry in kept] == [1, 3, 4]


def test_without_a_unique_id_two_of_a_second_are_one(side: KlaviyoSide) -> None:
    times = ("2026-11-01T10:00:00.200Z", "2026-11-01T10:00:00.900Z", "2026-11-01T11:00:01+01:00")
    assert len(send(side, *[event(time=time) for time in times])) == 2


def test_a_backfill_starts_no_flow_and_a_lost_event_is_never_seen(side: KlaviyoSide, inside: Inside) -> None:
    inside.post("/faults", kind="lost_event", match="o3", count=1)
    kept = send(side, event(unique_id="o1", backfill=True), event(unique_id="o2"), event(unique_id="o3"))
    assert [(entry["unique_id"], entry["starts_flows"]) for entry in kept] == [("o1", False), ("o2", True)]


@pytest.mark.breaks_contract("event", "phone", "body")
@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"time": "1989-12-31T00:00:00Z"}, "/time"),
        ({"time": "2099-01-01T00:00:00Z"}, "/time"),
        ({"time": "soon"}, "/time"),
        ({"properties": {str(number): 1 for number in range(401)}}, "/properties"),
        ({"properties": {"long": "x" * 100_001}}, "/properties/long"),
        ({"profile": {"data": profile(phone_number="0171 234")}}, "/profile/data/attributes/phone_number"),
        ({"profile": {"data": profile(first_name="Ann")}}, "/profile/data"),
        ({"metric": {"data": {"type": "metric", "attributes": {}}}}, "/metric/data/attributes/name"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_an_event_of_another_form_is_refused(side: KlaviyoSide, more: dict[str, Any], pointer: str) -> None:
    # What the mark names is broken by each run.
    for wrong in ({"time": "1980-01-01T00:00:00Z"}, {"profile": {"data": profile(phone_number="1")}}, {"x": 1}):
        side.call("POST", "events", {"data": event(**wrong)})
    answer = side.call("POST", "events", {"data": event(**more)})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["source"]["pointer"] == f"/data/attributes{pointer}"
    assert send(side) == []


@pytest.mark.breaks_contract("unique_id")
def test_events_in_bulk_are_all_taken_or_none(side: KlaviyoSide) -> None:
    person = profile(email="a@b.test")
    twice = bulk((person, [event(unique_id="o1"), event(unique_id="o2")]), (person, [event(unique_id="o1")]))
    assert side.call("POST", "event-bulk-create-jobs", twice).status_code == 400
    assert send(side) == []
    good = bulk((person, [event(unique_id="o1")]), (profile(email="c@d.test"), [event(unique_id="o2", backfill=True)]))
    assert side.call("POST", "event-bulk-create-jobs", good).status_code == 202
    assert [(entry["email"], entry["starts_flows"]) for entry in send(side)] == [
        ("a@b.test", True),
        ("c@d.test", False),
    ]


@pytest.mark.breaks_contract("entries")
def test_a_thousand_events_are_the_most(side: KlaviyoSide) -> None:
    many = [event(unique_id=str(number)) for number in range(1001)]
    assert side.call("POST", "event-bulk-create-jobs", bulk((profile(email="a@b.test"), many))).status_code == 400


def test_events_are_found_by_time_metric_and_profile(side: KlaviyoSide) -> None:
    days = [f"2026-11-0{day}T00:00:00Z" for day in range(1, 6)]
    send(side, *[event(time=time, unique_id=time) for time in days], event(email="c@d.test", name="Other"))
    found = side.got("events", filter=f"greater-than(datetime,{days[1]}),less-or-equal(datetime,{days[3]})")["data"]
    assert [entry["attributes"]["event_properties"]["$event_id"] for entry in found] == [days[3], days[2]]
    (metric,) = [entry for entry in side.got("metrics")["data"] if entry["attributes"]["name"] == "Other"]
    (other,) = side.got("events", filter=f'equals(metric_id,"{metric["id"]}")')["data"]
    assert side.got(f"metrics/{metric['id']}")["data"] == metric
    person = other["relationships"]["profile"]["data"]["id"]
    assert [entry["id"] for entry in side.got("events", filter=f'equals(profile_id,"{person}")')["data"]] == [
        other["id"]
    ]
    first = side.got("events", **{"page[size]": "3", "sort": "datetime"})
    rest = side.call("GET", first["links"]["next"].partition("/klaviyo/api/")[2]).json()["data"]
    assert [len(first["data"]), len(rest)] == [3, 3]


def test_events_are_counted(side: KlaviyoSide) -> None:
    times = ("2026-11-01T09:00:00Z", "2026-11-01T10:00:00Z", "2026-11-03T00:00:00Z")
    send(side, *[event(time=time, value=2.5) for time in times])
    window = ["greater-or-equal(datetime,2026-11-01T00:00:00Z)", "less-than(datetime,2026-11-04T00:00:00Z)"]
    (metric,) = side.got("metrics")["data"]
    attributes = {"metric_id": metric["id"], "measurements": ["count", "sum_value", "unique"], "filter": window}
    body = {"data": {"type": "metric-aggregate", "attributes": attributes | {"interval": "day"}}}
    answer = side.call("POST", "metric-aggregates", body)
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]["attributes"]
    assert len(found["dates"]) == 3
    measured = found["data"][0]["measurements"]
    assert measured == {"count": [2, 0, 1], "sum_value": [5, 0, 2.5], "unique": [1, 0, 1]}
    body["data"]["attributes"]["filter"] = window[:1]  # type: ignore[index]
    assert side.call("POST", "metric-aggregates", body).status_code == 400


def test_a_profile_lives(side: KlaviyoSide) -> None:
    made = side.call("POST", "profiles", {"data": profile(email="a@b.test", first_name="Ann", last_name="Lee")})
    assert made.status_code == 201
    name = made.json()["data"]["id"]
    again = side.call("POST", "profiles", {"data": profile(email="a@b.test")})
    assert code(again) == (409, "duplicate_profile")
    assert again.json()["errors"][0]["meta"] == {"duplicate_profile_id": name}
    changes = {"first_name": None, "properties": {"likes": ["tea"]}}
    side.call("PATCH", f"profiles/{name}", {"data": profile(**changes) | {"id": name}})
    more = {"patch_properties": {"append": {"likes": "jam"}, "unset": "nothing"}}
    side.call("PATCH", f"profiles/{name}", {"data": profile() | {"id": name, "meta": more}})
    shown = side.got(f"profiles/{name}", **{"additional-fields[profile]": "subscriptions"})["data"]["attributes"]
    assert (shown["first_name"], shown["last_name"]) == (None, "Lee")
    assert shown["properties"] == {"likes": ["tea", "jam"]}
    assert "subscriptions" in shown
    assert side.call("GET", "profiles/nobody").status_code == 404
    assert [entry["id"] for entry in side.got("profiles", filter='equals(email,"a@b.test")')["data"]] == [name]
    assert side.got("profiles", filter='equals(email,"x@b.test")')["data"] == []


def test_an_upsert_creates_and_then_updates(side: KlaviyoSide) -> None:
    first = side.call("POST", "profile-import", {"data": profile(email="a@b.test", first_name="Ann")})
    again = side.call("POST", "profile-import", {"data": profile(email="a@b.test", phone_number="+447700900123")})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["data"]["id"] == again.json()["data"]["id"]
    attributes = again.json()["data"]["attributes"]
    assert (attributes["first_name"], attributes["phone_number"]) == ("Ann", "+447700900123")
    stranger = side.call("POST", "profile-import", {"data": profile(email="c@d.test") | {"id": "nobody"}})
    assert code(stranger) == (404, "not_found")


@pytest.mark.breaks_contract("size")
def test_a_profile_has_a_hundred_kilobytes_at_most(side: KlaviyoSide) -> None:
    large = profile(email="a@b.test", properties={"long": "x" * 100_001})
    assert code(side.call("POST", "profile-import", {"data": large})) == (413, "payload_too_large")


def test_a_merge_leaves_one_of_two(side: KlaviyoSide) -> None:
    send(side, event(unique_id="1"), event(email="c@d.test", unique_id="2"))
    ids = [
        side.got("profiles", filter=f'equals(email,"{email}")')["data"][0]["id"] for email in ("a@b.test", "c@d.test")
    ]
    related = {"profiles": {"data": [{"type": "profile", "id": ids[1]}]}}
    body = {"data": {"type": "profile-merge", "id": ids[0], "relationships": related}}
    assert side.call("POST", "profile-merge", body).status_code == 201
    assert [entry["email"] for entry in send(side)] == ["a@b.test", "a@b.test"]
    assert [entry["id"] for entry in side.got("profiles")["data"]] == [ids[0]]
    assert side.got(f"profiles/{ids[1]}")["data"]["id"] == ids[0]
    assert side.call("POST", "profile-merge", body).status_code == 404


def test_profiles_are_imported_in_bulk_and_errors_stand_apart(side: KlaviyoSide) -> None:
    side.call("POST", "profiles", {"data": profile(email="a@b.test")})
    entries = [
        profile(email="a@b.test", first_name="Ann"),
        profile(email="c@d.test"),
        profile(email="e@f.test") | {"id": "x"},
    ]
    body = {"data": {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": entries}}}}
    started = side.call("POST", "profile-bulk-import-jobs", body)
    assert started.status_code == 202
    path = f"profile-bulk-import-jobs/{started.json()['data']['id']}"
    side.clock.advance(10)
    ended = side.got(path)["data"]["attributes"]
    assert (ended["status"], ended["completed_count"], ended["failed_count"]) == ("complete", 2, 1)
    (error,) = side.got(f"{path}/import-errors")["data"]
    assert error["attributes"]["source"]["pointer"] == "/data/attributes/profiles/data/2/id"
    listed = side.got("profile-bulk-import-jobs", filter="equals(status,'complete')")["data"]
    assert [entry["id"] for entry in listed] == [started.json()["data"]["id"]]
    assert side.got("profiles", sort="-email")["data"][1]["attributes"]["first_name"] == "Ann"


def test_whoever_waits_is_told_when_it_is_back(side: KlaviyoSide, inside: Inside) -> None:
    side.create("item", new_item("a"))
    side.create("variant", new_variant("v", "a", inventory_quantity=0))
    person = {"data": {"type": "profile", "attributes": {"email": "a@b.test"}}}
    variant = {"data": {"type": "catalog-variant", "id": compound("v")}}
    wish = {"attributes": {"channels": ["EMAIL"], "profile": person}, "relationships": {"variant": variant}}
    body = {"data": {"type": "back-in-stock-subscription", **wish}}
    assert side.call("POST", "back-in-stock-subscriptions", body).status_code == 202
    side.control("wishes", wishes=[{"variant": "v", "email": "c@d.test"}])
    side.run("variant", "update", change("variant", "v", inventory_quantity=0))
    side.clock.advance(100)
    assert send(side) == []
    side.run("variant", "update", change("variant", "v", inventory_quantity=5))
    side.clock.advance(100)
    told = [(entry["name"], entry["email"], entry["properties"]) for entry in send(side)]
    assert told == [("Back in Stock", email, {"VariantId": "v"}) for email in ("a@b.test", "c@d.test")]
    assert all(wish["told_at"] for wish in inside.get(f"/klaviyo/{side.public_key}/wishes")["wishes"])
    variant["data"]["id"] = compound("z")
    assert code(side.call("POST", "back-in-stock-subscriptions", body)) == (404, "not_found")


@pytest.mark.breaks_contract("body")
@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("profile-import", profile(email="a@b.test") | {"id": ["x"]}),
        ("profile-import", profile(email="a@b.test") | {"meta": {"patch_properties": {"append": 3}}}),
        ("profile-import", profile(email="a@b.test") | {"meta": [1]}),
        ("events", event(profile={"data": profile(email="a@b.test", meta={"patch_properties": {"unset": 3}})})),
        ("events", event(profile={"data": profile(email="a@b.test") | {"id": {}}})),
        ("metric-aggregates", {"type": "metric-aggregate", "attributes": {"metric_id": "m", "timezone": {}}}),
        (
            "profile-merge",
            {
                "type": "profile-merge",
                "id": "a",
                "relationships": {"profiles": {"data": [{"type": "profile", "id": {}}]}},
            },
        ),
    ],
)
def test_what_is_of_another_kind_is_refused(side: KlaviyoSide, path: str, data: dict[str, Any]) -> None:
    answer = side.call("POST", path, {"data": data})
    assert answer.status_code == 400
    assert all(error["source"]["pointer"] for error in answer.json()["errors"])
