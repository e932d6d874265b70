"""The Mapping screen: empty, full, an answer with its preview, a remapping with all its effects, files, addresses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, create_engine
from streamlit.testing.v1 import AppTest

from core import embedded
from core.clock import utc_now
from core.db import execute, fetch, scalar, unit_of_work
from core.identity import operations, queries
from core.identity.outcomes import Outcome, PoolSeen
from dashboard import mapping_actions, mapping_queries, mapping_words
from tests.dashboard import mapping_worlds
from tests.dashboard.conftest import Open, text_of
from tests.dashboard.mapping_worlds import ADA, MARKED, WAITING, busy, one
from tests.factories import World, book, level_of, make_line, make_order


@pytest.fixture
def there(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return busy(conn)


def press(page: AppTest, label: str) -> AppTest:
    """Press the first button of that name."""
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception
    return page


def address(there: World, value: str, kind: str = "variant") -> dict[str, str]:
    return mapping_words.address(one(there, value, kind))


# --- the list ---------------------------------------------------------------------------------------------------------


def test_a_shop_without_identifiers_says_where_they_come_from(settings: None, opened: Open, conn: Connection) -> None:
    mapping_worlds.quiet(conn)
    page = opened("mapping")
    assert not page.exception
    said = text_of(page)
    assert "Every identifier is known." in said
    assert "No identifier has been told yet" in said
    assert "orange-badge" not in "".join(str(link.proto.label) for link in page.get("page_link"))


def test_the_answer_says_how_many_are_nobodys_and_what_waits(opened: Open, there: World) -> None:
    page = opened("mapping")
    assert not page.exception
    said = text_of(page)
    assert "Five identifiers are nobody’s yet; <span>5 units of 3 orders wait for them.</span>" in said
    assert [link.proto.label for link in page.get("page_link") if "Mapping" in link.proto.label] == [
        "Mapping :orange-badge[5]"
    ]
    first, second = said.index("AMZ-MUG-B2</span>"), said.index("espresso-w</span>")
    assert first < second, "what most units wait for comes first"
    assert "3 units in 2 lines of 2 orders wait since" in said
    assert "same barcode 5012345678900" in said
    assert "no order waits for it" in said


def test_what_is_foreign_is_shown_letter_by_letter(opened: Open, there: World) -> None:
    for page in (opened("mapping"), opened("mapping", **address(there, MARKED))):
        said = text_of(page)
        assert "*B0LD*-[x]&lt;b&gt;" in said
        assert "-[x]<b>" not in said.replace("\\", "")
        assert "Gift wrap <i>" not in said


def test_the_queue_is_filtered_by_connection_and_state_and_comes_page_by_page(
    opened: Open, there: World, engine: Engine
) -> None:
    page = opened("mapping", state="Ambiguous")
    page.segmented_control(key="state").set_value("Ambiguous").run()
    said = text_of(page)
    assert "espresso-w" in said
    assert "mug-red</span>" not in said
    page = opened("mapping")
    page.selectbox(key="connection").set_value("Shopify UK").run()
    assert "Nothing waits here" in text_of(page)
    press(page, "Show all")
    assert "espresso-w" in text_of(page)
    with unit_of_work(engine) as conn:
        for number in range(12):
            line = make_line(code=f"NEW-{number:02}")
            book(conn, there, make_order(f"2{number:03}", [line]))
    mapping_queries.forget()
    first = mapping_queries.queue(there.shop_id, "all", None, None, None)
    last = first.rows[-1]
    key = (last["parked_units"], last["connection_id"], last["kind"], last["value"])
    second = mapping_queries.queue(there.shop_id, "all", None, None, key)
    seen = [row["value"] for row in (*first.rows, *second.rows)]
    assert (first.more, second.more, len(seen), len(set(seen))) == (True, False, 17, 17)
    page = opened("mapping", after="~".join(map(str, key)))
    assert second.rows[0]["value"] in text_of(page)
    assert WAITING + "</span>" not in text_of(page)
    assert not opened("mapping", after="one~two").exception


def test_each_part_has_an_address(opened: Open, there: World) -> None:
    page = opened("mapping")
    page.segmented_control(key="show").set_value("Mapped").run()
    assert not page.exception
    (table,) = page.dataframe
    assert list(table.value["SKU"])[:2] == ["TEA-50", "MUG-RED"]
    assert next(iter(table.value["Said by"])) == "Found by itself: matching"
    page.text_input(key="q").set_value("TEA").run()
    assert set(page.dataframe[0].value["SKU"]) == {"TEA-50"}
    page.text_input(key="q").set_value("nope").run()
    assert "No identifier matches" in text_of(page)
    page.segmented_control(key="show").set_value("Set aside").run()
    page.text_input(key="q").set_value("").run()
    assert "FOREIGN" in text_of(page)
    assert "ada: Looked at the label" in text_of(page)


def test_what_cannot_be_read_is_said_and_the_way_stays(opened: Open, there: World, database: embedded.Database) -> None:
    owner = create_engine(database.superuser_url)
    with owner.begin() as conn:
        execute(conn, "alter view unmapped_identifiers rename to unmapped_identifiers_gone")
        execute(conn, "alter view identity_backlog rename to identity_backlog_gone")
    owner.dispose()
    page = opened("mapping")
    assert not page.exception
    assert "The database did not answer within 5 s." in text_of(page)
    assert "Mapping" in [link.proto.label for link in page.get("page_link")]


# --- one identifier ---------------------------------------------------------------------------------------------------


def test_an_identifier_has_its_page_with_reasons_orders_and_a_search(opened: Open, there: World) -> None:
    page = opened("mapping", **address(there, WAITING))
    assert not page.exception
    said = text_of(page)
    assert "seller SKU on Amazon UK" in said
    assert "same barcode 5012345678900" in said
    assert "#1001" in said
    assert "#1002" in said
    assert "Nobody has answered yet" in said
    page.text_input(key="sku").set_value("jug").run()
    assert "Map to JUG…" in [button.label for button in page.button]
    page.text_input(key="sku").set_value("zzz").run()
    assert "No SKU has “zzz” in its title" in text_of(page)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"of": "999999", "kind": "variant", "value": "X"}, "There is no such connection"),
        ({"of": "1", "kind": "colour", "value": "X"}, "nobody’s yet"),
        ({"of": "x", "kind": "variant", "value": "X"}, "nobody’s yet"),
    ],
)
def test_an_address_that_names_nothing_says_so(opened: Open, there: World, where: dict[str, str], said: str) -> None:
    page = opened("mapping", **where)
    assert not page.exception
    assert said in text_of(page)


def test_a_mapped_one_shows_who_said_so_and_offers_another_sku(opened: Open, there: World, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        operations.map_identifier(conn, there.shop_id, one(there, WAITING), "MUG-BLUE", ADA, utc_now())
    page = opened("mapping", **address(there, WAITING))
    assert not page.exception
    said = text_of(page)
    assert "It is **MUG\\-BLUE**" in said or "It is **MUG-BLUE**" in said
    assert "A person · ada: Looked at the label" in said
    assert "Whose else it may be" in said
    assert "Map to MUG-BLUE…" not in [button.label for button in page.button]


# --- previews ---------------------------------------------------------------------------------------------------------


def test_mapping_says_before_what_is_booked_and_whether_it_is_written(opened: Open, there: World) -> None:
    page = press(opened("mapping"), "Map to MUG-BLUE…")
    said = text_of(page)
    assert "<b>2</b> order lines booked" in said
    assert "**2 parked order lines are booked**" in said
    assert "MUG-BLUE** at Main: 20 available, 17 afterwards" in said
    assert "**sync the connection** afterwards" in said


def test_setting_aside_and_taking_back_say_before_what_they_do(opened: Open, there: World) -> None:
    said = text_of(press(opened("mapping"), "Not ours…"))
    assert "<b>2</b> order lines wait no more" in said
    assert "**take no stock** of ours" in said
    page = opened("mapping")
    page.segmented_control(key="show").set_value("Set aside").run()
    assert "**in the queue**" in text_of(press(page, "Take back…"))


def test_remapping_shows_lines_listings_pools_and_the_worst_case(opened: Open, there: World, engine: Engine) -> None:
    page = opened("mapping", **address(there, "MUG-RED"))
    page.text_input(key="sku").set_value("CUP").run()
    page = press(page, "Map to CUP…")
    said = text_of(page)
    assert "<b>1</b> order line moves" in said
    assert "moves to CUP" in said
    assert "MUG-RED → CUP" in said
    assert "Oversold at worst" in said
    assert "17 → 20" in said, "three promised mugs are free again"


def test_an_open_write_refuses_and_says_when_it_is_over(opened: Open, there: World, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        now = utc_now()
        execute(
            conn,
            """
            insert into listing_writes (shop_id, connection_id, listing_id, to_units, idempotency_key, batch_position,
                planned_at, deadline_at)
            values (%(shop)s, %(connection)s, %(listing)s, 7, 'k-1', 0, %(now)s, %(later)s)
            """,
            shop=there.shop_id,
            connection=there.connection.id,
            listing=there.listings["MUG-RED"],
            now=now,
            later=now + timedelta(minutes=5),
        )
    page = opened("mapping", **address(there, "MUG-RED"))
    page.text_input(key="sku").set_value("CUP").run()
    said = text_of(press(page, "Map to CUP…"))
    assert "<b>1</b> open write" in said
    assert "is when to try again" in said
    assert "Reason" not in [item.label for item in page.text_input]


def test_the_worst_case_is_said_in_plain_words() -> None:
    seen = Outcome(pools=[PoolSeen(1, "CUP", 1, "Main", 5, 2, 4, 6)])
    assert mapping_words.worst(seen) == (
        "Until the channels have been told, up to 4 units of CUP at Main could be sold that are not there: they show 6,"
        " and 2 are available."
    )
    assert mapping_words.worst(Outcome(pools=[PoolSeen(1, "CUP", 1, "Main", 5, 5, 4, 4)])) == ""


# --- acts -------------------------------------------------------------------------------------------------------------


class Bell:
    """An application on this test's database whose bell keeps what was rung."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.rung = engine, list[str]()
        self.doorbell = self

    def ring(self, lane: object) -> bool:
        self.rung.append(f"{lane.queue}:{lane.connection_id}")  # type: ignore[attr-defined]
        return True


def test_an_answer_is_what_was_previewed_and_rings_every_lane(engine: Engine, there: World) -> None:
    app, act = Bell(engine), mapping_actions.mapping(there.shop_id, one(there, WAITING), "MUG-BLUE")
    seen = mapping_actions.preview(app, act)  # type: ignore[arg-type]
    with engine.connect() as conn:
        assert queries.history(conn, there.shop_id, one(there, WAITING)) == [], "a preview keeps nothing"
    done = mapping_actions.do(app, there.shop_id, act, seen.token(), ADA)  # type: ignore[arg-type]
    assert done.lines_booked == 2
    with engine.connect() as conn:
        assert level_of(conn, there, "MUG-BLUE").reserved == 3
        connections = fetch(conn, "select id from connections order by id")
    assert app.rung == [*(f"stock:{row['id']}" for row in connections), f"events:{there.connection.id}"]


def test_what_has_changed_since_the_preview_is_not_done(engine: Engine, there: World) -> None:
    app, asked = Bell(engine), one(there, "MUG-RED")
    seen = mapping_actions.preview_remap(app, there.shop_id, asked, "CUP")  # type: ignore[arg-type]
    act = mapping_actions.mapping(there.shop_id, one(there, WAITING), "MUG-BLUE")
    mapped = mapping_actions.preview(app, act)  # type: ignore[arg-type]
    with unit_of_work(engine) as conn:
        book(conn, there, make_order("3001", [make_line(code="MUG-RED", units=2, variant_ref="MUG-RED")]))
        book(conn, there, make_order("3002", [make_line(code="MUG-BLUE", units=2, variant_ref=WAITING)]))
    with pytest.raises(operations.MappingChanged):
        mapping_actions.remap(app, there.shop_id, asked, "CUP", seen.token(), ADA)  # type: ignore[arg-type]
    with pytest.raises(operations.MappingChanged):
        mapping_actions.do(app, there.shop_id, act, mapped.token(), ADA)  # type: ignore[arg-type]
    assert app.rung == []


def test_what_was_remapped_is_mapped_back(opened: Open, engine: Engine, there: World) -> None:
    app, asked = Bell(engine), one(there, "MUG-RED")
    seen = mapping_actions.preview_remap(app, there.shop_id, asked, "CUP")  # type: ignore[arg-type]
    mapping_actions.remap(app, there.shop_id, asked, "CUP", seen.token(), ADA)  # type: ignore[arg-type]
    page = press(opened("mapping", **address(there, "MUG-RED")), "Map back to MUG-RED…")
    assert "CUP → MUG-RED" in text_of(page)


def test_what_was_set_aside_is_taken_back_with_its_lines(engine: Engine, there: World) -> None:
    app, asked = Bell(engine), one(there, WAITING)
    act = mapping_actions.setting_aside(there.shop_id, asked)
    mapping_actions.do(app, there.shop_id, act, mapping_actions.preview(app, act).token(), ADA)  # type: ignore[arg-type]
    assert mapping_queries_waiting(engine, there) == 4
    said = mapping_actions.take_back(app, there.shop_id, asked, ADA)  # type: ignore[arg-type]
    assert said == "AMZ-MUG-B2 is in the queue again; 2 order lines wait with it."
    assert mapping_queries_waiting(engine, there) == 5


def mapping_queries_waiting(engine: Engine, there: World) -> int:
    with engine.connect() as conn:
        return scalar(conn, "select count(*) from unmapped_identifiers where shop_id = %(s)s", s=there.shop_id)


# --- files ------------------------------------------------------------------------------------------------------------

HEADS = "connection,kind,identifier,sku,ours,reason\n"


def test_a_file_says_every_error_by_row_before_anything_changes(opened: Open, there: World) -> None:
    page = opened("mapping")
    page.segmented_control(key="show").set_value("Files").run()
    assert not page.exception
    rows = f"Amazon UK,variant,{WAITING},NOPE,,\nAmazon DE,variant,X,CUP,,\nAmazon UK,barcode,5012345678901,CUP,,\n"
    page.get("file_uploader")[0].set_value(("map.csv", (HEADS + rows).encode(), "text/csv")).run()
    assert not page.exception
    said = text_of(page)
    assert "3 things are wrong with map.csv. Nothing was loaded." in said
    assert "there is no connection “Amazon DE”" in said
    assert "Load" not in "".join(button.label for button in page.button)


def test_a_file_is_rehearsed_then_loaded_whole(settings: None, engine: Engine, there: World) -> None:
    app = Bell(engine)
    data = (HEADS + f"Amazon UK,variant,{WAITING},MUG-BLUE,,\nAmazon UK,variant,mug-red,,no,Not ours\n").encode()
    plan = mapping_actions.dry_run(app, there.shop_id, "map.csv", data)  # type: ignore[arg-type]
    assert (plan.problems, plan.count("new"), plan.count("sets_aside"), plan.outcome.lines_booked) == ([], 1, 1, 2)
    mapping_actions.load(app, there.shop_id, "map.csv", data, plan.outcome.token(), ADA)  # type: ignore[arg-type]
    assert mapping_queries_waiting(engine, there) == 3
    out = mapping_queries.as_csv(there.shop_id, there.connection.id).decode("utf-8-sig")
    assert f"Amazon UK,variant,{WAITING},MUG-BLUE,yes,file" in out


# --- ways here --------------------------------------------------------------------------------------------------------


def test_what_was_set_aside_is_no_problem_any_more(opened: Open, there: World, conn: Connection) -> None:
    assert "not ours" not in text_of(opened()).lower()
    reasons = fetch(conn, "select reason from unpublished_listings where shop_id = %(s)s", s=there.shop_id)
    assert reasons, "what nobody answered still is"
    assert not [row for row in reasons if "not ours" in row["reason"]]


def test_the_overview_and_the_order_lead_here(opened: Open, there: World, conn: Connection) -> None:
    said = text_of(opened())
    assert "2 identifiers of Amazon UK are not mapped: 5 units wait" in said
    order_id = scalar(conn, "select id from orders where name = '#1001'")
    said = text_of(opened("orders", order=str(order_id)))
    assert f"mapping?of={there.connection.id}&amp;kind=variant&amp;value={WAITING}" in said
