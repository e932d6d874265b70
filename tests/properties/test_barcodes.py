"""The barcode as Python and as Postgres compare it: the same for whatever anybody types."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from core.catalog import barcodes
from core.db import fetch
from tests.unit.test_barcodes import ANY_NUMBER

WORDS = st.one_of(
    ANY_NUMBER,
    st.text(alphabet="0123456789Xx -\u00a0", max_size=18),
    st.from_regex(r"[0-9]{9}[0-9X]", fullmatch=True),
    st.builds(lambda word: word[:1] + "-" + word[1:], ANY_NUMBER),
    st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=16),
)


@settings(max_examples=30)
@given(words=st.lists(WORDS, min_size=20, max_size=60))
def test_python_and_postgres_compare_barcodes_alike(module_engine: Engine, words: list[str]) -> None:
    with module_engine.connect() as conn:
        rows = fetch(conn, "select gtin_of(w) as gtin from unnest(%(words)b::text[]) with ordinality as n (w, place)"
                     " order by place", words=words)  # fmt: skip
    assert [row["gtin"] for row in rows] == [barcodes.gtin_of(word) for word in words]
