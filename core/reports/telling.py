"""A report is told: to whoever is told of `daily_report`, once an edition, or again when a person sends it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.ledger import anchoring
from core.messaging.notices import Attachment, Notice, say
from core.reports import files, queries, words
from core.reports.queries import ReportRow

KIND = "daily_report"


def address(dashboard_url: str, report: ReportRow) -> str:
    """Where the edition is shown."""
    return f"{dashboard_url}/reports?day={report.day}&edition={report.edition}&shop={report.shop_id}"


def tell(conn: Connection, report: ReportRow, dashboard_url: str, now: datetime) -> bool:
    """Queue an edition for whoever is told of it, once; False when it was before, or does not matter enough."""
    if not report.is_material:
        return False
    return _say(conn, report, f"{KIND}:{report.day}:{report.edition}", dashboard_url, now)


def send(conn: Connection, report: ReportRow, dashboard_url: str, actor: Actor, now: datetime) -> None:
    """Send an edition again, or one that nobody was told of, because a person wants it; on record."""
    _say(conn, report, f"{KIND}:{report.day}:{report.edition}:{now.isoformat()}", dashboard_url, now)
    audit.record(conn, report.shop_id, actor, "send_report", f"report:{report.day}", now, edition=report.edition)


def _say(conn: Connection, report: ReportRow, key: str, dashboard_url: str, now: datetime) -> bool:
    shop = queries.shop(conn, report.shop_id).name
    made = {format_: files.make(report, shop, format_) for format_ in files.FORMATS}
    notice = Notice(
        key=key,
        kind=KIND,
        severity="info",
        subject=words.subject(report, shop),
        text=text_of(conn, report, dashboard_url),
        html=made["html"].content.decode(),
        attachments=tuple(
            Attachment(made[format_].name, made[format_].media_type, made[format_].content)
            for format_ in ("xlsx", "csv")
        ),
    )
    return say(conn, report.shop_id, notice, now)


def text_of(conn: Connection, report: ReportRow, dashboard_url: str) -> str:
    """An edition in plain text, with where the ledger's chain was last put on record.

    Mailed, the head stands where nobody who can write to the database can change it.
    """
    shop = queries.shop(conn, report.shop_id).name
    anchor = anchoring.latest(conn, report.shop_id)
    head = None if anchor is None else words.ledger_head(anchor.number, anchor.head)
    return words.told(report, shop, address(dashboard_url, report), head)
