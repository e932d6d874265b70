"""JSON that PostgreSQL keeps: what it cannot is left out, and what only looks like it stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.importing.holding import storable

TEXTS = st.text(st.one_of(st.sampled_from("\0\ud83d\ude00\\u0"), st.characters()), max_size=6)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": "x\0y"}, {"a": "xy"}),
        ([["\\u0000", "\0"]], [["\\u0000", ""]]),
        (["\\\0", "\\\\u0000"], ["\\", "\\\\u0000"]),
        ({"a\0": ("\ud83d", 1, None, True)}, {"a": ["\ufffd", 1, None, True]}),
    ],
)
def test_what_no_database_keeps_is_left_out(value: Any, kept: Any) -> None:
    assert json.loads(storable(value)) == kept


@given(JSON)
def test_anything_is_kept_as_it_is_but_for_that(value: Any) -> None:
    found = json.loads(storable(value))
    written = json.dumps(value)
    if "\\u0000" not in written and "\\ud" not in written:
        assert found == value
    text = json.dumps(found, ensure_ascii=False)
    text.encode()
    assert "\0" not in "".join(texts(found))


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for part in value.values() for text in texts(part))]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        storable({"a": object(), "b": "\ud83d"})
