"""The Channel rules screen: empty, full, an editor that refuses and previews; addresses that a colleague can open."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import Connection, Engine

from core.db import unit_of_work
from core.policies import operations as policies
from core.policies import queries
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from dashboard import rule_queries, rule_words
from dashboard.theme import LIGHT
from tests import factories
from tests.dashboard import seed
from tests.dashboard.conftest import Open, assert_apart, text_of
from tests.factories import ACTOR, NOW, World, set_row


@pytest.fixture
def world(engine: Engine) -> World:
    """Mugs and a pen of 10 on one channel, with a rule for all and one for mugs."""
    with unit_of_work(engine) as conn:
        made = factories.make_world(conn, {"MUG": 10, "PEN": 10})
        set_row(conn, "skus", made.skus["MUG"], category="Mugs")
        for scope, terms in (
            (Scope(), Terms(safety_stock_units=1)),
            (Scope(made.connection.id, "Mugs"), Terms(share_percent=Decimal(20), buffer_units=2)),
        ):
            policies.save(conn, made.shop_id, [Change(scope, terms)], ACTOR, NOW)
        return made


def test_an_empty_shop_says_what_holds_without_rules(settings: None, opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("rules")
    assert not page.exception
    assert "There are no rules yet" in text_of(page)
    assert "Every channel is offered the whole pool" in text_of(page)


def test_rules_read_as_sentences_widest_first_with_who_and_why(opened: Open, world: World) -> None:
    page = opened("rules")
    assert not page.exception
    said = text_of(page)
    wide = said.index("Every channel · everything**: Safety stock 1")
    assert wide < said.index("category Mugs**: At most 20 % of the pool, buffer 2")
    assert f"{ACTOR.name}: {ACTOR.reason}" in said
    assert "is brought to the listings" in said
    assert [button.label for button in page.button if button.label == "Undo…"] == ["Undo…"] * 2


def test_the_address_may_ask_for_the_rules_of_one_channel(opened: Open, world: World, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        other = factories.make_connection(conn, world.shop_id, is_sku_source=False, name="Second")
    page = opened("rules", connection=str(other.id))
    assert not page.exception
    said = text_of(page)
    assert "Rules that listings on **Second** may go by" in said
    assert "Every channel · everything**: Safety stock 1" in said
    assert "category Mugs**" not in said
    page.button(key="rules-all").click().run()
    assert "category Mugs**" in text_of(page)


def test_the_editor_opens_a_rule_with_what_it_says(opened: Open, world: World, conn: Connection) -> None:
    row = next(row for row in rule_queries.living(world.shop_id, "all", None).rows if row["category"])
    page = opened("rules", edit=str(row["policy_id"]))
    assert not page.exception
    values = {item.label: item.value for item in page.text_input}
    assert (values["Share of the pool, %"], values["Buffer, units"], values["Cap, units"]) == ("20 %", "2", "")
    assert {item.label: item.value for item in page.selectbox}["Category"] == "Mugs"


def test_what_cannot_be_a_rule_is_refused_by_its_field(opened: Open, world: World) -> None:
    page = opened("rules", edit="new", see="yes", buffer_units="two", share_percent="120", sku="")
    assert not page.exception
    said = text_of(page)
    assert "**Buffer, units**: “two” is not a number" in said
    assert "**Share of the pool, %**: 120 percent is more than there is" in said
    assert "What each channel would show" not in said
    assert "there is no SKU “mug”" in text_of(opened("rules", edit="new", see="yes", sku="mug", cap_units="1")).replace(
        "There", "there"
    )


def test_a_preview_has_an_address_and_says_what_would_change(opened: Open, world: World) -> None:
    page = opened("rules", edit="new", see="yes", category="Mugs", cap_units="4")
    assert not page.exception
    said = text_of(page)
    assert "1 of 1 listing would show another number: 1 down, 1 of them to zero." in said
    assert 'data-label="Would show"><span><b>0</b>' in said, "20 % of 9 less a buffer of 2"
    assert [button.label for button in page.button if button.label.startswith("Save")] == ["Save for 1 listing"]


def test_a_mode_is_previewed_by_how_many_skus_would_be_in_escrow(opened: Open, world: World) -> None:
    page = opened("rules", edit="new", see="yes", mode="escrow", category="Mugs")
    assert not page.exception
    assert {item.label: item.value for item in page.selectbox}["How stock is shared"] == "Escrow"
    assert "**1** of 1 SKU and place would be in escrow now, none is" in text_of(page)
    plain = text_of(opened("rules", edit="new", see="yes", category="Mugs", cap_units="4"))
    assert "none of 1 SKU and place would be in escrow" in plain
    refused = text_of(opened("rules", edit="new", see="yes", mode="mixed", switch_units="few"))
    assert "**How stock is shared**: “mixed” is no mode" in refused
    assert "**Adaptive: escrow from, units**: “few” is not a number" in refused


def test_a_saved_mode_reads_as_a_sentence_and_opens_as_it_is(opened: Open, world: World, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        terms = Terms(mode="adaptive", switch_units=12)
        policies.save(conn, world.shop_id, [Change(Scope(sku_id=world.skus["PEN"]), terms)], ACTOR, NOW)
    assert "SKU PEN**: Adaptive, escrow from 12 available" in text_of(opened("rules"))
    row = next(row for row in rule_queries.living(world.shop_id, "all", None).rows if row["code"] == "PEN")
    page = opened("rules", edit=str(row["policy_id"]))
    assert {item.label: item.value for item in page.selectbox}["How stock is shared"] == "Adaptive"
    assert {item.label: item.value for item in page.text_input}["Adaptive: escrow from, units"] == "12"


def test_a_rule_that_has_ended_is_begun_anew(opened: Open, world: World) -> None:
    page = opened("rules", edit="999999")
    assert not page.exception
    assert [item.value for item in page.info] == ["That rule has ended since: this one takes its place."]


def test_what_a_version_came_to_never_stands_where_its_progress_stood(
    opened: Open, world: World, engine: Engine
) -> None:
    with unit_of_work(engine) as conn:
        version = policies.unfinished(conn, world.shop_id)
        assert version is not None
    on_its_way = opened("rules")
    with unit_of_work(engine) as conn:
        ids = queries.listings_of_version(conn, world.shop_id, version.version_id, 0)
        policies.begin_replan(conn, world.shop_id, version.version_id, len(ids), NOW)
        policies.replan(conn, world.shop_id, version.version_id, ids, True, NOW)
    rule_queries.forget()
    is_brought = f"Version {version.version_id} is brought to the listings"
    assert_apart((on_its_way, is_brought), (opened("rules", version=str(version.version_id)), "Close"))


def test_lists_come_page_by_page(opened: Open, world: World, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        ids = [factories.make_sku(conn, world.shop_id, f"S{number:02}") for number in range(25)]
        for sku_id in ids:
            policies.save(conn, world.shop_id, [Change(Scope(sku_id=sku_id), Terms(cap_units=1))], ACTOR, NOW)
    first = rule_queries.living(world.shop_id, "all", None)
    second = rule_queries.living(world.shop_id, "all", first.rows[-1]["policy_id"])
    codes = [row["code"] for row in [*first.rows, *second.rows] if row["code"]]
    assert (first.more, second.more, codes) == (True, False, [f"S{number:02}" for number in range(25)])
    page = opened("rules", after=str(first.rows[-1]["policy_id"]), before="20")
    assert not page.exception
    assert "SKU S24" in text_of(page)
    labels = [button.label for button in page.button]
    assert {"Widest", "More specific", "Newest", "Older"} <= set(labels)


def test_what_an_undo_does_is_said_in_words() -> None:
    assert rule_words.undoing(0, 1) == "1 rule ends."
    assert rule_words.undoing(1, 2) == "2 rules end, 1 rule comes back as it was."
    assert rule_words.undoing(3, 0) == "3 rules come back as they were."


def test_the_figure_has_two_bars_a_channel_and_says_the_same_in_words(world: World, settings: None) -> None:
    planned = rule_queries.preview(world.shop_id, "all", {"cap_units": "3"}, 0)
    figure = rule_words.now_and_then(planned.found.channels, LIGHT)
    assert [(bar.name, list(bar.x)) for bar in figure.data] == [("Then", [3]), ("Now", [20])]
    assert rule_words.picture_says(planned.found.channels).endswith(": 20 units now, 3 then.")
