"""No table offers a file of its own making: what leaves goes through core.spreadsheets."""

from __future__ import annotations

from pathlib import Path

import streamlit

from dashboard import theme

LABEL = "Download as CSV"


def test_the_button_that_streamlit_puts_on_tables_is_hidden_by_the_name_that_it_has() -> None:
    assert f'[data-testid="stElementToolbarButton"]:has([aria-label^="{LABEL}"]) {{ display: none; }}' in theme.style()
    scripts = Path(streamlit.__file__).parent / "static" / "static" / "js"
    tables = [path.read_text(encoding="utf-8", errors="ignore") for path in scripts.glob("DataFrame.*.js")]
    assert any(f"label:`{LABEL}`" in script for script in tables)
