"""Tokens that Streamlit's theme has no name for, and the one style block that uses them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Colours by role for one theme; contrast is measured in the design notes of the dashboard."""

    background: str
    raised: str
    text: str
    muted: str
    border: str
    accent: str
    ok: str
    attention: str
    danger: str
    paused: str
    unknown: str
    bar: str
    series: tuple[str, ...]


LIGHT = Tokens(
    background="#FFFFFF",
    raised="#F3F5F8",
    text="#17202B",
    muted="#55606E",
    border="#D5DBE3",
    accent="#1F4FBF",
    ok="#0A6C85",
    attention="#B56A00",
    danger="#CF1039",
    paused="#7A35B5",
    unknown="#5B6675",
    bar="#7A8592",
    series=("#1F3C8C", "#D07A1E", "#1B9AAA", "#8E2A6B", "#3B2A12"),
)
DARK = Tokens(
    background="#10151C",
    raised="#1A222D",
    text="#E7ECF2",
    muted="#A3AEBB",
    border="#303B49",
    accent="#8FB4FF",
    ok="#7FD3E3",
    attention="#FFC46B",
    danger="#FF6B7A",
    paused="#C391F0",
    unknown="#8593A3",
    bar="#8593A3",
    series=("#4C7DF0", "#F2A65A", "#7FE0D8", "#E0559F", "#EDE96B"),
)


def tokens() -> Tokens:
    """The tokens of the theme that this reader sees."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def style() -> str:
    """The style block of a page: hooks are container keys and test ids only."""
    shown = tokens()
    names = (
        "background",
        "raised",
        "text",
        "muted",
        "border",
        "accent",
        "ok",
        "attention",
        "danger",
        "paused",
        "unknown",
        "bar",
    )
    variables = "".join(f"--sy-{name}:{getattr(shown, name)};" for name in names)
    return f"<style>:root{{{variables}}}\n{(STATIC / 'style.css').read_text(encoding='utf-8')}</style>"
