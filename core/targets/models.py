"""Tables: target_entries, target_jobs, target_job_entries."""

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
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from core.db import metadata

_WORK = """
case
    when open_job_id is not null then null
    when to_check then 'check'
    when is_held then null
    when is_known and kind = 'variant' and (linked_ids <> array[parent_id]
        or (problem_kind = 'content' and not stays)) then 'delete'
    when problem_kind = 'content' then null
    when desired_hash is null then case when is_known then 'delete' end
    when not is_known then case when not waits then 'create' end
    when confirmed_hash is distinct from desired_hash then 'update'
end
"""

_STATE = """
case
    when open_job_id is not null then 'in_flight'
    when to_check then 'checking'
    when is_held then 'held'
    when problem_kind = 'content' and not (is_known and kind = 'variant'
        and (linked_ids <> array[parent_id] or not stays)) then 'problem'
    when case
        when desired_hash is null then is_known
        when is_known then confirmed_hash is distinct from desired_hash or (kind = 'variant'
            and (linked_ids <> array[parent_id] or problem_kind = 'content'))
        else not waits
    end then case when failures > 0 then 'failed' else 'waits' end
    when waits and desired_hash is not null then 'waits'
    when desired_hash is null then 'gone'
    else 'in_step'
end
"""

target_entries = Table(
    "target_entries",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column(
        "entity_id",
        BigInteger,
        nullable=False,
        comment="the category's, product's or SKU's id",
    ),
    Column(
        "external_id",
        Text,
        nullable=False,
        comment="what the target knows it by: sw-, the shop's mark, the kind's letter and entity_id; never changes",
    ),
    Column("parent_id", BigInteger, comment="the product of a variant"),
    Column("desired_hash", Text, comment="of the content it should show; null: it must not be there"),
    Column("confirmed_hash", Text, comment="of the content it took last; null: none that we know of"),
    Column(
        "is_known",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="the target has that id, as far as we know: decides between create and update",
    ),
    Column(
        "linked_ids",
        ARRAY(BigInteger),
        nullable=False,
        server_default="{}",
        comment="what it was last told with: an item its categories, a variant its product",
    ),
    Column(
        "to_check",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="the id is to be read back before anything else is done with it",
    ),
    Column(
        "waits",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="of a variant: its product is not known to be there yet",
    ),
    Column("open_job_id", BigInteger),
    Column("planned_version", Integer, comment="the product's version that desired_hash was made of"),
    Column("planned_units", BigInteger, comment="the units that it was made of"),
    Column(
        "planned_text",
        Text,
        comment="what else it was made of: a category's path, an item's settings of the connection",
    ),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column(
        "is_held",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="failed so often that it waits for a person, or for other content",
    ),
    Column(
        "problem_kind",
        Text,
        comment="content: it cannot be told as it is, change it here; refused: the target did not take it",
    ),
    Column("problem_code", Text),
    Column("problem", Text),
    Column(
        "stays",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="of what cannot be told: a setting of the connection is missing, so the target keeps it as it was told",
    ),
    Column("next_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("confirmed_at", DateTime(timezone=True)),
    Column("read_at", DateTime(timezone=True)),
    Column("absent_at", DateTime(timezone=True), comment="when it was read and was not there: a tombstone"),
    Column(
        "work",
        Text,
        Computed(_WORK, persisted=True),
        comment="what is to be done with it next; null: nothing, or it is in a job",
    ),
    Column(
        "state",
        Text,
        Computed(_STATE, persisted=True),
        nullable=False,
        comment="how it stands, as people count it: see the view target_entry_states",
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    UniqueConstraint("shop_id", "connection_id", "kind", "entity_id", name="uq_target_entries_entity"),
    UniqueConstraint("shop_id", "connection_id", "kind", "external_id", name="uq_target_entries_external_id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    ForeignKeyConstraint(["shop_id", "open_job_id"], ["target_jobs.shop_id", "target_jobs.id"], use_alter=True),
    CheckConstraint("kind in ('category', 'item', 'variant')", name="kind"),
    CheckConstraint("(kind = 'variant') = (parent_id is not null)", name="parent"),
    CheckConstraint("is_known or confirmed_hash is null", name="known"),
    CheckConstraint(
        "(problem is null) = (problem_kind is null) and problem_kind in ('content', 'refused')", name="problem"
    ),
    CheckConstraint("not stays or problem_kind is not distinct from 'content'", name="stays"),
    Index(
        "ix_target_entries_work",
        "shop_id",
        "connection_id",
        "work",
        "kind",
        "next_at",
        "id",
        postgresql_where=text("work is not null"),
    ),
    Index("ix_target_entries_state", "shop_id", "connection_id", "kind", "state"),
    Index(
        "ix_target_entries_parent",
        "shop_id",
        "connection_id",
        "parent_id",
        postgresql_where=text("parent_id is not null"),
    ),
    Index(
        "ix_target_entries_item",
        "shop_id",
        "connection_id",
        text("(linked_ids[1])"),
        postgresql_where=text("kind = 'variant' and is_known"),
    ),
    Index(
        "ix_target_entries_linked_ids",
        "linked_ids",
        postgresql_using="gin",
        postgresql_where=text("is_known and kind = 'item'"),
    ),
    Index(
        "ix_target_entries_problem",
        "shop_id",
        "connection_id",
        "problem_code",
        "id",
        postgresql_where=text("problem is not null"),
    ),
    Index("ix_target_entries_open_job", "shop_id", "open_job_id", postgresql_where=text("open_job_id is not null")),
    comment="what a target is to hold of each thing of the catalogue, and what it is known to hold",
)

target_jobs = Table(
    "target_jobs",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column(
        "state",
        Text,
        nullable=False,
        server_default="planned",
        comment="planned: has not left; sent: may have left; lost: no reply came, and it is looked for until it has"
        " ended; cancelled: by the target, or it surely never left",
    ),
    Column("seat", Integer, nullable=False, comment="which of a connection's lanes sends it"),
    Column("entries", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("ref", Text, comment="the target's id of it"),
    Column("planned_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("polled_at", DateTime(timezone=True)),
    Column("next_poll_at", DateTime(timezone=True)),
    Column(
        "is_over",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="it was seen to have ended, and is to be read",
    ),
    Column("expires_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("succeeded", Integer),
    Column("failed", Integer),
    Column("unknown", Integer),
    Column("reason", Text),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("kind in ('category', 'item', 'variant')", name="kind"),
    CheckConstraint("verb in ('create', 'update', 'delete')", name="verb"),
    CheckConstraint(
        "state in ('planned', 'sent', 'queued', 'processing', 'complete', 'cancelled', 'lost')", name="state"
    ),
    CheckConstraint("entries between 1 and 100 and bytes <= 5000000", name="entries"),
    CheckConstraint("state in ('planned', 'cancelled') or sent_at is not null", name="sent"),
    CheckConstraint("state not in ('queued', 'processing', 'complete') or ref is not null", name="ref"),
    Index(
        "uq_target_jobs_ref", "shop_id", "connection_id", "ref", unique=True, postgresql_where=text("ref is not null")
    ),
    Index(
        "ix_target_jobs_open",
        "shop_id",
        "connection_id",
        "kind",
        "verb",
        "next_poll_at",
        postgresql_where=text("ended_at is null"),
    ),
    Index(
        "ix_target_jobs_ended_at",
        "shop_id",
        "connection_id",
        "ended_at",
        postgresql_where=text("ended_at is not null"),
    ),
    comment="bulk jobs at targets of the catalogue, from before they leave until their entries are told",
)

target_job_entries = Table(
    "target_job_entries",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column(
        "position",
        Integer,
        nullable=False,
        comment="its place in what was sent: the target's pointers go by it",
    ),
    Column("entry_id", BigInteger, nullable=False),
    Column("hash", Text, comment="of the content that was sent; null: it was to be deleted"),
    Column("linked_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("outcome", Text),
    Column("code", Text),
    Column("field", Text, comment="where the target saw the fault, as the rest of its pointer"),
    Column("detail", Text),
    PrimaryKeyConstraint("shop_id", "job_id", "position"),
    ForeignKeyConstraint(["shop_id", "job_id"], ["target_jobs.shop_id", "target_jobs.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["shop_id", "entry_id"], ["target_entries.shop_id", "target_entries.id"]),
    CheckConstraint("position between 0 and 99", name="position"),
    CheckConstraint("outcome in ('ok', 'failed', 'unknown', 'unsent')", name="outcome"),
    Index("uq_target_job_entries_open", "shop_id", "entry_id", unique=True, postgresql_where=text("outcome is null")),
    Index("ix_target_job_entries_entry", "shop_id", "entry_id", "job_id"),
)
