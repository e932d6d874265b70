"""Tables: alert_rules, alerts, alert_events, unmade_checks, backlog_samples, heard_hours."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata

alert_rules = Table(
    "alert_rules",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column(
        "limit_units", Integer, comment="of exposure: told when more units than that are at risk; null: switched off"
    ),
    Column("set_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False),
    Column("is_on", Boolean, nullable=False, comment="whether the condition is looked for at all"),
    Column(
        "terms",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="thresholds that differ from the defaults, by name",
    ),
    PrimaryKeyConstraint("shop_id", "kind"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint("kind ~ '^[a-z_]+$'", name="kind"),
    CheckConstraint(
        "case when kind = 'exposure' then is_on = (limit_units is not null) else limit_units is null end",
        name="limit_is_of_exposure",
    ),
    CheckConstraint("jsonb_typeof(terms) = 'object'", name="terms"),
    CheckConstraint("limit_units >= 0", name="limit_units"),
    CheckConstraint("btrim(set_by) <> '' and btrim(reason) <> ''", name="named_and_reasoned"),
    comment="what a person changed of when somebody is told; no row: the defaults, and of exposure never",
)

alerts = Table(
    "alerts",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False, comment="what is wrong; has a rule, and thresholds in core.alerts.terms"),
    Column(
        "fingerprint", Text, nullable=False, comment="what it is about: its kind, and what of it; open once at most"
    ),
    Column("limit_units", Integer, nullable=False, comment="of exposure: above which it opened; else 0"),
    Column("opened_units", BigInteger, nullable=False),
    Column(
        "units",
        BigInteger,
        nullable=False,
        comment="affected when it was last looked at; of exposure at risk, of hanging changes legs",
    ),
    Column("worst_units", BigInteger, nullable=False),
    Column("skus", BigInteger, nullable=False),
    Column("worst_skus", JSONB, nullable=False, comment="the worst few when it was last looked at"),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("checked_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("closed_because", Text),
    Column(
        "is_told",
        Boolean,
        nullable=False,
        comment="whether a notice went out; not when it had closed only minutes before",
    ),
    Column("severity", Text, nullable=False),
    Column("connection_id", BigInteger, comment="whose trouble it is; null: the shop's"),
    Column("headline", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("next_step", Text, nullable=False),
    Column(
        "page", Text, nullable=False, comment="where to look: the url_path of a page, with `address` as its parameters"
    ),
    Column("address", JSONB, nullable=False, server_default=text("'{}'")),
    Column("orders", BigInteger, nullable=False, server_default="0", comment="affected when it was last looked at"),
    Column(
        "size",
        BigInteger,
        nullable=False,
        comment='how bad it is, in the kind\'s own measure: what "much worse" is judged by',
    ),
    Column("told_size", BigInteger, nullable=False, comment="the greatest size that was ever told of"),
    Column(
        "regressed_from",
        BigInteger,
        comment="the episode before, when this one opened within the policy's time of its end",
    ),
    Column("relapses", Integer, nullable=False, server_default="0", comment="how many times in a row it has come back"),
    Column(
        "clear_since",
        DateTime(timezone=True),
        comment="since when its condition is gone; it closes when that has lasted",
    ),
    Column(
        "unknown_since",
        DateTime(timezone=True),
        comment="since when its condition cannot be computed: until it can be it stays as it is",
    ),
    Column("unknown_because", Text),
    Column("acknowledged_at", DateTime(timezone=True)),
    Column("acknowledged_by", Text),
    Column("acknowledged_reason", Text),
    Column(
        "state",
        Text,
        Computed(
            "case when closed_at is not null then 'resolved' when acknowledged_at is not null then 'acknowledged'"
            " else 'open' end",
            persisted=True,
        ),
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("kind ~ '^[a-z_]+$'", name="kind"),
    CheckConstraint("fingerprint = kind or fingerprint like kind || ':%'", name="fingerprint"),
    CheckConstraint("severity in ('danger', 'attention')", name="severity"),
    CheckConstraint("btrim(headline) <> '' and btrim(sentence) <> '' and btrim(next_step) <> ''", name="told"),
    CheckConstraint("(relapses > 0) = (regressed_from is not null) and regressed_from < id", name="relapses"),
    CheckConstraint("(unknown_since is null) = (unknown_because is null)", name="unknown"),
    CheckConstraint(
        "(acknowledged_at is null) = (acknowledged_by is null)"
        " and (acknowledged_at is null) = (acknowledged_reason is null)"
        " and coalesce(btrim(acknowledged_by) <> '' and btrim(acknowledged_reason) <> '', true)",
        name="acknowledged",
    ),
    CheckConstraint("closed_at is null or unknown_since is null", name="closed_is_known"),
    CheckConstraint("(closed_at is null) = (closed_because is null)", name="closed"),
    CheckConstraint("closed_because in ('below', 'off', 'replaced', 'paused')", name="closed_because"),
    Index("uq_alerts_open", "shop_id", "fingerprint", unique=True, postgresql_where=text("closed_at is null")),
    Index(None, "shop_id", "id"),
    Index("ix_alerts_fingerprint", "shop_id", "fingerprint", "opened_at"),
)

alert_events = Table(
    "alert_events",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("alert_id", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("what", Text, nullable=False),
    Column("who", Text, nullable=False, comment="a person; of what the engine does, switchyard"),
    Column("words", Text, nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "alert_id"], ["alerts.shop_id", "alerts.id"], ondelete="CASCADE"),
    CheckConstraint(
        "what in ('opened', 'regressed', 'worse', 'acknowledged', 'resolved', 'told', 'muted')", name="what"
    ),
    CheckConstraint("btrim(who) <> ''", name="who"),
    Index("ix_alert_events_alert", "shop_id", "alert_id", "id"),
    Index(
        "uq_alert_events_begun",
        "shop_id",
        "alert_id",
        unique=True,
        postgresql_where=text("what in ('opened', 'regressed')"),
    ),
    Index("uq_alert_events_taken", "shop_id", "alert_id", unique=True, postgresql_where=text("what = 'acknowledged'")),
    Index("uq_alert_events_ended", "shop_id", "alert_id", unique=True, postgresql_where=text("what = 'resolved'")),
    comment="the history of alerts: added, never edited; goes with its alert when that is forgotten",
)

unmade_checks = Table(
    "unmade_checks",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("because", Text, nullable=False),
    PrimaryKeyConstraint("shop_id", "kind"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint("kind ~ '^[a-z_]+$'", name="kind"),
    comment="conditions of alerts that could not be computed when they were last looked for; no row: they could",
)

backlog_samples = Table(
    "backlog_samples",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("lane", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("waiting", BigInteger, nullable=False),
    Column("oldest_at", DateTime(timezone=True)),
    Column(
        "done",
        BigInteger,
        nullable=False,
        comment="how much had been done in the lane by then, counted from any beginning",
    ),
    PrimaryKeyConstraint("shop_id", "connection_id", "lane", "at"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("lane in ('events', 'stock')", name="lane"),
    CheckConstraint("waiting >= 0 and done >= 0", name="counts"),
    comment="what waited in each lane over the last hours: messages to handle, quantities to write",
)

heard_hours = Table(
    "heard_hours",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("hour_at", DateTime(timezone=True), nullable=False),
    Column("messages", BigInteger, nullable=False),
    PrimaryKeyConstraint("shop_id", "connection_id", "hour_at"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("messages >= 0", name="messages"),
    comment="messages that were recorded of a channel in an hour, by whatever road; 0 is on record too",
)
