"""Why two numbers differ: the pure function and its twin in SQL say the same of everything that can be seen."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.db import fetch
from core.reconciliation.queries import cause_of
from core.reconciliation.rules import CAUSES, Sight, classify

TYPES = {"int | None": "int4", "int": "int4", "bool": "bool"}
units = st.integers(-3, 6)
maybe = st.none() | units

sights = st.builds(
    Sight,
    shown_units=maybe,
    accounted_units=maybe,
    is_found=st.sampled_from([True, True, True, False]),
    is_older=st.sampled_from([False, False, False, True]),
    points_elsewhere=st.sampled_from([False, False, False, True]),
    is_open=st.booleans(),
    open_from=maybe,
    open_to=maybe,
    is_doubted=st.sampled_from([False, False, True]),
    landing_max=maybe,
    last_from=maybe,
    last_to=maybe,
    is_passed=st.booleans(),
    restocked_units=st.integers(0, 4),
)


def causes_in_sql(conn: Connection, seen: list[Sight]) -> list[Any]:
    names = [field.name for field in fields(Sight)]
    columns = {name: [astuple(sight)[place] for sight in seen] for place, name in enumerate(names)}
    arrays = ", ".join(f"%({field.name})b::{TYPES[str(field.type)]}[]" for field in fields(Sight))
    rows = fetch(
        conn,
        f"""
        select {cause_of("s")} as cause
        from unnest({arrays}) with ordinality as s ({", ".join(names)}, place) order by s.place
        """,
        **columns,
    )
    return [row["cause"] for row in rows]


@settings(max_examples=150)
@given(st.lists(sights, min_size=40, max_size=120))
def test_the_cause_in_sql_is_that_of_the_pure_function(module_engine: Engine, seen: list[Sight]) -> None:
    found = [classify(sight) for sight in seen]
    for cause in {*found}:
        event(str(cause))
    with module_engine.connect() as conn:
        assert causes_in_sql(conn, seen) == found


def test_every_cause_can_be_found() -> None:
    found = {
        classify(Sight(None, 5)),
        classify(Sight(4, 5, is_open=True, open_from=5, open_to=3)),
        classify(Sight(4, 5, is_passed=False)),
        classify(Sight(9, 5)),
        classify(Sight(8, 5, last_from=8, last_to=5)),
        classify(Sight(3, 5, restocked_units=2)),
    }
    assert found == set(CAUSES)
