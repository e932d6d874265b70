"""A statement as one page for A4: no scripts, nothing from elsewhere, black on white where it is printed."""

from __future__ import annotations

from datetime import date, datetime
from html import escape
from zoneinfo import ZoneInfo

from core.commissions import wording
from core.commissions.statements import Section, Statement
from core.ledger.queries import Standing
from core.money import shown

_STYLE = """
@page{size:A4;margin:16mm 14mm 18mm}
:root{color-scheme:light dark}
body{margin:0;background:#F3F5F8;color:#17202B;font:14px/1.45 "Source Sans 3","Source Sans Pro",system-ui,sans-serif}
main{max-width:860px;margin:24px auto;padding:32px 36px;background:#FFFFFF;border:1px solid #D5DBE3;border-radius:8px}
header{display:flex;justify-content:space-between;gap:24px;border-bottom:2px solid #17202B;padding-bottom:12px}
h1{font-size:22px;margin:0;font-weight:600}
h2{font-size:16px;margin:26px 0 8px;font-weight:600}
p{margin:0 0 4px}
.muted,th{color:#55606E}
.right{text-align:right}
table{border-collapse:collapse;width:100%;font-size:13px}
th{font-weight:400;text-align:left;border-bottom:1px solid #8A95A3;padding:5px 8px 5px 0;vertical-align:bottom}
td{border-bottom:1px solid #E1E6EC;padding:5px 8px 5px 0;vertical-align:top}
.num{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
th:last-child,td:last-child{padding-right:0}
.total td{font-weight:600;border-top:1px solid #8A95A3;border-bottom:1px solid #8A95A3}
.sums{width:auto;min-width:60%}
.time{white-space:nowrap}
footer{margin-top:30px;border-top:1px solid #D5DBE3;padding-top:12px;font-size:12.5px}
.signed{display:flex;gap:40px;margin-top:44px}
.signed div{flex:1;border-top:1px solid #17202B;padding-top:4px}
code{font:12px ui-monospace,monospace;overflow-wrap:anywhere}
@media (max-width:640px){main{margin:0;padding:18px 14px;border:0;border-radius:0;overflow-x:auto}
header{flex-direction:column;gap:6px}.right{text-align:left}}
@media (prefers-color-scheme:dark){@media screen{
body{background:#10151C;color:#E7ECF2}main{background:#1A222D;border-color:#303B49}
header,.signed div{border-color:#E7ECF2}.muted,th{color:#A3AEBB}td,footer{border-color:#303B49}
}}
@media print{
body{background:#FFFFFF;color:#000000;font-size:9.5pt}
main{max-width:none;margin:0;padding:0;border:0}
table{font-size:8.5pt}thead{display:table-header-group}tr,.signed{break-inside:avoid}h2{break-after:avoid}
.muted,th{color:#333333}
}
"""


def day(value: date) -> str:
    """1 Dec 2026."""
    return f"{value.day} {value:%b %Y}"


def stamp(instant: datetime, zone: str) -> str:
    """4 Dec 2026 14:13."""
    there = instant.astimezone(ZoneInfo(zone))
    return f"{there.day} {there:%b %Y %H:%M}"


def place(zone: str) -> str:
    """London, from Europe/London."""
    return zone.rpartition("/")[2].replace("_", " ")


def about(statement: Statement) -> str:
    """What it is of, in a line."""
    zone = statement.time_zone
    over = "" if statement.is_over else ", a period that is not over"
    return (
        f"Statement of {day(statement.first)} to {day(statement.last)}{over}, {statement.shop};"
        f" made {stamp(statement.made_at, zone)}, times of {place(zone)}"
    )


def html(statement: Statement) -> str:
    """The whole page."""
    body = "".join(_section(statement, section) for section in statement.sections) or (
        "<h2>Nothing is earned yet</h2><p>Earnings appear with the first order.</p>"
    )
    title = escape(f"{statement.party}, {day(statement.first)} to {day(statement.last)}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>Statement: {title}</title>'
        f"<style>{_STYLE}</style></head><body><main>{_head(statement)}{body}{_foot(statement)}</main></body></html>"
    )


def _head(statement: Statement) -> str:
    zone = statement.time_zone
    over = "" if statement.is_over else '<p class="muted">The period is not over: more may come.</p>'
    return (
        f"<header><div><h1>{escape(statement.party)}</h1>"
        f'<p class="muted">{escape(statement.party_code)} · {escape(statement.party_kind.replace("_", " "))}</p></div>'
        f'<div class="right"><p><b>Statement</b> {day(statement.first)} to {day(statement.last)}</p>'
        f"<p>{escape(statement.shop)}</p>"
        f'<p class="muted">Made {stamp(statement.made_at, zone)} · times of {escape(place(zone))}</p>{over}'
        "</div></header>"
    )


def _section(statement: Statement, section: Section) -> str:
    return (
        f"<h2>{escape(section.currency)}</h2>{_sums(section)}"
        f"<h2>Every line, {escape(section.currency)}</h2>{_lines(statement, section)}"
    )


def _pair(section: Section, standing: Standing) -> str:
    return "".join(
        f'<td class="num">{shown(minor, section.currency)}</td>'
        for minor in (standing.payable_minor, standing.held_minor)
    )


def _moved(section: Section, standing: Standing) -> str:
    """What was not moved is not a figure."""
    return "".join(
        f'<td class="num">{shown(minor, section.currency) if minor else "–"}</td>'
        for minor in (standing.payable_minor, standing.held_minor)
    )


def _sums(section: Section) -> str:
    rows = "".join(
        f"<tr><td>{escape(wording.cause(one.kind))}</td>"
        f'<td class="num">{one.transactions:,}</td>{_moved(section, Standing(one.payable_minor, one.held_minor))}</tr>'
        for one in section.causes
    )
    return (
        '<table class="sums"><thead><tr><th scope="col">Summary</th><th scope="col" class="num">Number</th>'
        '<th scope="col" class="num">Payable</th><th scope="col" class="num">Held for returns</th></tr></thead><tbody>'
        f'<tr class="total"><td>Opening balance</td><td></td>{_pair(section, section.opening)}</tr>{rows}'
        f'<tr class="total"><td>Closing balance</td><td></td>{_pair(section, section.closing)}</tr></tbody></table>'
    )


def _lines(statement: Statement, section: Section) -> str:
    balance, rows = section.opening, []
    for line in section.lines:
        moved = Standing(line.payable_minor, line.held_minor)
        balance = Standing(balance.payable_minor + moved.payable_minor, balance.held_minor + moved.held_minor)
        rows.append(
            f'<tr><td class="time">{stamp(line.recorded_at, statement.time_zone)}</td>'
            f"<td>{escape(wording.cause(line.kind))}</td><td>{escape(line.note)}</td>"
            f"{_moved(section, moved)}"
            f'<td class="num">{shown(balance.payable_minor, section.currency)}</td></tr>'
        )
    body = "".join(rows) or '<tr><td colspan="6">Nothing changed in this period.</td></tr>'
    heads = ("Recorded", "What", "Note", "Payable", "Held", "Payable after")
    top = "".join(f'<th scope="col"{" class=num" if at > 2 else ""}>{name}</th>' for at, name in enumerate(heads))
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _foot(statement: Statement) -> str:
    seal = statement.seal
    sealed = (
        "<p>The ledger was not sealed yet when this was made.</p>"
        if seal is None
        else f"<p>The ledger’s newest seal when this was made is number {seal.number} of"
        f" {stamp(seal.sealed_at, statement.time_zone)}. Its head: <code>{seal.head.hex()}</code></p>"
    )
    return (
        "<footer><p>Payable: what can be paid out; below zero it is carried forward. Held: earned, while buyers may"
        f" still return. Each line stands in the ledger as one balanced transaction.</p>{sealed}"
        '<div class="signed"><div>Date</div><div>Signed</div></div></footer>'
    )
