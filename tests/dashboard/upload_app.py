"""`streamlit run tests/dashboard/upload_app.py`: the field for a file on a page of its own."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.routing import Route

from dashboard.app import healthz

app = st.App(Path(__file__).with_name("upload_page.py"), routes=[Route("/healthz", healthz)])
