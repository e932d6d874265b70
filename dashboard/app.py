"""What is served: the pages, a sign of life, and what happens when a page breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
import streamlit.logger as streamlit_logger
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from core import logs


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    """Before the first click: logging, the figures' library drawn once and what acts need, seconds the first time."""
    logs.configure("dashboard")
    # Streamlit gives every logger of its own a handler and another form.
    streamlit_logger.setup_formatter = logs.adopt
    from dashboard import charts, job_actions, theme  # noqa: F401 (here: caches want the running server)

    charts.template(theme.LIGHT)
    yield


async def healthz(request: Request) -> Response:
    """Alive; whether the database answers is shown on the pages."""
    return PlainTextResponse("ok")


async def overview(request: Request) -> Response:
    """The first page has no name in its address; who types its name is led there, with the shop that was named."""
    return RedirectResponse(request.url.replace(path="/"), 307)


def on_script_error(error: Exception) -> bool:
    """What no panel caught: our card with a reference instead of a traceback."""
    from dashboard import components

    components.failed(error, "page")
    return True


app = st.App(
    Path(__file__).parent / "main.py",
    lifespan=lifespan,
    routes=[Route("/healthz", healthz), Route("/overview", overview)],
    on_script_error=on_script_error,
)
