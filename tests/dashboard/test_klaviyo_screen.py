"""The Klaviyo page without a browser: nobody to tell, nothing to tell, in step, in flight, failing, stopped; acts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from core.audit import Actor
from core.db import fetch_one, scalar
from core.targets.operations import NothingToRequeue
from dashboard import queries, target_actions, target_queries, target_words
from dashboard.actions import application
from tests.dashboard import catalogue_worlds, seed, target_worlds
from tests.dashboard.conftest import Open, text_of
from tests.dashboard.target_worlds import Told

ADA = Actor("ada", "a test")


def test_nobody_to_tell_says_how_to_connect(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    seed.connection(conn, shop)
    page = opened("klaviyo")
    assert not page.exception
    assert "switchyard connect klaviyo" in text_of(page)
    assert page.get("button") == [] or "Sync all now…" not in {button.label for button in page.button}


def test_nothing_to_tell_yet(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    target_worlds.connect(conn, shop)
    page = opened("klaviyo")
    assert not page.exception
    said = text_of(page)
    assert "Nothing to tell yet." in said
    assert "None was finished yet." in said
    assert "Under way" not in said


def test_in_step(opened: Open, conn: Connection) -> None:
    world = target_worlds.in_step(conn)
    total = scalar(conn, "select count(*) from target_entries where shop_id = %(s)s", s=world.shop)
    page = opened("klaviyo")
    assert not page.exception
    said = text_of(page)
    assert f"In step: {total} of {total} entries." in said
    assert "131 entries read; 3 differences healed" in said
    assert "4 entries are none of ours, left alone." in said
    assert "What fails, by cause" not in said


def test_in_flight(opened: Open, conn: Connection) -> None:
    target_worlds.in_flight(conn)
    page = opened("klaviyo")
    assert not page.exception
    said = text_of(page)
    # 12 variants and 5 items in flight, 10 items to change, 3 variants to remove; 20 were confirmed within two minutes.
    assert "30 entries on their way, about 3 min left." in said
    assert "13 entries wait and 17 are in flight in 2 jobs." in said
    assert "By Klaviyo’s quota at least 1 s." in said
    assert "Being applied" in said
    assert "Looked for" in said
    assert "680 of 700" in said
    assert "Hand in update jobs of items" in said


def test_failing_by_cause(opened: Open, conn: Connection) -> None:
    world = target_worlds.failing(conn)
    page = opened("klaviyo")
    assert not page.exception
    said = text_of(page)
    assert "47 failed for 2 causes." in said
    assert "Variants without a price" in said
    assert "Klaviyo says\\: invalid" in said
    assert "16 wait for a person" in said
    assert "&lt;url&gt; is no address" in said
    assert "Requeue 17…" in {button.label for button in page.button}

    page = opened("klaviyo", cause="no_price")
    assert not page.exception
    assert "Waits for other content" in text_of(page)
    assert not [button for button in page.button if button.label.startswith("Requeue")]
    before = text_of(page)
    page.button("failed-on").click().run()
    assert not page.exception
    assert text_of(page) != before
    page = opened("klaviyo", cause="invalid")
    assert f'href="products?product={world.catalogue.products["linen-shirt"]}"' in text_of(page)
    assert len([button for button in page.button if button.label == "Requeue…"]) == 17
    assert "Nothing fails for that any more" in text_of(opened("klaviyo", cause="of nothing"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (None, "Writes are stopped. 30 entries wait."),
        ({"state": "paused"}, "Klaviyo is paused."),
        ({"write_mode": "shadow"}, "Klaviyo is in shadow mode."),
    ],
)
def test_what_stops_it_comes_first(opened: Open, conn: Connection, change: dict[str, str] | None, says: str) -> None:
    world = target_worlds.stopped(conn) if change is None else target_worlds.in_flight(conn)
    if change is not None:
        seed.set_state(conn, "connections", world.connection, **change)
    page = opened("klaviyo")
    assert not page.exception
    said = text_of(page).replace("<span>", "")
    assert says in said
    if says == "Klaviyo is in shadow mode.":
        assert "switchyard klaviyo live Klaviyo" in said
    if change is None:
        assert "By ben, 9 min ago\\: Wrong prices" in said


def test_a_full_sync_under_way_is_shown_and_no_second_one_offered(opened: Open, conn: Connection) -> None:
    target_worlds.syncing(conn)
    page = opened("klaviyo")
    assert not page.exception
    assert "Somebody changed items by hand" in text_of(page)
    assert page.button("sync-all").disabled


def test_one_product_is_found_by_code_handle_and_title(opened: Open, conn: Connection) -> None:
    world = target_worlds.in_flight(conn)
    number = world.catalogue.products["linen-shirt"]
    for words in ("SHIRT-SAN-S", "linen-shirt", "washed"):
        page = opened("klaviyo", q=words)
        page.text_input("q").set_value(words).run()
        assert not page.exception
        said = text_of(page)
        assert f'href="products?product={number}"' in said
        assert 'href="skus?sku=SHIRT-PIN-L"' in said
        assert "done, 20 s ago" in said
    page.text_input("q").set_value("cup").run()
    assert "Which one? More fit: type more of it." in text_of(page)
    page.text_input("q").set_value("no such thing").run()
    assert "No product fits" in text_of(page)


def test_of_two_accounts_the_named_one_is_shown(opened: Open, conn: Connection) -> None:
    world = target_worlds.in_step(conn)
    other = target_worlds.connect(conn, world.shop, "Klaviyo Two", account_ref="two")
    assert "In step" in text_of(opened("klaviyo"))
    page = opened("klaviyo", connection=str(other))
    assert not page.exception
    assert "Nothing to tell yet." in text_of(page)
    assert "In step" in text_of(opened("klaviyo", connection="x'"))


def test_a_database_that_does_not_answer_is_said(
    opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    target_worlds.connect(conn, seed.shop(conn))

    def fails(*_: object, **__: object) -> None:
        raise queries.Unreadable(OSError("gone"))

    for name in ("targets", "flow", "jobs"):
        with monkeypatch.context() as patched:
            patched.setattr(target_queries, name, fails)
            page = opened("klaviyo")
            assert not page.exception
            assert "The database did not answer within 5 s." in text_of(page)


def test_a_full_sync_is_asked_for_once(conn: Connection, settings: None) -> None:
    shop = catalogue_worlds.full(conn).shop
    number = target_worlds.connect(conn, shop)
    app = application()
    assert "asked for" in target_actions.sync_all(app, shop, number, "Klaviyo", ADA)
    again = target_actions.sync_all(app, shop, number, "Klaviyo", Actor("ben", "the same"))
    assert "under way already, asked for by ada" in again
    run = fetch_one(conn, "select kind, requested_by, reason, count(*) over () as runs from sync_runs")
    assert run is not None
    assert (run["kind"], run["requested_by"], run["reason"], run["runs"]) == ("sync_target", "ada", "a test", 1)


@pytest.mark.parametrize("whole", [True, False])
def test_failures_are_requeued_under_a_name_and_a_reason(conn: Connection, settings: None, whole: bool) -> None:
    world = target_worlds.failing(conn)
    app = application()
    one = scalar(conn, "select min(id) from target_entries where problem_kind = 'refused'")

    def again() -> str:
        if whole:
            return target_actions.requeue(app, world.shop, world.connection, ADA, code="invalid")
        return target_actions.requeue(app, world.shop, world.connection, ADA, entry_ids=[one])

    expected = 17 if whole else 1
    assert again().startswith("17 entries" if whole else "1 entry")
    left = "select count(*) from target_entries where is_held or (problem_kind = 'refused' and failures > 0)"
    assert scalar(conn, left) == 17 - expected
    said = fetch_one(conn, "select actor, reason from audit_entries where act = 'requeue_target_entries'")
    assert said is not None
    assert (said["actor"], said["reason"]) == ("ada", "a test")
    with pytest.raises(NothingToRequeue):
        again()
    assert scalar(conn, "select count(*) from audit_entries where act = 'requeue_target_entries'") == 1


def test_what_cannot_be_told_as_it_is_is_not_requeued(conn: Connection, settings: None) -> None:
    world = target_worlds.failing(conn)
    with pytest.raises(NothingToRequeue):
        target_actions.requeue(application(), world.shop, world.connection, ADA, code="no_price")


WORLDS: dict[str, Callable[[Connection], Told]] = {
    "in-step": target_worlds.in_step,
    "flying": target_worlds.in_flight,
    "failing": target_worlds.failing,
}


@pytest.mark.parametrize("name", WORLDS)
def test_kinds_add_up_to_all_entries(conn: Connection, settings: None, name: str) -> None:
    world = WORLDS[name](conn)
    found = target_queries.standing(world.shop, "all", world.connection)
    total = target_words.whole(target_words.kinds(found).values())
    assert total.total == scalar(conn, "select count(*) from target_entries")
    assert total.held == sum(cause.entries for cause in target_words.causes(found))
