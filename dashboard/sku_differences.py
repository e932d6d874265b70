"""What a channel and we say differently of one SKU, on its page, and the way to have it compared now."""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path

import streamlit as st

from dashboard import components, formats, people, reconciliation_queries, reconciliation_words

RECONCILIATION = Path(__file__).parent / "screens" / "reconciliation.py"


def draw(viewer: people.Viewer, code: str, as_of: datetime) -> None:
    """What is open of it, worst first, where anything is; and the link that has it compared."""
    found = reconciliation_queries.of_sku(viewer.shop.id, code)
    if found:
        body = [
            (
                escape(row["connection"]),
                escape(reconciliation_words.cause(row["cause"])),
                components.number(row["ours"]),
                components.number(row["theirs"]),
                escape(reconciliation_words.age(row["first_seen_at"], as_of)),
                escape(reconciliation_words.ACTIONS[row["action"]][0]),
            )
            for row in found
        ]
        heads = [("Channel", False), ("What differs", False), ("Ours", True), ("Theirs", True), ("For", False),
                 ("What is done", False)]  # fmt: skip
        components.table(heads, body, f"What differs of {code}")
    st.page_link(
        RECONCILIATION,
        label="Reconcile this SKU",
        icon=":material/balance:",
        query_params=viewer.where(q=code),
        help=f"What channels show of {formats.plain(code)} against what we know",
    )
