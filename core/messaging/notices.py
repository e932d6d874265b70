"""Words for operators: queued in the unit of work that gives rise to them, for each channel that wants them.

Who is told of what is the shop's own business (`notice_channels`); a shop that has set up none is told at the
installation's address, where there is one. What comes of it is decided later, by `gathering` and the relay: nobody who
has something to say waits for a lock here.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.db import scalar
from core.errors import BadInput
from core.letters import SEVERITIES, Attachment, Severity
from core.messaging import outbox

ATTACHMENTS_MAX_BYTES = 8_000_000
"""Of all files of a notice together: mail servers commonly take 10 MB, and base64 adds a third."""

BESIDES_ALERTS = ("daily_report", "reconciliation_held", "renewed", "subscriptions")
"""Kinds of what is said that no alert says, by which a channel may wish for it too."""

__all__ = ["ATTACHMENTS_MAX_BYTES", "BESIDES_ALERTS", "Attachment", "Notice", "Severity", "TooLarge", "say"]


class TooLarge(BadInput):
    """The files of a notice are more than mail carries."""

    def __init__(self, subject: str, size: int) -> None:
        super().__init__(
            f"the files of {subject!r} are {size:,} bytes together, and mail carries {ATTACHMENTS_MAX_BYTES:,}:"
            " send a link, or fewer files"
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be said. `key` is its own for each thing that is said once; `html` is for mail, beside the text.

    `kind` is what it is about (an alert's kind, "daily_report", ...): who is told what goes by kind and severity. The
    key of an alert's begins with "alert:" and its id, by which the alert's page finds it. `attachments` go with mail,
    and such a notice is never gathered into another; elsewhere it says that there are files.
    """

    key: str
    kind: str
    severity: Severity
    subject: str
    text: str
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()


def say(conn: Connection, shop_id: int, notice: Notice, now: datetime) -> bool:
    """Queue it for whoever wants it, in the caller's unit of work; False when it was queued before.

    A shop with channels none of which wants it is told nothing, and that is on record. Raises TooLarge.
    """
    size = sum(len(file.content) for file in notice.attachments)
    if size > ATTACHMENTS_MAX_BYTES:
        raise TooLarge(notice.subject, size)
    said = scalar(
        conn,
        _SAY,
        shop=shop_id,
        notice=outbox.NOTICE,
        key=notice.key,
        about=notice.kind,
        severities=list(SEVERITIES),
        severity=notice.severity,
        plain=Jsonb(_plain(notice)),
        whole=Jsonb(_whole(notice)),
        now=now,
    )
    return bool(said)


# The installation's own address (and nobody) has the bare key, a channel its number behind it. Whoever was told once is
# not told again, and neither is a channel that was set up since.
_SAY = """
with channels as (
    select c.id, c.medium, notice_due(c.rhythm, c.daily_hour, s.time_zone, %(now)s) as due_at,
        (c.kinds is null or %(about)s = any(c.kinds)) and
            array_position(%(severities)s::text[], %(severity)s::text)
                >= array_position(%(severities)s::text[], c.least_severity) as is_wanted
    from notice_channels c join shops s on s.shop_id = c.shop_id
    where c.shop_id = %(shop)s and c.removed_at is null
), addressed as (
    select c.id as channel_id, 'held' as state, %(key)s::text || '#' || c.id as key,
        case c.medium when 'mail' then %(whole)s::jsonb else %(plain)s::jsonb end as payload,
        case when %(plain)s::jsonb ? 'attachments' then %(now)s::timestamptz else c.due_at end as due_at,
        null::timestamptz as settled_at, null::text as problem
    from channels c where c.is_wanted
    union all
    select null, case when channel.is_there then 'unheard' else 'waiting' end, %(key)s, %(plain)s::jsonb, %(now)s,
        case when channel.is_there then %(now)s::timestamptz end,
        case when channel.is_there then 'no channel of the shop wants it' end
    from (select exists (select from channels) as is_there) channel
    where not exists (select from channels where is_wanted)
), said as (
    insert into outbox_messages (shop_id, kind, dedupe_key, payload, state, channel_id, next_attempt_at, created_at,
        settled_at, last_error)
    select %(shop)s, %(notice)s, a.key, a.payload, a.state, a.channel_id, a.due_at, %(now)s, a.settled_at, a.problem
    from addressed a
    where not exists (select from outbox_messages o where o.shop_id = %(shop)s and o.kind = %(notice)s
        and o.dedupe_key = any (%(key)s::text || (select array_agg(%(key)s::text || '#' || c.id) from notice_channels c
            where c.shop_id = %(shop)s)))
    order by a.key
    on conflict (shop_id, kind, dedupe_key) do nothing returning id
)
select count(*) > 0 from said
"""


def _plain(notice: Notice) -> dict[str, Any]:
    files = [{"name": file.name, "media_type": file.media_type} for file in notice.attachments]
    return {
        "about": notice.kind,
        "severity": notice.severity,
        "subject": notice.subject,
        "text": notice.text,
        **({"attachments": files} if files else {}),
    }


def _whole(notice: Notice) -> dict[str, Any]:
    files = [
        {"name": file.name, "media_type": file.media_type, "content": b64encode(file.content).decode("ascii")}
        for file in notice.attachments
    ]
    return {
        **_plain(notice),
        **({"html": notice.html} if notice.html is not None else {}),
        **({"attachments": files} if files else {}),
    }
