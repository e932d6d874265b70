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
-- How many of an account's feeds left within the window of its limit is asked with every push that may choose.
create index ix_channel_feeds_submitted_at on channel_feeds (shop_id, connection_id, submitted_at)
    where submitted_at is not null;

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

-- Of a feed that waits in the channel's queue: whether something in it has to go to zero. Asked after every booking.
alter table listings add column is_to_drain boolean generated always as
    (exposed_units > 0 and desired_units - short_units + unseen_units <= 0) stored;
comment on column listings.is_to_drain is 'whether it should show nothing by now and may still be sold';
create index ix_listings_is_to_drain on listings (shop_id, connection_id, id) where is_to_drain;

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

-- An open absolute write of which nothing read says whether it landed may be overtaken by a later one that takes the
-- same road one by one: the channel keeps the order of what it accepted there. It ends as stale, OVERTAKEN, and may land
-- until a later one of its road has, or a person says what the channel shows.
create index ix_listing_writes_overtaken on listing_writes (shop_id, listing_id, id) where outcome_code = 'OVERTAKEN';

create function overtaken_writes(p_shop_id bigint, p_listing_id bigint) returns setof listing_writes
language sql stable as $$
    select w.* from listing_writes w
    where w.shop_id = p_shop_id and w.listing_id = p_listing_id and w.outcome_code = 'OVERTAKEN'
        and not exists (
            select from listing_writes n where n.shop_id = w.shop_id and n.listing_id = w.listing_id and n.id > w.id
                and n.road = w.road and (n.outcome = 'confirmed' or n.outcome_code = 'BY_HAND'))
$$;
comment on function overtaken_writes is 'the overtaken writes of a listing that may still land';

-- Overtaken.explains in core/inventory/exposure.py, of any of them. What was booked counts from when it was planned, and
-- a minute more, since a booking takes its time: more that is explained is less that is taken for proven. So is all, once
-- it is forgotten what was booked, and a number that may be too low.
create function overtaken_explain(p_shop_id bigint, p_listing_id bigint) returns boolean language sql stable as $$
    select exists (
        select from overtaken_writes(p_shop_id, p_listing_id) w
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        cross join lateral (
            select coalesce(sum(-x.asked_units) filter (where x.cause = 'sale'), 0) as sold,
                coalesce(sum(x.asked_units) filter (where x.cause = 'restock'), 0) as restocked
            from exposure_changes x
            where x.shop_id = w.shop_id and x.listing_id = w.listing_id
                and x.changed_at > w.planned_at - interval '1 minute'
        ) booked
        cross join lateral (
            select x.changed_at as since from exposure_changes x
            where x.shop_id = w.shop_id and x.listing_id = w.listing_id order by x.id limit 1
        ) known
        where known.since > w.planned_at or l.blurred_units > 0
            or l.published_units between w.to_units - booked.sold and w.to_units + booked.restocked
            or l.published_units between w.observed_units - booked.sold and w.observed_units + booked.restocked
            -- A 0 from before it that was believed at once may have been a sale's, and land as well.
            or l.published_units between -booked.sold and booked.restocked and exists (
                select from listing_writes z
                where z.shop_id = w.shop_id and z.listing_id = w.listing_id and z.id < w.id and z.outcome = 'confirmed'
                    and z.from_units is null and z.to_units = 0 and (z.accepted_at is null or not exists (
                        select from listing_writes n
                        where n.shop_id = z.shop_id and n.listing_id = z.listing_id and n.id > z.id and n.id < w.id
                            and n.road = z.road and n.outcome = 'confirmed' and n.to_units > 0))))
$$;
comment on function overtaken_explain is 'whether what a listing shows may come of a write that was overtaken, landed or not';

-- may_be_overtaken in core/inventory/exposure.py. What it did not answer for may still be on its way to the channel.
create function may_be_overtaken(p_shop_id bigint, p_write_id bigint) returns boolean language sql stable as $$
    select exists (
        select from listing_writes w
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        join connections c on c.shop_id = w.shop_id and c.id = w.connection_id
        where w.shop_id = p_shop_id and w.id = p_write_id and w.outcome is null and w.from_units is null
            and w.road = 'call' and w.accepted_at is not null
            and l.published_at > w.sent_at and l.unseen_units = 0 and l.edited_units = 0 and l.blurred_units = 0
            and c.reads_orders and c.watermark_at >= l.published_at + interval '5 seconds')
$$;
comment on function may_be_overtaken is 'whether a later write of its road may take the place of an open one';

-- Feeds that an open alert tells of and that have not ended: how much is in them, and how much of it should be zero.
create view slow_feeds with (security_invoker = true) as
select f.shop_id, f.connection_id, c.name as connection, f.id as feed_id, f.feed_ref, f.state, f.submitted_at as since,
    (select count(*) from listing_writes w
        where w.shop_id = f.shop_id and w.feed_id = f.id and w.outcome is null) as listings,
    (select count(*) from listing_writes w
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id and l.is_to_drain
        where w.shop_id = f.shop_id and w.feed_id = f.id and w.outcome is null) as zeros
from alerts a
cross join lateral jsonb_to_recordset(a.worst_skus) as told (feed_id bigint)
join channel_feeds f on f.shop_id = a.shop_id and f.id = told.feed_id and f.ended_at is null
join connections c on c.shop_id = f.shop_id and c.id = f.connection_id
where a.kind = 'slow_feed' and a.closed_at is null;

-- Feeds that ended, and what of them the channel does not show, where an open alert tells of them.
create view unshown_feeds with (security_invoker = true) as
select f.shop_id, f.connection_id, c.name as connection, f.id as feed_id, f.state, f.ended_at as since,
    count(*) as writes, min(l.channel_ref) as example_code
from alerts a
cross join lateral jsonb_to_recordset(a.worst_skus) as told (feed_id bigint)
join channel_feeds f on f.shop_id = a.shop_id and f.id = told.feed_id and f.ended_at is not null
join connections c on c.shop_id = f.shop_id and c.id = f.connection_id
join listing_writes w on w.shop_id = f.shop_id and w.feed_id = f.id and w.outcome is null and w.doubt is not null
join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
where a.kind = 'unshown_feed' and a.closed_at is null
group by f.shop_id, f.connection_id, c.name, f.id, f.state, f.ended_at;
