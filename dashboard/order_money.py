"""The money of one order: from what the buyer paid down to what the seller earned, line by line and by which rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from core.commissions import wording
from dashboard import components, formats, money_actions, money_charts, money_queries, money_words, people, theme
from dashboard.charts import CONFIG
from dashboard.money_charts import Fall

Row = Mapping[str, Any]

_PARTS = ("seller", "platform", "creator", "referrer", "channel", "authority", "unassigned")


def draw(viewer: people.Viewer, order: Row) -> None:
    """The part of the order's page about its money."""
    found = money_queries.split_of(viewer.shop.id, order["order_id"])
    if not found:
        components.empty("Nothing is booked of its money", "Test orders, and orders without a price, earn nothing.")
        return
    for currency in dict.fromkeys(row["currency"] for row in found):
        mine = [row for row in found if row["currency"] == currency]
        components.html(f'<div class="sy-money">{sentence(viewer, mine, currency)}</div>')
        _draw_waterfall(mine, currency)
        _draw_lines(viewer, mine, currency)
        with st.expander("By which rules", key=f"rules-{currency}"):
            _draw_rules(viewer, mine)
        if any(row["cause"] != "sale" for row in mine):
            _draw_causes(viewer, mine, currency)
    _draw_windows(viewer, order)
    if len(found) == money_queries.ACCRUALS_MAX:
        st.caption(f"The first {formats.count(len(found))} facts; the ledger has all of them.")


def totals(rows: Sequence[Row]) -> dict[str, int]:
    """Who has how much of some facts together, and what was sold (`gross`)."""
    sums = {part: sum(row[f"{part}_minor"] for row in rows) for part in _PARTS}
    return {**sums, "gross": sum(row["net_minor"] + row["tax_minor"] for row in rows)}


def sentence(viewer: people.Viewer, rows: Sequence[Row], currency: str) -> str:
    """What the buyer paid and who earned how much of it; as HTML."""
    sold = totals([row for row in rows if row["cause"] == "sale"])["gross"]
    sums = totals(rows)
    back = sold - sums["gross"]
    given = f", {escape(formats.money(back, currency))} was given back" if back > 0 else ""
    by_seller: dict[int, int] = {}
    names: dict[int, str] = {}
    for row in rows:
        if row["seller_id"] is not None:
            by_seller[row["seller_id"]] = by_seller.get(row["seller_id"], 0) + row["seller_minor"]
            names[row["seller_id"]] = row["seller"]
    earned = [
        f"{components.link('sellers', names[number], viewer.where(party=str(number)))}"
        f" earned {money_words.amount(minor, currency)}"
        for number, minor in by_seller.items()
    ]
    who = money_words.listed(earned) if earned else "The platform sold it itself"
    return f"<b>The buyer paid {escape(formats.money(sold, currency))}{given}.</b> {who}."


def falls(rows: Sequence[Row]) -> list[Fall]:
    """From what the buyer paid, past what was given back and everybody's share, to what sellers earned."""
    sold = [row for row in rows if row["cause"] == "sale"]
    steps = [Fall("Buyer paid", totals(sold)["gross"], is_total=True)]
    for cause in ("edit", "refund", "cancellation", "chargeback", "chargeback_won", "mapping", "return"):
        moved = totals([row for row in rows if row["cause"] == cause])["gross"]
        if moved:
            steps.append(Fall(wording.cause(cause), moved))
    sums = totals(rows)
    for part, name in (
        ("authority", "Taxes"),
        ("channel", "Channel fee"),
        ("platform", "Platform"),
        ("referrer", "Referrer"),
        ("creator", "Creator"),
        ("unassigned", "Not mapped yet"),
    ):
        if sums[part]:
            steps.append(Fall(name, -sums[part]))
    return [*steps, Fall("Sellers earned", sums["seller"], is_total=True)]


def _draw_waterfall(rows: Sequence[Row], currency: str) -> None:
    steps = falls(rows)
    st.plotly_chart(
        money_charts.waterfall(steps, currency, theme.tokens()),
        theme=None,
        key=f"split-{currency}",
        config=CONFIG,
        alt=money_charts.says_waterfall("From what the buyer paid to what sellers earned", steps, currency),
    )


def _draw_lines(viewer: people.Viewer, rows: Sequence[Row], currency: str) -> None:
    groups: dict[tuple[int | None, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["order_line_id"], row["base"]), []).append(row)
    shown = ("platform", "creator", "referrer", "channel", "authority", "seller")
    body = []
    for (_, base), mine in groups.items():
        if not any(any(totals([row]).values()) for row in mine):
            continue
        sums = totals(mine)
        terms = next((row for row in mine if row["terms_id"] is not None), mine[0])
        body.append(
            [
                f'<span class="sy-code">{escape(_line(mine[0]))}</span><br><span class="sy-meta">'
                f"{escape(money_words.BASES[base])} · {escape(_whose(terms))}</span>",
                money_words.amount(sums["gross"], currency),
                *(_share(sums[part], currency) for part in shown),
            ]
        )
    sums = totals(rows)
    foot = ["All", *(_share(sums[part], currency) for part in ("gross", *shown))]
    heads = [
        ("Line", False),
        ("Sold", True),
        ("Platform", True),
        ("Creator", True),
        ("Referrer", True),
        ("Channel", True),
        ("Taxes", True),
        ("Seller", True),
    ]
    components.table(heads, body, "What each line came to, and who has how much of it", foot, dense=True)


def _share(minor: int, currency: str) -> str:
    return money_words.amount(minor, currency) if minor else '<span class="sy-muted">–</span>'


def _line(row: Row) -> str:
    return row["sku_code"] or row["line_title"] or "The order as a whole"


def _whose(row: Row) -> str:
    if row["terms_id"] is None:
        return "not mapped yet" if row["unassigned_minor"] else "the platform’s"
    who = [row["seller"] or "the platform itself"]
    who += [f"promoted by {row['creator']}"] if row["creator"] else []
    who += [f"referred by {row['referrer']}"] if row["referrer"] else []
    return ", ".join(who)


def _draw_rules(viewer: people.Viewer, rows: Sequence[Row]) -> None:
    """The versions of rules that were frozen on each line, as sentences."""
    ids = sorted({number for row in rows for number in _rule_ids(row)})
    rules = money_queries.rule_sentences(viewer.shop.id, ids)
    seen: set[tuple[int | None, str]] = set()
    body = []
    for row in rows:
        place = (row["order_line_id"], row["base"])
        if row["terms_id"] is None or place in seen:
            continue
        seen.add(place)
        said = [_rule(number, rules[number]) for number in _rule_ids(row) if number in rules]
        body.append(
            (
                f'<span class="sy-code">{escape(_line(row))}</span> · {escape(money_words.BASES[row["base"]])}',
                "<br>".join(said) or '<span class="sy-muted">No rule takes anything of it</span>',
                f"{row['window_days']} days to return",
            )
        )
    if not body:
        st.caption("No rule is for it: nothing of it is mapped, or it is of the order as a whole.")
        return
    components.table([("Line", False), ("Rules, as they were", False), ("Window", False)], body, "Rules of each line")


def _rule_ids(row: Row) -> list[int]:
    chosen = row["item_rules"] if row["base"] == "item" else row["shipping_rules"]
    return [number for number in chosen or () if number]


def _rule(number: int, said: str) -> str:
    return f'{escape(said)} <span class="sy-meta">(version {number})</span>'


def _draw_causes(viewer: people.Viewer, rows: Sequence[Row], currency: str) -> None:
    """Each thing that happened to its money, the first first, with its transaction."""
    steps: dict[tuple[str, int | None], list[Row]] = {}
    for row in rows:
        steps.setdefault((row["cause"], row["transaction_id"]), []).append(row)
    body = [
        (
            components.when(mine[0]["event_at"], mine[0]["as_of"], viewer.shop.zone),
            escape(wording.cause(cause))
            if number is None
            else components.link("ledger", wording.cause(cause), viewer.where(transaction=str(number))),
            escape(money_words.signed(totals(mine)["gross"], currency)),
            escape(money_words.signed(totals(mine)["seller"], currency)),
        )
        for (cause, number), mine in steps.items()
    ]
    heads = [("When", False), ("What", False), ("Of what was paid", True), ("Of what sellers earned", True)]
    components.table(heads, body, "What happened to the money of this order")


def _draw_windows(viewer: people.Viewer, order: Row) -> None:
    """What of it is held still, and until when; with the way to hold it longer."""
    found = money_queries.windows_of(viewer.shop.id, order["order_id"])
    hold = money_queries.hold_of_order(viewer.shop.id, order["order_id"])
    if found:
        body = [
            (
                components.link("sellers", row["party"], viewer.where(party=str(row["party_id"]))),
                escape(money_words.window(row, order["as_of"], viewer.shop.zone)),
                money_words.amount(row["amount_minor"], row["currency"]),
            )
            for row in found
        ]
        components.table([("Whose", False), ("Held because", False), ("Held", True)], body, "What of it is held")
    if hold is not None:
        if st.button("Lift hold…", key="lift-order-hold", icon=":material/lock_open:"):
            about = f"{formats.plain(hold['placed_by'])} held it: {formats.sentence(hold['reason'])}"
            money_actions.ask_lift(viewer.shop.id, hold["hold_id"], order["name"], about)
    elif found and st.button("Hold what is earned…", key="hold-order", icon=":material/front_hand:"):
        money_actions.ask_hold_order(viewer.shop.id, order["order_id"], order["name"])
