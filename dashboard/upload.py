"""A file from the browser straight into the store of documents: its bytes never pass through this process.

The component says which file was chosen; a document is announced for it, and the component sends the file to the link
that comes back. What is said of it afterwards is what the database knows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import BadInput, SwitchyardError
from core.files import operations, queries
from core.files.queries import State
from dashboard.theme import STATIC

log = logging.getLogger(__name__)

_DOCUMENT = "upload-document-"
_PROBLEM = "upload-problem-"
_TURN = "upload-turn-"

_component = st.components.v2.component(
    "switchyard-upload",
    html=(STATIC / "upload.html").read_text(encoding="utf-8"),
    css=(STATIC / "upload.css").read_text(encoding="utf-8"),
    js=(STATIC / "upload.js").read_text(encoding="utf-8"),
)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The document that was chosen last; its bytes can be read once its state is `stored`."""

    document_id: int
    file_name: str
    bytes: int
    state: State


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be uploaded: the kind of document it becomes, and its limits.

    `endings` are those of file names, such as .csv; `label` says what it is asked for, `note` what is worth knowing.
    """

    kind: str
    label: str
    endings: Sequence[str]
    bytes_max: int
    note: str = ""
    keep_days: int = operations.KEEP_DAYS


def draw(app: Application, shop_id: int, person: str, wanted: Wanted, key: str) -> Uploaded | None:
    """Ask for a file; the one that was chosen, None before one was and once its time is over.

    A run of the page follows when a file has arrived. Raises what the database raises.
    """
    mounted = f"upload-{key}-{st.session_state.get(_TURN + key, 0)}"
    announced: Mapping[str, Any] | None = st.session_state.get(_DOCUMENT + key)
    found = _look(app, shop_id, announced)
    stored = found if found and found.state == "stored" else None
    _component(
        key=mounted,
        data={
            "label": wanted.label,
            "note": wanted.note or _limits(wanted),
            "endings": list(wanted.endings),
            "bytes_max": wanted.bytes_max,
            "home": app.settings.dashboard_url,
            "link": announced and announced["link"],
            "problem": st.session_state.get(_PROBLEM + key),
            "stored": stored and {"file_name": stored.file_name, "bytes": stored.bytes},
        },
        on_chosen_change=partial(_announce, app, shop_id, person, wanted, key, mounted),
        on_done_change=_arrived,
    )
    return found


def clear(key: str) -> None:
    """Ask for a file anew: what was uploaded has been made use of."""
    st.session_state.pop(_DOCUMENT + key, None)
    st.session_state.pop(_PROBLEM + key, None)
    st.session_state[_TURN + key] = st.session_state.get(_TURN + key, 0) + 1


def _look(app: Application, shop_id: int, announced: Mapping[str, Any] | None) -> Uploaded | None:
    if announced is None:
        return None
    with read_only(app.engine) as conn:
        found = queries.document(conn, shop_id, announced["document_id"])
    if found is None or found.state == "deleted" or found.expires_at <= utc_now():
        return None
    return Uploaded(found.id, found.file_name, found.bytes or announced["size"], found.state)


def _announce(app: Application, shop_id: int, person: str, wanted: Wanted, key: str, mounted: str) -> None:
    """A link for the file that was chosen, or why there is none, for the run that follows."""
    chosen = st.session_state[mounted].chosen
    st.session_state.pop(_DOCUMENT + key, None)
    st.session_state.pop(_PROBLEM + key, None)
    nonce = str(chosen["nonce"])
    try:
        name, type_, size = _checked(chosen, wanted)
        with unit_of_work(app.engine) as conn:
            made = operations.announce(
                *(conn, app.documents, shop_id, wanted.kind, name, type_, size, person, utc_now()),
                keep_days=wanted.keep_days,
            )
    except SwitchyardError as error:
        log.warning("no upload was prepared: %s", error)
        st.session_state[_PROBLEM + key] = {"nonce": nonce, "sentence": _sentence(str(error))}
    except SQLAlchemyError:
        log.exception("no upload was prepared")
        words = "The upload could not be prepared, since the database did not answer: try again in a minute."
        st.session_state[_PROBLEM + key] = {"nonce": nonce, "sentence": words}
    else:
        link = {"nonce": nonce, "method": made.link.method, "url": made.link.url, "headers": dict(made.link.headers)}
        st.session_state[_DOCUMENT + key] = {"document_id": made.document_id, "size": size, "link": link}


def _checked(chosen: Mapping[str, Any], wanted: Wanted) -> tuple[str, str, int]:
    """Name, type and size as the browser has them. Raises BadInput: what it checks itself may come otherwise too."""
    name, size = str(chosen["name"]), int(chosen["size"])
    if not name.lower().endswith(tuple(wanted.endings)):
        raise BadInput(f"{name} cannot be read here: choose a file that ends in {' or '.join(wanted.endings)}")
    if not 0 < size <= wanted.bytes_max:
        raise BadInput(f"a file may have 1 to {wanted.bytes_max:,} bytes, and {name} has {size:,}")
    return name, str(chosen["type"]), size


def _arrived() -> None:
    """Nothing: that the page runs again is what it was told for."""


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}."


def _limits(wanted: Wanted) -> str:
    return f"{' or '.join(wanted.endings)}, at most {wanted.bytes_max // 1_000_000:,} MB"
