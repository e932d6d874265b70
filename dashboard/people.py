"""Who is looking, at which shop, and what they may see. Sign-in will take the place of `operator`, and nothing else."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

_KEY = "viewer"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a role; `scope` is part of every cache key, so that nobody reads another's answers."""

    name: str
    role: str
    scope: str


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop whose page this is."""

    id: int
    name: str
    zone: str
    currency: str


@dataclass(frozen=True, slots=True)
class Viewer:
    """One person at one shop, for the length of one script run."""

    person: Person
    shop: Shop
    has_other_shops: bool = False

    def where(self, **more: str) -> dict[str, str]:
        """Query parameters of a link within this shop; the shop is named only where there are several."""
        return {**({"shop": str(self.shop.id)} if self.has_other_shops else {}), **more}


def operator(environment: Mapping[str, str] = os.environ) -> Person:
    """The one local operator: the dashboard listens on loopback only, so whoever is here may use this machine."""
    name = environment.get("SWITCHYARD_OPERATOR", "").strip()
    if not name:
        try:
            name = getpass.getuser()
        except (OSError, KeyError):
            name = "operator"
    return Person(name=name, role="admin", scope="all")


def look_at(viewer: Viewer) -> None:
    """Remember who looks at what for the screen that runs next."""
    st.session_state[_KEY] = viewer


def viewer() -> Viewer:
    """Who looks at what, as the page frame found it."""
    found: Viewer = st.session_state[_KEY]
    return found
