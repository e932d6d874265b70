"""Each published number explained term by term: the terms add up, and say where they come from."""

from __future__ import annotations

from decimal import Decimal

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.db import execute, unit_of_work
from core.explain import Explanation, NotListed, explain
from core.inventory import bundles, promises
from core.inventory.operations import UnknownSku, refresh_desired
from core.policies import operations as policies
from core.policies.queries import Change, living
from core.policies.rules import Scope, Terms
from tests.factories import NOW, World, listing_of, make_world

ACTOR = Actor("ann", "a test")


def only(found: list[Explanation]) -> Explanation:
    (item,) = found
    return item


def terms(item: Explanation) -> list[tuple[str, int]]:
    return [(term.name, term.units) for term in item.terms]


def set_rule(conn: Connection, world: World, code: str, **rule: object) -> None:
    names = ", ".join(f"{name} = %({name})s" for name in rule)
    execute(
        conn,
        f"update listings set {names} where shop_id = %(shop)s and sku_id = %(sku)s",
        shop=world.shop_id,
        sku=world.skus[code],
        **rule,
    )
    refresh_desired(conn, world.shop_id, [world.skus[code]])


def test_a_plain_number_is_what_is_on_hand_less_what_is_promised(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10})
    promise = promises.Promise(promises.Holder("checkout", "c1"), world.location_id, ((world.skus["MUG"], 3),))
    assert promises.reserve(conn, world.shop_id, [promise], NOW)[0].is_whole
    item = only(explain(conn, world.shop_id, "MUG"))
    assert terms(item) == [("on_hand", 10), ("promised", -3)]
    assert item.should_show == 7 == item.terms[-1].leaves == listing_of(conn, world, "MUG")["desired_units"]
    assert [term.rows for term in item.terms] == ["movements", "promises"]


def test_every_part_of_a_rule_is_a_term_and_together_they_come_to_what_is_shown(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 100})
    set_rule(conn, world, "MUG", safety_stock_units=10, share_percent=50, buffer_units=5, cap_units=30)
    item = only(explain(conn, world.shop_id, "MUG"))
    assert terms(item) == [("on_hand", 100), ("safety_stock", -10), ("share", -45), ("buffer", -5), ("cap", -10)]
    assert item.should_show == 30 == item.terms[-1].leaves
    set_rule(conn, world, "MUG", is_offered=False)
    item = only(explain(conn, world.shop_id, "MUG"))
    assert terms(item)[-1] == ("off", -30)
    assert item.should_show == 0


def test_a_bundle_is_explained_by_its_scarcest_part(conn: Connection) -> None:
    world = make_world(conn, {"TEA": 13, "CUP": 40, "SET": 0})
    bundles.set_components(conn, world.shop_id, "SET", {"TEA": 3, "CUP": 2}, ACTOR, NOW)
    item = only(explain(conn, world.shop_id, "SET"))
    assert terms(item) == [("part", 4)]
    assert item.terms[0].rows == "part:TEA"
    assert "13 available of TEA" in item.terms[0].text
    assert item.should_show == 4


def test_more_promised_than_there_is_shows_as_none_and_says_so(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 2})
    at = "where shop_id = %(shop)s and sku_id = %(sku)s"
    execute(conn, f"update stock_levels set unavailable = 5 {at}", shop=world.shop_id, sku=world.skus["MUG"])
    refresh_desired(conn, world.shop_id, [world.skus["MUG"]])
    item = only(explain(conn, world.shop_id, "MUG"))
    assert terms(item) == [("on_hand", 2), ("unavailable", -5), ("none_left", 3)]
    assert item.should_show == 0


def test_a_term_names_the_rule_it_is_from_while_the_listing_is_made_with_it(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 100})
    scope = Scope(sku_id=world.skus["MUG"])
    change = Change(scope, Terms(share_percent=Decimal(20), buffer_units=3))
    policies.save(conn, world.shop_id, [change], ACTOR, NOW)
    assert terms(only(explain(conn, world.shop_id, "MUG"))) == [("on_hand", 100)]
    policies.apply_to_skus(conn, world.shop_id, [world.skus["MUG"]])
    (rule,) = living(conn, world.shop_id)
    item = only(explain(conn, world.shop_id, "MUG"))
    assert terms(item) == [("on_hand", 100), ("share", -80), ("buffer", -3)]
    assert [term.rows for term in item.terms[1:]] == [f"rule:{rule.id}"] * 2
    policies.save(conn, world.shop_id, [Change(scope, Terms(share_percent=Decimal(50)))], ACTOR, NOW)
    # The listing follows in a moment: until then no living rule says what it was made with.
    assert [term.rows for term in only(explain(conn, world.shop_id, "MUG")).terms[1:]] == [None, None]


def test_a_code_or_a_channel_that_is_not_there_is_named(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 2})
    with pytest.raises(UnknownSku, match="mug"):
        explain(conn, world.shop_id, "mug")
    with pytest.raises(NotListed, match="MUG is not listed on a channel called ebay: it is listed on "):
        explain(conn, world.shop_id, "MUG", "ebay")
    name = only(explain(conn, world.shop_id, "MUG")).connection
    assert only(explain(conn, world.shop_id, "MUG", name[:3].upper())).connection == name


def test_the_command_prints_the_sum(engine: Engine, database: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.cli import cli

    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 12})
        set_rule(conn, world, "MUG", share_percent=25)
    monkeypatch.setenv("DATABASE_URL", database.url)  # type: ignore[attr-defined]
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    said = CliRunner().invoke(cli, ["why", "MUG"], catch_exceptions=False).output
    assert "12" in said
    assert "−9" in said
    assert "this channel's share is 25 %, rounded down" in said
    assert "should show" in said
