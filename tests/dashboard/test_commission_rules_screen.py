"""The Commission rules screen: empty, full, an editor that refuses, tries and activates."""

from __future__ import annotations

import html

import pytest
from sqlalchemy import Connection, Engine

from core.commissions import editing, queries
from core.db import scalar, unit_of_work
from dashboard import commission_rule_queries
from tests.dashboard import seed
from tests.dashboard.commission_worlds import shop_with_commissions
from tests.dashboard.conftest import Open, text_of
from tests.factories import ACTOR, NOW, World


@pytest.fixture
def world(engine: Engine) -> World:
    return shop_with_commissions(engine, orders=8)


def test_an_empty_shop_says_what_holds_without_rules(settings: None, opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("commission_rules")
    assert not page.exception
    assert "There are no rules yet" in text_of(page)
    assert "Whoever sells keeps everything" in text_of(page)


def test_rules_read_as_sentences_by_kind_the_most_general_first(opened: Open, world: World) -> None:
    page = opened("commission_rules")
    assert not page.exception
    said = html.unescape(text_of(page).replace("\\", ""))
    general = said.index("**Every seller pays 15 % of items**")
    assert general < said.index("**Every seller pays 5 % of carriage**")
    assert said.index("Brand shop Oak & Ash pays 12 % of items (10 % from 5,000 GBP, 8 % from 20,000 GBP a month)")
    assert [head for head in ("Platform fees", "Creator commissions", "Channel fees") if head not in said] == []
    assert "Two rules of the same scope" in said
    assert "Nothing is sold in JPY" in said


def test_rules_are_searched_and_paged(opened: Open, world: World) -> None:
    found = commission_rule_queries.rules(world.shop_id, "all", "elif", None)
    assert [row["payee"] for row in found.rows] == ["Elif Demir"]
    everything = commission_rule_queries.rules(world.shop_id, "all", "", None)
    after = commission_rule_queries.rules(world.shop_id, "all", "", everything.rows[2]["id"])
    assert [row["id"] for row in after.rows] == [row["id"] for row in everything.rows[3:]]
    assert commission_rule_queries.rules(world.shop_id, "all", "100%_", None).rows == []


@pytest.mark.parametrize(
    ("view", "says"),
    [
        ("Parties", "**Oak & Ash** · brand shop · OAK"),
        ("Assignments", "Creator Maya Osei is the creator of everything in orders with the code MAYA10"),
        ("Versions", "rules begun"),
    ],
)
def test_each_list_is_drawn(opened: Open, world: World, view: str, says: str) -> None:
    page = opened("commission_rules", show=view)
    assert not page.exception
    # AppTest knows of no bound addresses: the control is turned by hand.
    page.segmented_control(key="show").set_value(view).run()
    assert not page.exception
    assert says in text_of(page).replace("\\", "")


def test_what_cannot_be_a_rule_is_refused_by_its_field(opened: Open, world: World) -> None:
    page = opened("commission_rules", edit="new", see="yes", kind="platform fee", fee="a lot", category="Lmps")
    assert not page.exception
    said = text_of(page)
    assert "**Fee**: “a lot” is no fee" in said
    assert "Did you mean Lamps?" in said


def test_a_change_is_tried_on_past_orders_and_activated(opened: Open, world: World, conn: Connection) -> None:
    rule = next(row for row in commission_rule_queries.rules(world.shop_id, "all", "", None).rows if row["category"])
    page = opened(
        "commission_rules", edit=str(rule["id"]), see="yes", kind="platform fee", fee="20 %", category="Kitchen"
    )
    assert not page.exception
    said = text_of(page)
    assert "**Begins**: Every seller pays 20 % of items of category Kitchen" in said
    assert "would have earned another amount, net of refunds" in said
    page.text_input(key="commission-reason").set_value("Kitchen sells well")
    page.button(key="activate-go").click().run()
    assert not page.exception
    assert "Active as version 3." in [toast.value for toast in page.toast]
    living = {one.id: one for one in queries.living_rules(conn, world.shop_id)}
    assert rule["id"] not in living
    assert [one.rate_ppm for one in living.values() if one.category == "Kitchen"] == [200_000]


def test_rules_saved_meanwhile_are_not_saved_over(opened: Open, world: World, engine: Engine) -> None:
    page = opened("commission_rules", edit="new", see="yes", kind="channel fee", fee="1 %")
    with unit_of_work(engine) as other:
        editing.undo(other, world.shop_id, editing.latest_version(other, world.shop_id), ACTOR, NOW)
    page.text_input(key="commission-reason").set_value("Too late")
    page.button(key="activate-go").click().run()
    assert "the rules have changed since you looked" in text_of(page)
    with engine.connect() as other:
        versions = scalar(other, "select count(*) from commission_versions where shop_id = %(s)s", s=world.shop_id)
    assert versions == 3
