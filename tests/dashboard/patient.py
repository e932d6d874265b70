"""`python -m tests.dashboard.patient run …`: `streamlit run …` that gives a ring up as late as the tests do."""

from __future__ import annotations

from streamlit.web.cli import main

from core.adapters import rq
from tests.bells import PATIENCE_SECONDS

if __name__ == "__main__":
    rq.DOORBELL_TIMEOUT_SECONDS = PATIENCE_SECONDS
    main(prog_name="streamlit")
