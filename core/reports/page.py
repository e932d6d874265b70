"""A report as one HTML page: in a mail, in a browser, on paper. No scripts, nothing from elsewhere, light and dark.

Mail programs take off what they do not know (pictures, variables, grids): each figure also stands in a table, and
colours are plain rules with one block for the dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from core.reports import pictures, words
from core.reports.queries import ReportRow
from core.reports.rules import Content, average_minor, counted, sums
from core.reports.words import LABELS, MEANINGS, count, money

ROWS = 12
"""Of long lists: the files have all of them."""

_STYLE = """
:root{color-scheme:light dark}
body{margin:0;background:#F3F5F8;color:#17202B;font:15px/1.45 "Source Sans 3","Source Sans Pro",system-ui,sans-serif}
main{max-width:720px;margin:0 auto;padding:20px 16px 32px}
h1{font-size:21px;margin:0 0 2px;font-weight:600}
h2{font-size:16px;margin:26px 0 8px;font-weight:600}
p{margin:0 0 8px}
.muted,.meta{color:#55606E}
.meta{font-size:13.5px}
.card{background:#FFFFFF;border:1px solid #D5DBE3;border-radius:8px;padding:14px 16px;margin:0 0 12px}
.notice{border-left:4px solid #B56A00}
.tiles{font-size:0;margin:0 -5px}
.tile{display:inline-block;box-sizing:border-box;vertical-align:top;width:25%;padding:5px;font-size:15px}
.tile>div{background:#FFFFFF;border:1px solid #D5DBE3;border-radius:8px;padding:10px 13px;min-height:84px}
.tile b{display:block;font-size:23px;font-weight:600;line-height:1.25}
.tile span{font-size:13px;color:#55606E}
table{border-collapse:collapse;width:100%;font-size:14px}
th{font-weight:400;color:#55606E;text-align:left;border-bottom:1px solid #D5DBE3;padding:6px 10px 6px 0}
td{border-bottom:1px solid #E8ECF2;padding:6px 10px 6px 0;vertical-align:top}
tr:last-child td{border-bottom:0}
.num{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
th:last-child,td:last-child{padding-right:0}
.scroll{overflow-x:auto}
svg{display:block;max-width:100%}
dl{margin:0;font-size:13.5px}
dt{font-weight:600;margin-top:8px}
dd{margin:0;color:#55606E}
.bar{fill:#1F3C8C}.usual{stroke:#B56A00}.late{fill:#CF1039}.grid{stroke:#D5DBE3}.text{fill:#17202B}
svg .muted{fill:#55606E}
.key i{display:inline-block;width:11px;height:11px;border-radius:3px;background:#1F3C8C;margin:0 6px 0 0}
.key i.line{height:0;border-top:2px dashed #B56A00;background:none;width:18px;border-radius:0;vertical-align:middle}
.key span{margin-right:18px}
@media (max-width:560px){.tile{width:50%}.card{overflow-x:auto}svg{min-width:520px}}
@media (prefers-color-scheme:dark){
body{background:#10151C;color:#E7ECF2}
.card,.tile>div{background:#1A222D;border-color:#303B49}
.notice{border-left-color:#FFC46B}
.muted,.meta,.tile span,th,dd{color:#A3AEBB}
th{border-color:#303B49}td{border-color:#262F3B}
.bar{fill:#4C7DF0}.usual{stroke:#FFC46B}.late{fill:#FF6B7A}.grid{stroke:#303B49}.text{fill:#E7ECF2}
svg .muted{fill:#A3AEBB}
.key i{background:#4C7DF0}.key i.line{border-color:#FFC46B}
}
@media print{
body{background:#FFFFFF;color:#000000;font-size:11pt}
main{max-width:none;padding:0}
.card,.tile>div{background:#FFFFFF;border-color:#B9C1CB;break-inside:avoid}
.bar{fill:#1F3C8C;-webkit-print-color-adjust:exact;print-color-adjust:exact}.text{fill:#000000}
h2{break-after:avoid}tr,svg{break-inside:avoid}
}
"""


def html(report: ReportRow, shop: str) -> str:
    """The whole page."""
    content = report.content
    of = sums(content["markets"])
    main = next(iter(of), "")
    parts = [
        _head(report, shop),
        _notice(report),
        _tiles(content),
        _hours(content, main),
        _markets(content),
        _skus(content, main),
        _stock(report),
        _machine(content),
        _alerts(report),
        _meanings(),
    ]
    title = escape(words.subject(report, shop))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>"
    )


def _head(report: ReportRow, shop: str) -> str:
    zone = report.time_zone
    built = f"Built {words.stamp(report.built_at, zone)} · {zone.rpartition('/')[2].replace('_', ' ')}"
    return (
        f"<h1>{escape(words.long_day(report.day))}</h1>"
        f'<p class="meta">{escape(shop)} · {escape(built)}</p><p>{escape(words.summary(report))}</p>'
    )


def _notice(report: ReportRow) -> str:
    said = words.edition_said(report)
    if not said:
        return ""
    if report.edition == 1:
        return f'<div class="card notice">{escape(said)}</div>'
    causes = [words.cause(each) for each in report.causes] or ["No fact names the reason."]
    shown = [words.changed(each) for each in report.changes if each["section"] == "market"][:ROWS]
    more = len(report.changes) - len(shown)
    rest = f'<p class="meta">And {count(more)} more figures; the files have all of them.</p>' if more > 0 else ""
    return (
        f'<div class="card notice"><p><b>{escape(said)}</b> {escape(" ".join(causes))}</p>'
        f"<table><tbody>{''.join(f'<tr><td>{escape(each)}</td></tr>' for each in shown)}</tbody></table>{rest}</div>"
    )


def _tiles(content: Content) -> str:
    totals, of = counted(content["markets"]), sums(content["markets"])
    tiles = [("Orders", count(totals["orders"]), f"{count(totals['units'])} units")]
    for currency, mine in of.items():
        average = money(mine["average_minor"], currency)
        tiles.append((f"Revenue, {currency}", money(mine["revenue_minor"], currency), f"average order {average}"))
    back = " · ".join(money(mine["refunded_minor"], currency) for currency, mine in of.items()) or "no money"
    tiles += [
        ("Refunds", count(totals["refunds"]), f"{back}, {count(totals['refunded_units'])} units"),
        ("Cancellations", count(totals["cancellations"]), f"{count(totals['cancelled_units'])} units"),
        (
            "SKUs sold out",
            count(content["stock_outs"]["skus"]),
            words.minutes(content["stock_outs"]["minutes"]) + " together",
        ),
        ("Oversells", count(content["oversells"]["count"]), f"{count(content['oversells']['units'])} units too many"),
        ("Alerts", count(content["alerts"]["opened"]), f"{count(content['alerts']['closed'])} closed"),
    ]
    shown = "".join(
        f'<div class="tile"><div><span>{escape(name)}</span><b>{escape(value)}</b>'
        f"<span>{escape(more)}</span></div></div>"
        for name, value, more in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def _hours(content: Content, currency: str) -> str:
    hours = content["by_hour"]
    labels = [row["label"] for row in hours]
    usual = [row["usual_orders"] for row in hours]
    orders = [row["orders"] for row in hours]
    best = max(hours, key=lambda row: row["orders"], default=None)
    text = "No orders on this day."
    if best and best["orders"]:
        text = (
            f"Orders by hour: most at {best['label']}, {count(best['orders'])}; {count(sum(orders))} on the whole day."
        )
    parts = [
        "<h2>By hour</h2>",
        _key(usual, "Orders"),
        '<div class="card">',
        pictures.hours(labels, orders, usual, text, count),
        "</div>",
    ]
    if currency:
        revenue = [row["revenue"].get(currency, 0) for row in hours]
        known = [row["usual_revenue"] for row in hours]
        before = [None if each is None else each.get(currency, 0) for each in known]
        whole = money(sum(revenue), currency)
        parts += [
            _key(before, f"Revenue, {currency}"),
            '<div class="card">',
            pictures.hours(
                labels,
                revenue,
                before,
                f"Revenue by hour in {currency}: {whole} on the whole day.",
                lambda minor: _short(minor, currency),
            ),
            "</div>",
        ]
    return "".join(parts)


def _short(minor: float, currency: str) -> str:
    """Money on an axis: no pennies."""
    return money(round(minor), currency).partition(".")[0]


def _key(usual: Sequence[float | None], name: str) -> str:
    line = '<span><i class="line"></i>usual on this weekday</span>' if any(each is not None for each in usual) else ""
    return f'<p class="meta key"><span><i></i>{escape(name)}</span>{line}</p>'


def _markets(content: Content) -> str:
    heads = ("Marketplace", "Orders", "Units", "Revenue", "Average", "Given back", "Cancelled")
    rows = []
    for row in content["markets"]:
        currency = row["currency"]
        rows.append(
            (
                f"{row['connection'] or words.NO_ORDER} · {row['country'] or 'country ' + words.NOT_TOLD}",
                count(row["orders"]),
                count(row["units"]),
                money(row["revenue_minor"], currency),
                money(average_minor(row["revenue_minor"], row["orders"]), currency),
                money(row["refunded_minor"], currency) if row["refunds"] else "",
                count(row["cancellations"]) if row["cancellations"] else "",
            )
        )
    of = sums(content["markets"])
    told = [
        f"{currency}: taxes {money(mine['tax_minor'], currency)}, shipping {money(mine['shipping_minor'], currency)},"
        f" discounts {money(mine['discount_minor'], currency)}."
        for currency, mine in of.items()
    ]
    apart = f'<p class="meta">Shown apart, {escape(" ".join(told))}</p>' if told else ""
    return _section("By marketplace", heads, rows, "Nothing was sold or given back.") + apart


def _skus(content: Content, currency: str) -> str:
    best = [row for row in content["skus"] if row["currency"] == currency]
    if not best:
        return "<h2>Top SKUs</h2><p class='muted'>Nothing was sold.</p>"
    rows = [
        (
            f"{row['code']} {row['title']}",
            row["revenue_minor"],
            f"{money(row['revenue_minor'], currency)} · {count(row['units'])}",
        )
        for row in best
    ]
    first = best[0]
    text = f"The best by revenue: {first['code']} with {money(first['revenue_minor'], currency)}."
    table = _table(
        ("SKU", "Title", "Orders", "Units", "Revenue"),
        [
            (
                row["code"],
                row["title"],
                count(row["orders"]),
                count(row["units"]),
                money(row["revenue_minor"], row["currency"]),
            )
            for row in content["skus"]
        ],
        texts=2,
    )
    return (
        f'<h2>Top SKUs</h2><p class="meta">By revenue, of {count(content["skus_sold"])} that sold; revenue · units</p>'
        f'<div class="card">{pictures.bars(rows, text)}</div><div class="card scroll">{table}</div>'
    )


def _stock(report: ReportRow) -> str:
    outs = report.content["stock_outs"]
    parts = ["<h2>Stock-outs</h2>"]
    if not outs["rows"]:
        parts.append('<p class="muted">Nothing sold out.</p>')
    else:
        shown = outs["rows"][:ROWS]
        lines = [_span(report, row) for row in shown]
        text = f"{count(outs['skus'])} SKUs sold out, {words.minutes(outs['minutes'])} together."
        parts.append(f'<div class="card">{pictures.spans(lines, _marks(report), text)}</div>')
        rows = [
            (
                row["code"],
                row["title"],
                words.clock(row["reached_at"], report.time_zone) if row["reached_at"] else "before the day",
                words.minutes(row["minutes"]),
                "still out" if row["is_still"] else "available again",
            )
            for row in shown
        ]
        heads = ("SKU", "Title", "Since", "Minutes out", "At the day's end")
        parts += ['<div class="card scroll">', _table(heads, rows, texts=2), "</div>", _more(outs["skus"], len(shown))]
    return "".join(parts) + _oversells(report)


def _oversells(report: ReportRow) -> str:
    over = report.content["oversells"]
    rows = [
        (row["code"], row["title"], words.clock(row["began_at"], report.time_zone), count(row["units"]))
        for row in over["rows"][:ROWS]
    ]
    if not rows:
        return '<h2>Oversells</h2><p class="muted">Nothing was sold that was not there.</p>'
    table = _table(("SKU", "Title", "Since", "Units too many"), rows, texts=2)
    return f'<h2>Oversells</h2><div class="card scroll">{table}</div>{_more(over["count"], len(rows))}'


def _span(report: ReportRow, row: dict[str, object]) -> tuple[str, float, float, str]:
    whole = (report.ends_at - report.begins_at).total_seconds() or 1
    minutes = float(str(row["minutes"])) * 60 / whole
    if row["reached_at"]:
        begins = (datetime.fromisoformat(str(row["reached_at"])) - report.begins_at).total_seconds() / whole
    else:
        begins = 0.0
    ends = 1.0 if row["is_still"] else min(1.0, begins + minutes)
    return str(row["code"]), begins, max(ends, begins), f"{row['code']}: {words.minutes(int(str(row['minutes'])))}"


def _marks(report: ReportRow) -> list[str]:
    quarter = (report.ends_at - report.begins_at) / 4
    return [words.clock(report.begins_at + quarter * number, report.time_zone) for number in range(4)] + ["24:00"]


def _machine(content: Content) -> str:
    heads = ("Channel", "Syncs that ended well", "To confirm a quantity", "To book an order", "Refused")
    rows = [
        (
            row["connection"],
            words.ended_well(row),
            _half(row["writes_p50_ms"], row["writes_p95_ms"]),
            _half(row["orders_p50_ms"], row["orders_p95_ms"]),
            count(row["writes_refused"]),
        )
        for row in content["sync"]
    ]
    found = content["discrepancies"]
    said = "Discrepancies were not measured: nothing was compared with the channels on this day."
    if found is not None:
        said = (
            f"Compared {count(found['comparisons'])} times: {count(found['found'])} discrepancies found,"
            f" {count(found['healed'])} healed, {count(found['still_open'])} open at the day's end."
        )
    note = '<p class="meta">Half within · 95 of 100 within.</p>'
    return _section("Sync", heads, rows, "No channel is connected.") + note + f"<p>{escape(said)}</p>"


def _half(p50: int | None, p95: int | None) -> str:
    return words.NOT_MEASURED if p50 is None else f"{words.span(p50)} · {words.span(p95)}"


def _alerts(report: ReportRow) -> str:
    found = report.content["alerts"]
    rows = [
        (
            row["headline"] or row["kind"].replace("_", " "),
            words.clock(row["opened_at"], report.time_zone) if row["is_opened"] else "before the day",
            words.clock(row["closed_at"], report.time_zone) if row["is_closed"] else "open at its end",
            words.minutes(row["minutes"]),
        )
        for row in found["rows"][:ROWS]
    ]
    return _section("Alerts", ("Alert", "Opened", "Closed", "Open for"), rows, "No alert was open on this day.")


def _meanings() -> str:
    names = (
        *("country", "orders", "units", "revenue_minor", "tax_minor", "refunds", "cancellations", "stock_outs"),
        "oversells",
        *("sync", "discrepancies", "alerts", "usual"),
    )
    shown = "".join(f"<dt>{escape(LABELS[name])}</dt><dd>{escape(MEANINGS[name])}</dd>" for name in names)
    return f"<h2>What the figures mean</h2><dl>{shown}</dl>"


def _section(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> str:
    if not rows:
        return f'<h2>{escape(title)}</h2><p class="muted">{escape(none)}</p>'
    return f'<h2>{escape(title)}</h2><div class="card scroll">{_table(heads, rows)}</div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """`texts`: how many of the first columns are words; the others stand right."""

    def kind(place: int) -> str:
        return "" if place < texts else ' class="num"'

    top = "".join(f'<th scope="col"{kind(place)}>{escape(name)}</th>' for place, name in enumerate(heads))
    body = "".join(
        f"<tr>{''.join(f'<td{kind(place)}>{escape(cell)}</td>' for place, cell in enumerate(row))}</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _more(all_: int, shown: int) -> str:
    return f'<p class="meta">And {count(all_ - shown)} more; the files have them.</p>' if all_ > shown else ""
