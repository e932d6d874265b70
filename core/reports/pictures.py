"""Pictures of a report as SVG with a text beside them, for pages without scripts. Pure.

Colours are classes, so that a page gives them for light and dark; the attributes stand where styles are taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

WIDTH = 640
_LEFT, _RIGHT = 46, 6


def nice(value: float) -> float:
    """The next round number from `value` on: 1, 2, 2.5 or 5 times a power of ten; at least 1."""
    step = 1.0
    while True:
        for times in (1, 2, 2.5, 5):
            if step * times >= value:
                return step * times
        step *= 10


def hours(
    labels: Sequence[str],
    values: Sequence[float],
    usual: Sequence[float | None],
    text: str,
    show: Callable[[float], str],
    height: int = 170,
) -> str:
    """A bar for each hour, and a stepped line of what is usual at that hour where that is known."""
    top = nice(max([1.0, *values, *(each for each in usual if each is not None)]))
    floor, above = height - 22, 10
    wide = (WIDTH - _LEFT - _RIGHT) / max(len(values), 1)

    def y(value: float) -> float:
        return round(floor - (floor - above) * value / top, 1)

    def x(index: int) -> float:
        return round(_LEFT + wide * index, 1)

    parts = [_line(y(top * part), show(top * part)) for part in (0, 0.5, 1)]
    parts += [
        f'<rect class="bar" fill="#1F3C8C" x="{x(index) + 2}" y="{y(value)}" width="{max(wide - 4, 1):.1f}"'
        f' height="{max(floor - y(value), 1):.1f}" rx="1.5">'
        f"<title>{escape(f'{labels[index]}: {show(value)}')}</title></rect>"
        for index, value in enumerate(values)
        if value
    ]
    parts += [
        f'<text class="muted" fill="#55606E" x="{x(index) + wide / 2:.1f}" y="{height - 6}" text-anchor="middle"'
        f' font-size="11">{escape(labels[index].partition(":")[0])}</text>'
        for index in range(0, len(labels), 3)
    ]
    known = [(index, each) for index, each in enumerate(usual) if each is not None]
    if known:
        steps = "".join(f"H{x(index)}V{y(each)}H{x(index + 1)}" for index, each in known)
        parts.append(
            f'<path class="usual" fill="none" stroke="#B56A00" stroke-width="2" stroke-dasharray="4 3"'
            f' d="M{x(known[0][0])} {y(known[0][1])}{steps}"/>'
        )
    return _svg(height, text, parts)


def bars(rows: Sequence[tuple[str, float, str]], text: str) -> str:
    """A lying bar for each (name, value, value as read), in their order."""
    top = max([1.0, *(value for _, value, _ in rows)])
    names, figures, each = 224, 130, 24
    room = WIDTH - names - figures
    parts = []
    for number, (name, value, shown) in enumerate(rows):
        y = number * each
        wide = max(room * max(value, 0) / top, 1)
        short = name if len(name) <= 27 else f"{name[:26]}…"
        parts.append(
            f'<text class="text" fill="#17202B" x="{names - 10}" y="{y + 16}" text-anchor="end" font-size="12.5">'
            f"{escape(short)}<title>{escape(name)}</title></text>"
            f'<rect class="bar" fill="#1F3C8C" x="{names}" y="{y + 5}" width="{wide:.1f}" height="14" rx="2"/>'
            f'<text class="text" fill="#17202B" x="{names + wide + 8:.1f}" y="{y + 16}" font-size="12.5">'
            f"{escape(shown)}</text>"
        )
    return _svg(each * len(rows) + 4, text, parts)


def spans(rows: Sequence[tuple[str, float, float, str]], marks: Sequence[str], text: str) -> str:
    """When something lasted within the day: (name, from, to as shares of it, what hovering says)."""
    each, names = 22, 224
    room = WIDTH - names - 8
    height = each * len(rows) + 22
    parts = []
    for number, mark in enumerate(marks):
        x = names + room * number / (len(marks) - 1)
        anchor = "middle" if 0 < number < len(marks) - 1 else ("start" if not number else "end")
        parts.append(
            f'<line class="grid" stroke="#D5DBE3" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 18}"/>'
            f'<text class="muted" fill="#55606E" x="{x:.1f}" y="{height - 4}" text-anchor="{anchor}" font-size="11">'
            f"{escape(mark)}</text>"
        )
    for number, (name, begins, ends, said) in enumerate(rows):
        y = number * each
        short = name if len(name) <= 27 else f"{name[:26]}…"
        parts.append(
            f'<text class="text" fill="#17202B" x="{names - 10}" y="{y + 15}" text-anchor="end" font-size="12.5">'
            f"{escape(short)}</text>"
            f'<rect class="late" fill="#CF1039" x="{names + room * begins:.1f}" y="{y + 5}"'
            f' width="{max(room * (ends - begins), 2):.1f}" height="12" rx="2"><title>{escape(said)}</title></rect>'
        )
    return _svg(height, text, parts)


def _line(y: float, shown: str) -> str:
    return (
        f'<line class="grid" stroke="#D5DBE3" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text class="muted" fill="#55606E" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" font-size="11">'
        f"{escape(shown)}</text>"
    )


def _svg(height: int, text: str, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(text)}" viewBox="0 0 {WIDTH} {height}" width="100%"'
        f' xmlns="http://www.w3.org/2000/svg" font-family="inherit"><title>{escape(text)}</title>{"".join(parts)}</svg>'
    )
