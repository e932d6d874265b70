"""What is being scanned: one field that keeps the focus, a line for each SKU, quantities to edit.

A scanner is a keyboard that types a code and Enter. The field stands in a form of its own, which empties itself in the
browser: the next scan need not wait for the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

import streamlit as st

from core.desk.booking import Item
from core.desk.queries import Returnable
from core.desk.rules import UNITS_MAX
from dashboard import components, desk_actions, desk_queries, desk_words, formats, people

LINES_MAX = 100
"""On a screen; a longer delivery comes as a file."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a basket. `most`: no more can be taken, such as of an order line."""

    code: str
    title: str
    units: int
    disposition: str | None = None
    order_line_id: int | None = None
    order_name: str = ""
    most: int | None = None

    @property
    def name(self) -> str:
        """What tells it from the basket's other lines."""
        return f"{self.code}|{self.disposition or ''}|{self.order_line_id or ''}"


class Basket:
    """What one person scans for one act; `key` names the form that it becomes.

    It is kept in the database: a phone that loads its page again goes on where it was.
    """

    def __init__(self, act: str, lowest: int = 1) -> None:
        self.act, self.lowest = act, lowest
        viewer = people.viewer()
        self._owner = (viewer.shop.id, viewer.person.name)
        self._at = f"basket-{viewer.shop.id}-{act}"
        if self._at not in st.session_state:
            st.session_state[self._at] = self._begun()
        self._kept = st.session_state[self._at]

    def _begun(self) -> dict[str, Any]:
        """A new form, or the one that was begun before."""
        found = desk_actions.kept_draft(desk_actions.application(), *self._owner, self.act)
        if found is None:
            return {"key": f"form:{uuid4().hex}", "lines": {}, "said": ""}
        lines = [Line(**values) for values in found[1]]
        return {"key": found[0], "lines": {line.name: line for line in lines}, "said": ""}

    def _keep(self) -> None:
        lines = [asdict(line) for line in self._kept["lines"].values()]
        desk_actions.keep_draft(desk_actions.application(), *self._owner, self.act, self.key, lines)

    @property
    def key(self) -> str:
        """The business key of what is booked from it."""
        key: str = self._kept["key"]
        return key

    @property
    def lines(self) -> list[Line]:
        """The lines, the last scanned first."""
        return [replace(line, units=self._units(line)) for line in reversed(self._kept["lines"].values())]

    @property
    def items(self) -> list[Item]:
        """What the act is about."""
        return [Item(line.code, line.units, line.disposition, line.order_line_id) for line in self.lines]

    @property
    def problem(self) -> str:
        """Why the last scan was not taken, or nothing."""
        said: str = self._kept["said"]
        return said

    def clear(self) -> None:
        """Begin anew, as a new form."""
        for line in self._kept["lines"].values():
            st.session_state.pop(self._widget(line), None)
        self._kept["lines"] = {}
        self._keep()
        st.session_state.pop(self._at, None)

    def add(self, line: Line) -> None:
        """Add a line, or raise the one that is there; the last scanned comes to the top."""
        lines = self._kept["lines"]
        known = lines.pop(line.name, None)
        if known is None and len(lines) >= LINES_MAX:
            self._kept["said"] = f"{LINES_MAX} lines are on it: book these first, or load a file."
            return
        units = line.units if known is None else self._units(known) + line.units
        if line.most is not None and units > line.most:
            self._kept["said"] = f"No more than {line.most:,} of {line.code} can come back of order {line.order_name}."
            units = line.most
        lines[line.name] = replace(line, units=units)
        st.session_state[self._widget(line)] = units
        self._keep()

    def refuse(self, why: str) -> None:
        """Say why a scan was not taken."""
        self._kept["said"] = why

    def _units(self, line: Line) -> int:
        return int(st.session_state.get(self._widget(line), line.units))

    def _widget(self, line: Line) -> str:
        return f"units-{self.act}-{line.name}"

    def _remove(self, line: Line) -> None:
        self._kept["lines"].pop(line.name, None)
        st.session_state.pop(self._widget(line), None)
        self._keep()

    def take(self, word: str, make: Callable[[str], Line | None]) -> None:
        """One scan."""
        self._kept["said"] = ""
        word = word.strip()
        if not word:
            return
        line = make(word)
        if line is not None:
            self.add(line)

    def draw_scan(self, make: Callable[[str], Line | None], label: str = "Scan or type a code") -> None:
        """The field; `make` turns a word into a line, or refuses it and returns None."""
        with (
            st.form(f"scan-{self.act}", clear_on_submit=True, enter_to_submit=True, border=False),
            st.container(horizontal=True, vertical_alignment="bottom"),
        ):
            word = st.text_input(label, key=f"scan-{self.act}-word", placeholder="Code or barcode, then Enter",
                                 icon=":material/barcode_scanner:", width="stretch")  # fmt: skip
            is_scanned = st.form_submit_button("Add")
        if is_scanned:
            self.take(word or "", make)
        if self.problem:
            st.error(formats.plain(self.problem), icon=":material/error:")

    def draw_lines(self) -> None:
        """The lines with their quantities."""
        lines = self.lines
        if not lines:
            components.empty("Nothing scanned yet", "Each scan adds one; the quantity can be typed over.")
            return
        for line in lines:
            with st.container(
                horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key=f"line-{line.name}"
            ):
                with st.container(width="stretch", gap=None):
                    st.markdown(f"**{formats.plain(line.code)}** {formats.plain(line.title)}")
                    about = [desk_words.disposition(line.disposition)] if line.disposition else []
                    about += [f"order {line.order_name}"] if line.order_name else []
                    if about:
                        st.caption(formats.plain(" · ".join(about)))
                # The widget's own memory ends where another part is shown; the basket's does not.
                st.session_state.setdefault(self._widget(line), line.units)
                units = st.number_input(
                    f"Units of {line.code}",
                    min_value=self.lowest,
                    max_value=line.most or UNITS_MAX,
                    step=1,
                    key=self._widget(line),
                    width=140,
                    label_visibility="collapsed",
                )
                if self._kept["lines"][line.name].units != int(units):
                    self._kept["lines"][line.name] = replace(line, units=int(units))
                    self._keep()
                st.button(
                    ":material/close:",
                    key=f"drop-{self.act}-{line.name}",
                    help=f"Remove {line.code}",
                    type="tertiary",
                    on_click=self._remove,
                    args=(line,),
                )
        total = sum(abs(line.units) for line in lines)
        components.html(
            f'<div class="sy-muted">{desk_words.units_of_skus(total, len({line.code for line in lines}))}</div>'
        )


def plain_line(basket: Basket, disposition: str | None = None, units: int = 1) -> Callable[[str], Line | None]:
    """How a scan becomes a line of whatever SKU it names."""
    shop = people.viewer().shop

    def make(word: str) -> Line | None:
        found, why = desk_queries.scanned(shop.id, word)
        if found is None:
            basket.refuse(why)
            return None
        return Line(found.code, found.title, units, disposition)

    return make


def order_line(basket: Basket, sold: Iterable[Returnable], disposition: str) -> Callable[[str], Line | None]:
    """How a scan becomes a line of an order that has it, the first with something left."""
    lines = list(sold)
    shop = people.viewer().shop

    def make(word: str) -> Line | None:
        found, why = desk_queries.scanned(shop.id, word)
        if found is None:
            basket.refuse(why)
            return None
        of_sku = [line for line in lines if line.sku_id == found.sku_id]
        if not of_sku:
            basket.refuse(f"{found.code} is not on order {lines[0].order_name}.")
            return None
        taken = {line.order_line_id: 0 for line in of_sku}
        for known in basket.lines:
            if known.order_line_id in taken:
                taken[known.order_line_id] += known.units
        free = next((line for line in of_sku if taken[line.order_line_id] < line.returnable_units), None)
        if free is None:
            basket.refuse(f"No more of {found.code} can come back of order {lines[0].order_name}.")
            return None
        most = free.returnable_units
        return Line(found.code, found.title, 1, disposition, free.order_line_id, free.order_name, most)

    return make
