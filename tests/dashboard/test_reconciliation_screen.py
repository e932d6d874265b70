"""The Reconciliation screen: never compared, equal, full, its filters and pages, and what each button does."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from sqlalchemy import Connection, Engine
from streamlit.testing.v1 import AppTest

from core.audit import Actor
from core.db import execute, fetch, unit_of_work
from core.errors import Retryable
from core.reconciliation.operations import Changed, Chosen
from core.reconciliation.rules import Policy
from dashboard import reconciliation_actions, reconciliation_queries, reconciliation_words, run_actions
from tests.dashboard import reconciliation_worlds
from tests.dashboard.conftest import Open, assert_apart, text_of
from tests.dashboard.reconciliation_worlds import busy, equal
from tests.factories import World, set_row

ADA = Actor("ada", "looked at both")


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return busy(conn)


def buttons(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def press(page: AppTest, key: str) -> AppTest:
    page.button(key=key).click().run()
    assert not page.exception
    return page


def test_before_the_first_comparison_it_says_when_one_comes(settings: None, opened: Open, conn: Connection) -> None:
    reconciliation_worlds.quiet(conn)
    page = opened("reconciliation")
    assert not page.exception
    said = text_of(page)
    assert "Nothing has been compared yet." in said
    assert "<b>Stock</b> never compared" in said
    assert "Reconcile now…" in buttons(page)


def test_a_shop_without_channels_says_how_to_connect_one(settings: None, opened: Open, conn: Connection) -> None:
    reconciliation_worlds.make_shop(conn)
    page = opened("reconciliation")
    assert not page.exception
    assert "No channel is connected" in text_of(page)


def test_what_was_equal_is_said_with_how_much_that_was(settings: None, opened: Open, conn: Connection) -> None:
    equal(conn)
    page = opened("reconciliation")
    assert not page.exception
    said = text_of(page)
    assert "Nothing differs." in said
    assert "was equal: 1,204 listings, 87 orders." in said
    assert "Reconciliation :orange-badge" not in "".join(str(link.proto.label) for link in page.get("page_link"))


def test_the_answer_the_brake_and_what_needs_a_person_come_first(opened: Open, world: World) -> None:
    page = opened("reconciliation")
    assert not page.exception
    said = text_of(page)
    assert "11 things differ between us and 2 channels." in said
    assert "Nine need you; 2 are looked after. The oldest is 3 d 0 h old." in said
    assert [link.proto.label for link in page.get("page_link") if "Reconciliation" in link.proto.label] == [
        "Reconciliation :orange-badge[9]"
    ]
    assert "**2 listings of Amazon UK would go to 0**" in said
    held, stopped, flagged = (said.index(f"**{code}") for code in ("MUG-BLUE", "CUP", "\\#5003"))
    assert held < stopped < flagged
    assert "Corrected 3 times, and it came back: stopped." in said
    assert "Open the message" in [link.proto.label for link in page.get("page_link")]


def test_both_sides_are_shown_in_their_own_unit(opened: Open, world: World) -> None:
    said = text_of(opened("reconciliation", q="#5001"))
    assert "<b>–</b>" in said
    assert "<b>£23.50</b>" in said
    said = text_of(opened("reconciliation", q="MUG-RED"))
    assert '<span class="sy-delta">−6</span>' in said


def test_what_is_foreign_is_shown_letter_by_letter(opened: Open, world: World) -> None:
    said = text_of(opened("reconciliation", q="JUG"))
    assert "Water jug \\<1 l\\>" in said


FILTERS = [
    ({"show": "Needs you"}, "CUP", "TEA-50"),
    ({"show": "Waits"}, "TEA-50", "CUP"),
    ({"show": "Being corrected"}, "#5001", "CUP"),
    ({"show": "Accepted"}, "LAMP", "#5001"),
    ({"show": "Gone"}, "LAMP", "CUP"),
    ({"kind": "Stock"}, "CUP", "#5001"),
    ({"kind": "Orders and refunds"}, "#5001", "CUP"),
    ({"connection": "Amazon UK"}, "MUG-BLUE", "CUP"),
    ({"cause": "Write got lost"}, "CUP", "#5001"),
]


def test_each_filter_shows_its_own(opened: Open, world: World) -> None:
    page = opened("reconciliation")
    for where, shown, not_shown in FILTERS:
        ((key, value),) = where.items()
        widget = page.segmented_control(key=key) if key == "show" else page.selectbox(key=key)
        before = widget.value
        widget.set_value(value).run()
        assert not page.exception
        cards = [each.value for each in page.markdown if " · " in each.value and "**" in each.value]
        listed = "".join(card for card in cards if "badge" in card).replace("\\", "")
        assert (shown in listed, not_shown in listed) == (True, False), (where, listed)
        widget = page.segmented_control(key=key) if key == "show" else page.selectbox(key=key)
        widget.set_value(before).run()


def test_a_long_list_comes_page_by_page_and_keeps_its_place(opened: Open, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        busy(conn, many=25)
    seen: list[int] = []
    after = None
    for _ in range(5):
        found = reconciliation_queries.page(1, "all", "open", "all", None, None, "", after)
        seen += [row["discrepancy_id"] for row in found.rows]
        last = found.rows[-1]
        after = (last["rank"], last["weight"], last["discrepancy_id"])
        if not found.more:
            break
    assert len(seen) == len(set(seen)) == 36
    page = opened("reconciliation")
    press(page, "discrepancies-on")
    last = reconciliation_queries.page(1, "all", "open", "all", None, None, "", None).rows[-1]
    assert page.query_params["after"] == f"{last['rank']}~{last['weight']}~{last['discrepancy_id']}"
    press(page, "discrepancies-back")
    assert "after" not in page.query_params


def test_a_run_under_way_shows_how_far_it_is_and_may_be_cancelled(opened: Open, world: World, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        run = reconciliation_worlds.ran(conn, world, "orders", state="reading")
    page = opened("reconciliation")
    said = text_of(page)
    assert "Orders and refunds of Shopify UK" in said
    assert "Cancel…" in buttons(page)
    app = Acting(engine)
    assert reconciliation_actions.cancel(app, world.shop_id, run, ADA) == (
        "The comparison is cancelled; what it found stays."
    )
    assert reconciliation_actions.cancel(app, world.shop_id, run, ADA) == "It had ended by itself."
    with engine.connect() as conn:
        states = fetch(conn, "select state, cancel_asked_by, cancel_reason from sync_runs where id = %(r)s", r=run)
    assert dict(states[0]) == {"state": "cancelled", "cancel_asked_by": "ada", "cancel_reason": "looked at both"}
    assert "not compared at" in text_of(opened("reconciliation", run=str(run)))


def test_what_a_comparison_found_never_stands_where_its_progress_stood(
    opened: Open, world: World, engine: Engine
) -> None:
    with unit_of_work(engine) as conn:
        run = reconciliation_worlds.ran(conn, world, "orders", state="reading")
    reading = opened("reconciliation")
    reconciliation_actions.cancel(Acting(engine), world.shop_id, run, ADA)
    reconciliation_queries.forget()
    assert_apart((reading, "Cancel…"), (opened("reconciliation", run=str(run)), "Close"))


def test_what_cannot_be_read_leaves_the_rest_alone(opened: Open, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened("reconciliation")

    def broken(*_: Any, **__: Any) -> Any:
        raise reconciliation_queries.Unreadable(RuntimeError("no answer"))

    monkeypatch.setattr(reconciliation_queries, "page", broken)
    page.run()
    assert not page.exception
    said = text_of(page)
    assert "The database did not answer within 5 s." in said
    assert "11 things differ" in said


# --- what the buttons do ----------------------------------------------------------------------------------------------


class Acting:
    """What acts need; the bells that were rung are remembered."""

    def __init__(self, engine: Engine, is_dead: bool = False) -> None:
        self.engine = engine
        self.is_dead = is_dead
        self.rung: list[Any] = []
        self.queue = self.doorbell = self

    def enqueue(self, name: str, /, **arguments: object) -> None:
        if self.is_dead:
            raise Retryable("no answer")
        self.rung.append((name, arguments))

    def ring(self, lane: Any) -> None:
        self.rung.append(lane)


def one(world: World, engine: Engine, key: str) -> Any:
    with engine.connect() as conn:
        return fetch(conn, "select * from discrepancies where subject_key = %(k)s and connection_id = %(c)s"
                     " and state <> 'resolved'", k=key, c=world.connection.id)[0]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("correct", ["to zero", "lowered", "raised", "**Exposed** now"]),
        ("accept", ["Nothing is written"]),
        ("read", ["what Shopify UK shows of this SKU now"]),
        ("history", ["seen by a run"]),
    ],
)
def test_each_button_says_before_what_it_does(
    opened: Open, world: World, engine: Engine, key: str, says: list[str]
) -> None:
    number = one(world, engine, "MUG-RED")["id"]
    page = press(opened("reconciliation", q="MUG-RED"), f"{key}-{number}")
    said = text_of(page)
    assert all(text in said for text in says), said[-1500:]


def test_correcting_does_what_was_previewed_or_nothing(settings: None, world: World, engine: Engine) -> None:
    row, app = one(world, engine, "MUG-RED"), Acting(engine)
    chosen = Chosen(world.connection.id, discrepancy_id=row["id"])
    seen = reconciliation_queries.preview(world.shop_id, chosen)
    with unit_of_work(engine) as conn:
        set_row(conn, "discrepancies", row["id"], theirs=13)
    with pytest.raises(Changed):
        reconciliation_actions.correct(app, world.shop_id, chosen, seen.token, ADA)
    seen = reconciliation_queries.preview(world.shop_id, chosen)
    assert reconciliation_actions.correct(app, world.shop_id, chosen, seen.token, ADA) == (
        "1 listing is written within seconds."
    )
    assert one(world, engine, "MUG-RED")["action"] == "healed"
    assert [lane.queue for lane in app.rung] == ["stock"]


def test_an_order_is_accepted_with_its_reason(settings: None, world: World, engine: Engine) -> None:
    row = one(world, engine, "5003")
    chosen = Chosen(world.connection.id, discrepancy_id=row["id"])
    token = reconciliation_queries.preview(world.shop_id, chosen).token
    said = reconciliation_actions.accept(Acting(engine), world.shop_id, chosen, token, ADA)
    assert said == "1 discrepancy is left as it is."
    after = one(world, engine, "5003")
    assert (after["state"], after["action"], after["reason"]) == ("accepted", "ignored", "looked at both")


def test_reading_an_order_again_asks_for_that_order_alone(settings: None, world: World, engine: Engine) -> None:
    app = Acting(engine, is_dead=True)
    run = reconciliation_actions.read_order_again(app, world.shop_id, world.connection.id, "5002", ADA)
    with engine.connect() as conn:
        found = fetch(
            conn,
            "select g.refs, g.step from order_readings g join reconciliation_runs r on r.id = g.run_id"
            " where r.sync_run_id = %(r)s",
            r=run,
        )
    # The ring got lost: the sweep of runs finds it all the same.
    assert [dict(row) for row in found] == [{"refs": ["5002"], "step": "asking"}]


def test_a_policy_does_what_its_preview_counted(settings: None, world: World, engine: Engine) -> None:
    app, new = Acting(engine), Policy(frozenset({"channel_edit"}))
    seen = reconciliation_actions.preview_policy(app, world.shop_id, world.connection.id, new)
    with engine.connect() as conn:
        where = "select 1 from reconciliation_policies where connection_id = %(c)s"
        assert fetch(conn, where, c=world.connection.id) == []
    assert seen.healed == 2
    said = reconciliation_actions.set_policy(app, world.shop_id, world.connection.id, new, seen, ADA)
    assert said == "The policy is saved. 2 discrepancies are corrected now."
    assert one(world, engine, "MUG-RED")["action"] == "healed"


def test_the_forms_open_with_what_is_set(opened: Open, world: World, engine: Engine) -> None:
    page = press(opened("reconciliation"), f"policy-{world.connection.id}")
    assert "open now would be corrected" in text_of(page)
    page = press(opened("reconciliation", q="CUP"), "reconcile-now")
    assert page.text_input(key="compare-sku").value == "CUP"


def test_the_brake_is_let_go_by_a_person_only(opened: Open, world: World, engine: Engine) -> None:
    with engine.connect() as conn:
        amazon = fetch(conn, "select id from connections where name = 'Amazon UK'")[0]["id"]
    page = press(opened("reconciliation"), f"brake-no-{amazon}")
    assert "Leave 2 discrepancies as they are?" in str([d.proto for d in page.get("dialog")]) or "left as they are" in (
        text_of(page)
    )
    chosen = Chosen(amazon, asked_because="brake")
    token = reconciliation_queries.preview(world.shop_id, chosen).token
    reconciliation_actions.accept(Acting(engine), world.shop_id, chosen, token, ADA)
    reconciliation_queries.forget()
    assert reconciliation_queries.braked(world.shop_id, "all") == []


# --- words ------------------------------------------------------------------------------------------------------------


def test_every_cause_that_may_be_written_has_words() -> None:
    from core.reconciliation.orders import judging
    from core.reconciliation.rules import CAUSES

    known = {*CAUSES, *judging.OrderCause.__args__, *judging.RefundCause.__args__}  # type: ignore[attr-defined]
    assert known == set(reconciliation_words.CAUSES) == set(reconciliation_words._WHY)


def test_the_skus_page_leads_here(opened: Open, world: World, engine: Engine) -> None:
    execute_all(engine)
    page = opened("skus", sku="CUP")
    assert not page.exception
    assert "Write got lost" in text_of(page)
    assert "Reconcile this SKU" in [link.proto.label for link in page.get("page_link")]


def execute_all(engine: Engine) -> None:
    """Statistics as autovacuum would have them."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        execute(conn, "select count_grown_tables()")


@pytest.mark.parametrize("kind", ["stock", "orders"])
def test_a_comparison_that_failed_is_done_again_as_a_comparison(world: World, engine: Engine, kind: str) -> None:
    """A sync run alone would be done at once, with nothing compared."""
    with unit_of_work(engine) as conn:
        failed = reconciliation_worlds.ran(conn, world, kind, state="failed", error="no answer")
        execute(conn, "update reconciliation_runs set ended_at = now() where ended_at is null")
        execute(conn, "update sync_runs set state = 'done', ended_at = now() where state in ('queued', 'running')")
        if kind == "stock":
            execute(conn, """update reconciliation_runs set sku_id = (select min(sku_id) from listings)
                where sync_run_id = %(r)s""", r=failed)  # fmt: skip
    app = Acting(engine)
    run_actions.retry_sync(app, world.shop_id, failed, ADA)
    with engine.connect() as conn:
        (again,) = fetch(
            conn,
            """
            select y.state, y.retry_of, r.kind, r.sku_id, (select count(*) from order_readings g where g.run_id = r.id)
                as readings, (select sku_id from reconciliation_runs where sync_run_id = %(r)s) as was
            from sync_runs y join reconciliation_runs r on r.sync_run_id = y.id where y.state = 'queued'
            """,
            r=failed,
        )
    assert (again["state"], again["retry_of"], again["kind"]) == ("queued", failed, kind)
    assert again["sku_id"] == again["was"], "of one SKU: of that one again"
    assert again["readings"] == (1 if kind == "orders" else 0)


def ways(page: AppTest) -> dict[str, dict[str, str]]:
    """Where each link leads, by its label."""
    return {
        link.proto.label: dict(parse_qsl(link.proto.query_string.lstrip("?")))  # type: ignore[attr-defined]
        for link in page.get("page_link")
    }


def test_what_is_parked_leads_to_its_messages_and_a_sku_back_to_what_differs_of_it(
    opened: Open, world: World, engine: Engine
) -> None:
    where = ways(opened("reconciliation", q="#5002"))["Open the message"]
    there = opened("failures", **where)
    assert not there.exception
    assert {box.label: box.value for box in there.selectbox} == {"Kind": "Messages", "Connection": "Shopify UK"}
    sku = opened("reconciliation", kind="Stock")
    code = ways(sku)["Open the SKU"]["sku"]
    back = ways(opened("skus", sku=code))["Reconcile this SKU"]
    assert back["q"] == code
    said = text_of(opened("reconciliation", **back))
    assert code in said


def test_the_end_of_a_comparison_leads_to_its_run(opened: Open, world: World, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        run = reconciliation_worlds.ran(conn, world, "orders", state="failed", error="no answer")
    assert f"runs?run={run}" in text_of(opened("reconciliation", run=str(run)))
    there = opened("runs", run=str(run))
    assert not there.exception
    assert "Orders compared" in text_of(there)
    assert "Do it again…" in buttons(there)
