"""Tables: sync_runs, sync_health, sync_tallies, job_runs, job_requeues, schedules, schedule_runs, schedule_requests,
api_calls, quota_tallies, tallies, retention_policies."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata

sync_runs = Table(
    "sync_runs",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False, comment="sync_connection, poll_orders, ..."),
    Column("trigger", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="queued"),
    Column("step", Text, comment="what it is doing now, as people read it"),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("total", Integer),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("heartbeat_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("error", Text),
    Column("retry_of", BigInteger, comment="the failed run that it does again"),
    Column("cancel_asked_at", DateTime(timezone=True)),
    Column("cancel_asked_by", Text),
    Column("cancel_reason", Text),
    Column("window_at", DateTime(timezone=True), comment="a moment half a minute to a minute ago, for the rate"),
    Column("window_done", Integer, comment="and how far it was then"),
    Column("mark_at", DateTime(timezone=True), comment="the next such moment"),
    Column("mark_done", Integer),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("trigger in ('schedule', 'click', 'event')", name="trigger"),
    CheckConstraint("state in ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
    CheckConstraint(
        "(cancel_asked_at is null) = (cancel_asked_by is null) and (cancel_asked_at is null) = (cancel_reason is null)"
        " and (state <> 'cancelled' or cancel_asked_at is not null)",
        name="cancel_is_signed",
    ),
    Index(
        "uq_sync_runs_open",
        "shop_id",
        "connection_id",
        "kind",
        unique=True,
        postgresql_where=text("state in ('queued', 'running')"),
    ),
    Index(None, "shop_id", "connection_id", "id"),
    Index(None, "shop_id", "kind", "id"),
    Index("ix_sync_runs_unhappy", "shop_id", "state", "id", postgresql_where=text("state in ('failed', 'cancelled')")),
)

# How each kind of sync of each connection stands: one row, whatever runs how often.
sync_health = Table(
    "sync_health",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("last_turn_at", DateTime(timezone=True), nullable=False),
    Column("last_success_at", DateTime(timezone=True)),
    Column("last_work_at", DateTime(timezone=True)),
    Column("last_failure_at", DateTime(timezone=True)),
    Column("last_failure", Text),
    Column("last_run_id", BigInteger, comment="the last turn that has a row in sync_runs"),
    Column("last_seconds", Double, nullable=False),
    Column(
        "empty_turns", BigInteger, nullable=False, server_default="0", comment="in a row, since something was found"
    ),
    Column("failed_turns", BigInteger, nullable=False, server_default="0", comment="in a row, since one succeeded"),
    PrimaryKeyConstraint("shop_id", "connection_id", "kind"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
)

# Turns counted by hour, by how they ended and how long they took.
sync_tallies = Table(
    "sync_tallies",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("hour_at", DateTime(timezone=True), nullable=False),
    Column("outcome", Text, nullable=False),
    Column(
        "slot",
        SmallInteger,
        nullable=False,
        comment="how long they took: up to 0.05 s times 1.25 to the power of it",
    ),
    Column("turns", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False, comment="how long they took together"),
    PrimaryKeyConstraint("shop_id", "connection_id", "kind", "hour_at", "outcome", "slot"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("outcome in ('worked', 'nothing', 'refused', 'waits', 'off', 'failed')", name="outcome"),
)

# Infrastructure, not business: a job may concern no shop at all.
job_runs = Table(
    "job_runs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job_ref", Text, nullable=False, comment="RQ's job id"),
    Column("function", Text, nullable=False, comment="registered name"),
    Column("arguments", JSONB, nullable=False),
    Column("queue", Text, nullable=False),
    Column("worker", Text),
    Column("attempt", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("outcome", Text, comment="finished, failed or abandoned; null while it runs"),
    Column("result", JSONB),
    Column("error", Text),
    Column("fingerprint", Text, comment="groups failures of one cause"),
    Column("traceback", Text, comment="where it broke, without values"),
    Column("resolution", Text, comment="what was done about the failure; null while nobody did anything"),
    Column("resolved_at", DateTime(timezone=True)),
    Column("resolved_by", Text, comment="a person, or the sweep for superseded"),
    Column("resolved_reason", Text),
    Column("requeued_as", Text, comment="RQ's id of the job that does it again"),
    Column("sync_run_id", BigInteger, comment="also of a run that found nothing, and so has no row of its own"),
    Column("business", Text, comment="what came of a job that finished; null where it did not"),
    Column(
        "subject",
        Text,
        Computed(
            "function || ':' || (arguments - 'sync_run_id'::text)::text",
            persisted=True,
        ),
        comment="function and what it was about: a later success of it makes a failure moot",
    ),
    CheckConstraint("outcome in ('finished', 'failed', 'abandoned')", name="outcome"),
    CheckConstraint("business in ('worked', 'nothing', 'refused', 'waits', 'off')", name="business"),
    CheckConstraint("resolution in ('requeued', 'discarded', 'superseded')", name="resolution"),
    CheckConstraint(
        "(resolution is null) = (resolved_at is null) and (resolution is null) = (resolved_by is null)"
        " and (resolution is null) = (resolved_reason is null)"
        " and (resolution is not distinct from 'requeued') = (requeued_as is not null)",
        name="resolved_is_signed",
    ),
    Index(None, "started_at"),
    Index("ix_job_runs_failed", "started_at", postgresql_where=text("outcome in ('failed', 'abandoned')")),
    Index(
        "ix_job_runs_done",
        "subject",
        "started_at",
        postgresql_where=text(
            "outcome = 'finished' and business is distinct from 'off' and business is distinct from 'waits'"
        ),
    ),
    Index("ix_job_runs_job_ref", "job_ref", "id"),
    Index(
        "ix_job_runs_unresolved",
        "id",
        postgresql_where=text("outcome in ('failed', 'abandoned') and resolution is null"),
    ),
    Index("ix_job_runs_resolved", "resolution", "id", postgresql_where=text("resolution is not null")),
    Index("ix_job_runs_open", "worker", postgresql_where=text("outcome is null")),
    Index("ix_job_runs_sync_run_id", "sync_run_id", postgresql_where=text("sync_run_id is not null")),
)

job_requeues = Table(
    "job_requeues",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column(
        "job_ref",
        Text,
        nullable=False,
        comment="RQ's id of the job, named after the newest failure that it makes good",
    ),
    Column("function", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "job_ref"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    Index(None, "requested_at"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("is_paused", Boolean, nullable=False, server_default="false"),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("name", Text, nullable=False),
    Column("period", Text, nullable=False, comment="the period this run is for: once per name and period"),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("outcome", Text),
    Column("result", JSONB),
    Column("due_at", DateTime(timezone=True)),
    Column("trigger", Text, nullable=False, server_default="schedule"),
    Column("requested_by", Text),
    Column("reason", Text),
    Column(
        "missed",
        Integer,
        nullable=False,
        server_default="0",
        comment="turns before this one that nobody ran; it is in their place",
    ),
    PrimaryKeyConstraint("name", "period"),
    CheckConstraint("outcome in ('finished', 'failed', 'skipped')", name="outcome"),
    CheckConstraint("trigger in ('schedule', 'click')", name="trigger"),
    CheckConstraint(
        "(trigger = 'click') = (requested_by is not null) and (trigger = 'click') = (reason is not null)",
        name="click_is_signed",
    ),
    Index("ix_schedule_runs_open", "name", postgresql_where=text("outcome is null")),
    Index(None, "started_at"),
    Index("ix_schedule_runs_name_started_at", "name", "started_at"),
    Index(
        "ix_schedule_runs_failed",
        "started_at",
        postgresql_where=text("outcome = 'failed' or coalesce(result ->> 'violations', '0') <> '0'"),
    ),
)

# A turn that a person asked for. The row is the promise; the ring in Redis may be lost.
schedule_requests = Table(
    "schedule_requests",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("name", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("begun_at", DateTime(timezone=True), comment="when its turn began; null while it waits"),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    Index("uq_schedule_requests_waiting", "shop_id", "name", unique=True, postgresql_where=text("begun_at is null")),
)

api_calls = Table(
    "api_calls",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("operation", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("status", Integer, comment="HTTP status; null when no answer came"),
    Column("outcome", Text, nullable=False, comment="ok, throttled, refused, error, unknown"),
    Column("elapsed_ms", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("quota_left", Text),
    Column("api_version", Text),
    Column("deprecation", Text),
    Column("error", Text),
    Column("sync_run_id", BigInteger),
    Column("called_at", DateTime(timezone=True), nullable=False),
    Column(
        "purpose",
        Text,
        comment="whom it was made for: the registered job, or a command; null before this was kept",
    ),
    Column(
        "cost",
        REAL,
        comment="what it took of the quota, in the vendor's units; null where the vendor does not say",
    ),
    Column(
        "asked_version",
        Text,
        comment="the version of the API that was asked for; null where the vendor has none",
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    Index(None, "shop_id", "connection_id", "called_at"),
    Index(
        "ix_api_calls_outcome",
        "shop_id",
        "connection_id",
        "outcome",
        "called_at",
        "id",
        postgresql_include=["elapsed_ms"],
    ),
    Index("ix_api_calls_operation", "shop_id", "connection_id", "operation", "outcome", "called_at", "id"),
    Index(
        "ix_api_calls_deprecation",
        "shop_id",
        "connection_id",
        "called_at",
        postgresql_where=text("deprecation is not null"),
    ),
    Index(
        "ix_api_calls_fell_forward",
        "shop_id",
        "connection_id",
        "called_at",
        postgresql_where=text("api_version <> asked_version"),
    ),
)

quota_tallies = Table(
    "quota_tallies",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("bucket_at", DateTime(timezone=True), nullable=False, comment="the beginning of five minutes"),
    Column("purpose", Text, nullable=False, comment='as in api_calls; "unnamed" where a call says none'),
    Column("calls", BigInteger, nullable=False),
    Column("throttled", BigInteger, nullable=False),
    Column("points", Double, nullable=False, comment="what they took of the quota, in the vendor's units"),
    PrimaryKeyConstraint("shop_id", "connection_id", "bucket_at", "purpose"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
)

# Counts for monitoring that never fall, written by triggers on what they count; see migration 0006.
tallies = Table(
    "tallies",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("connection_id", BigInteger, comment="ids of connections are unique among all shops"),
    Column("name", Text, nullable=False, comment="function, operation, or empty"),
    Column("outcome", Text, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False, server_default="0", comment="how long they took together"),
    Column("at", DateTime(timezone=True), comment="of the inbox, for an hour: when; later to the minute"),
    Index("ix_tallies_at", "connection_id", "at", postgresql_where=text("at is not null")),
    CheckConstraint("kind in ('job_run', 'api_call', 'inbox')", name="kind"),
)

# Of the installation, like job_runs: no row is the time in core.runs.retention.
retention_policies = Table(
    "retention_policies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("keep_days", Integer, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("keep_days between 1 and 3650", name="keep_days"),
    CheckConstraint("btrim(set_by) <> '' and btrim(reason) <> ''", name="named_and_reasoned"),
    comment="where a person wants another time than the one in core.runs.retention; no row: that one",
)
