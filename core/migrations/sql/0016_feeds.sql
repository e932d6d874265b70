-- Bulk submissions of quantities: a document of many writes that the channel applies at its leisure. A row is there
-- before anything is uploaded, and says from then on what is known of it; what has ended never changes.
create table channel_feeds (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint not null,
    state text not null default 'planned',
    messages integer not null default 0,
    because text not null,
    document_ref text,
    feed_ref text,
    planned_at timestamptz not null,
    uploaded_at timestamptz,
    submitted_at timestamptz,
    channel_created_at timestamptz,
    looked_at timestamptz,
    next_look_at timestamptz,
    ended_at timestamptz,
    accepted integer,
    refused integer,
    reason text,
    has_failed boolean not null default false,
    constraint pk_channel_feeds primary key (shop_id, id),
    constraint fk_channel_feeds_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_channel_feeds_state check (
        state in ('planned', 'uploaded', 'submitted', 'in_progress', 'done', 'fatal', 'cancelled', 'lost')
    ),
    constraint ck_channel_feeds_ended check (
        (state in ('done', 'fatal', 'cancelled', 'lost')) = (ended_at is not null)
    ),
    constraint ck_channel_feeds_submitted check (
        state not in ('submitted', 'in_progress', 'done', 'fatal', 'lost')
        or (submitted_at is not null and document_ref is not null)
    ),
    constraint ck_channel_feeds_messages check (messages between 0 and 25000)
);
comment on table channel_feeds is 'bulk submissions of quantities, from before their document is uploaded until they have ended';
comment on column channel_feeds.because is 'why this road was taken';
comment on column channel_feeds.submitted_at is 'when its writes were marked as sent, just before the submission left';
comment on column channel_feeds.feed_ref is 'the channel''s id of it; null while nobody knows whether it arrived';
comment on column channel_feeds.channel_created_at is 'by the channel''s clock';
comment on column channel_feeds.ended_at is 'when we knew that the channel is done with it, or that it never had it';
comment on column channel_feeds.accepted is 'messages that the report does not refuse: which says not that they are in force';
comment on column channel_feeds.has_failed is 'it came to nothing: for a while the other road is taken';
create unique index uq_channel_feeds_open on channel_feeds (shop_id, connection_id) where ended_at is null;
create unique index uq_channel_feeds_feed_ref on channel_feeds (shop_id, connection_id, feed_ref)
    where feed_ref is not null;
create unique index uq_channel_feeds_document_ref on channel_feeds (shop_id, connection_id, document_ref)
    where document_ref is not null;
create index ix_channel_feeds_shop_id_connection_id_id on channel_feeds (shop_id, connection_id, id);

create function keep_feed() returns trigger language plpgsql as $$
begin
    if old.ended_at is not null then
        raise exception 'feed % has ended as %: nothing of it changes', old.id, old.state
            using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.id, new.connection_id, new.planned_at) is distinct from
        (old.shop_id, old.id, old.connection_id, old.planned_at)
        or (old.document_ref is not null and new.document_ref is distinct from old.document_ref)
        or (old.feed_ref is not null and new.feed_ref is distinct from old.feed_ref)
        or (old.submitted_at is not null and (new.submitted_at, new.messages) is distinct from
            (old.submitted_at, old.messages))
    then
        raise exception 'what happened to feed % is recorded once', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger history_is_kept before update on channel_feeds for each row execute function keep_feed();
create trigger never_deleted before delete or truncate on channel_feeds
    for each statement execute function refuse_change();

-- Which road a write takes is part of its intent: a listing is on one at a time, since it has one open write at most.
alter table listing_writes
    add column road text not null default 'call',
    add column feed_id bigint,
    add constraint ck_listing_writes_road check (road in ('call', 'feed') and (road = 'feed') = (feed_id is not null)),
    add constraint fk_listing_writes_channel_feeds_shop_id_feed_id foreign key (shop_id, feed_id)
        references channel_feeds (shop_id, id);
comment on column listing_writes.road is 'call: one by one; feed: in a bulk submission';
comment on column listing_writes.batch_position is 'place within that call; in a feed, messageId less one';
create unique index uq_listing_writes_feed on listing_writes (shop_id, feed_id, batch_position)
    where feed_id is not null;
create index ix_listing_writes_feed_open on listing_writes (shop_id, feed_id, id)
    where feed_id is not null and outcome is null;

create or replace function keep_write_intent() returns trigger language plpgsql as $$
begin
    if old.outcome is not null then
        raise exception 'write % is settled as %: its outcome is set once', old.id, old.outcome
            using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.id, new.connection_id, new.listing_id, new.from_units, new.to_units,
        new.exposure_delta_units, new.idempotency_key, new.batch_position, new.planned_at, new.deadline_at,
        new.sync_run_id, new.road, new.feed_id)
       is distinct from
       (old.shop_id, old.id, old.connection_id, old.listing_id, old.from_units, old.to_units,
        old.exposure_delta_units, old.idempotency_key, old.batch_position, old.planned_at, old.deadline_at,
        old.sync_run_id, old.road, old.feed_id)
    then
        raise exception 'the intent of write % is frozen', old.id using errcode = 'restrict_violation';
    end if;
    if (old.sent_at is not null and new.sent_at is distinct from old.sent_at)
        or (old.accepted_at is not null and new.accepted_at is distinct from old.accepted_at)
        or (old.submission_ref is not null and new.submission_ref is distinct from old.submission_ref)
    then
        raise exception 'what happened to write % is recorded once', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;

-- A feed and what became of its writes so far.
create view feed_states with (security_invoker = true) as
select f.shop_id, f.connection_id, f.id, f.state, f.messages, f.because, f.feed_ref, f.planned_at, f.submitted_at,
    f.looked_at, f.ended_at, f.accepted, f.refused, f.reason,
    (select count(*) from listing_writes w
        where w.shop_id = f.shop_id and w.feed_id = f.id and w.outcome is null) as open_writes,
    (select count(*) from listing_writes w
        where w.shop_id = f.shop_id and w.feed_id = f.id and w.outcome is null and w.doubt is not null) as unshown_writes
from channel_feeds f;

-- Two more kinds of alert: a feed that does not end, and what a feed that ended does not show.
alter table alerts drop constraint ck_alerts_kind;
alter table alerts add constraint ck_alerts_kind
    check (kind in ('exposure', 'stuck_change', 'slow_feed', 'unshown_feed'));
