"""Any history of categories made, moved, removed, mapped, left out, ended and taken back, of taxonomies replaced: what
each category is, is what a plain walk up the tree finds."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.catalog.categories import operations as categories
from core.catalog.taxonomies import loading, operations, queries
from core.catalog.taxonomies.rules import Target
from core.db import scalar
from core.errors import Anticipated
from tests.factories import ACTOR, BASELINE, later, make_connection, make_shop

REFS = ("1", "2", "3")
SPOTS = st.integers(0, 6)
ACTS = st.one_of(
    st.tuples(st.just("make"), SPOTS, st.sampled_from("abc")),
    st.tuples(st.just("map"), SPOTS, st.sampled_from(REFS)),
    st.tuples(st.just("leave_out"), SPOTS, st.none()),
    st.tuples(st.just("own"), SPOTS, st.none()),
    st.tuples(st.just("end"), SPOTS, st.none()),
    st.tuples(st.just("undo"), SPOTS, st.none()),
    st.tuples(st.just("move"), SPOTS, SPOTS),
    st.tuples(st.just("remove"), SPOTS, st.none()),
    st.tuples(st.just("load"), st.none(), st.sets(st.sampled_from(REFS), min_size=1)),
)


@dataclass
class Tree:
    """What a person would have on paper: who hangs where, and what was said of whom, each answer over the last one."""

    conn: Connection
    shop_id: int
    target: Target
    parents: dict[int, int | None] = field(default_factory=dict)
    said: dict[int, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    clock: int = 0

    def at(self, spot: int) -> int | None:
        """A category by its place among those that there are; None: none, or the top."""
        numbers = sorted(self.parents)
        return numbers[spot % len(numbers)] if numbers and spot else None

    def do(self, act: str, spot: Any, more: Any) -> None:
        self.clock += 1
        now = later(self.clock)
        here = (self.conn, self.shop_id, self.target)
        if act == "make":
            parent = self.at(spot)
            made = categories.create(self.conn, self.shop_id, parent, more, ACTOR, now)
            self.parents[made] = parent
            return
        if act == "load":
            told = [(ref, f"Entry {ref}") for ref in sorted(more)]
            loading.load_told(*here, "Account", told, ACTOR, now)
            self.known = set(more)
            return
        category = self.at(spot)
        if category is None:
            return
        if act == "map":
            operations.map_category(*here, category, more, ACTOR, now)
            self.said[category] = more
        elif act == "leave_out":
            operations.leave_out(*here, category, ACTOR, now)
            self.said[category] = "left_out"
        elif act == "own":
            operations.keep_own(*here, category, ACTOR, now)
            self.said[category] = "own"
        elif act == "end":
            operations.end_answer(*here, category, ACTOR, now)
            del self.said[category]
        elif act == "undo":
            operations.undo(*here, category, ACTOR, now)
            self._read_answer(category)
        elif act == "move":
            parent = self.at(more)
            name = f"m{self.clock}"
            categories.move(self.conn, self.shop_id, category, parent, name, ACTOR, now)
            self.parents[category] = parent
        else:
            categories.remove(self.conn, self.shop_id, category, ACTOR, now)
            del self.parents[category]
            self.said.pop(category, None)

    def _read_answer(self, category: int) -> None:
        """What an undo comes to is told by the rows themselves; how it is inherited is not."""
        said = scalar(
            self.conn,
            """
            select coalesce(entry_ref, answer) from category_mappings
            where shop_id = %(shop)s and category_id = %(id)s and ended_at is null
            """,
            shop=self.shop_id,
            id=category,
        )
        self.said.pop(category, None)
        if said is not None:
            self.said[category] = said

    def walked(self, category: int) -> tuple[str, str | None]:
        """Up the tree until somebody said something."""
        place: int | None = category
        while place is not None and place not in self.said:
            place = self.parents[place]
        if place is None or self.said[place] == "own":
            return "own", None
        if self.said[place] == "left_out":
            return "left_out", None
        ref = self.said[place]
        if ref not in self.known:
            return "broken", ref
        return ("mapped" if place == category else "inherited"), ref


@settings(max_examples=40)
@given(st.lists(ACTS, min_size=4, max_size=25))
def test_what_a_category_is_is_what_a_walk_up_the_tree_finds(
    module_engine: Engine, history: list[tuple[str, Any, Any]]
) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        shop_id = make_shop(conn)
        connection = make_connection(conn, shop_id, vendor="klaviyo", is_sku_source=False, locations={})
        tree = Tree(conn, shop_id, Target("klaviyo", connection.id))
        tree.do("load", None, set(REFS))
        for name in "ab":
            tree.do("make", 0, name)
        for act in history:
            try:
                with conn.begin_nested():
                    tree.do(*act)
            except Anticipated:
                pass  # refused, so that nothing may have changed
            found = queries.effective(conn, shop_id, tree.target)
            assert {each.category_id: (each.state, each.ref) for each in found} == {
                category: tree.walked(category) for category in tree.parents
            }
            assert queries.entry_refs(conn, shop_id, tree.target) == {
                each.category_id: each.ref for each in found if each.state in ("mapped", "inherited")
            }
        sent = queries.mapped(conn, shop_id, "klaviyo", tree.parents, connection.id)
        assert sent == {
            category: ref if state in ("mapped", "inherited") else None
            for category, (state, ref) in ((number, tree.walked(number)) for number in tree.parents)
        }
        transaction.rollback()


def test_a_history_with_everything_in_it_is_told_right(module_engine: Engine) -> None:
    """The history above, once by hand: that the walk on paper itself is no fiction."""
    with module_engine.connect() as conn, conn.begin() as transaction:
        shop_id = make_shop(conn)
        target = Target("google")
        text = "# Google_Product_Taxonomy_Version: 2021-09-21\n1 - A\n2 - B\n"
        loading.load_file(conn, shop_id, "google", "t", io.BytesIO(text.encode()), ACTOR, BASELINE)
        top = categories.create(conn, shop_id, None, "top", ACTOR, BASELINE)
        low = categories.create(conn, shop_id, top, "low", ACTOR, BASELINE)
        operations.map_category(conn, shop_id, target, top, "1", ACTOR, BASELINE)
        assert queries.mapped(conn, shop_id, "google", [top, low]) == {top: "1", low: "1"}
        categories.move(conn, shop_id, low, None, "low", ACTOR, BASELINE)
        assert queries.mapped(conn, shop_id, "google", [top, low]) == {top: "1", low: None}
        transaction.rollback()
