-- What people see of a connection: what was used of its quota and by whom, its subscriptions, its versions.

-- Whom a call was made for, and what it took of the quota, in the vendor's units.
alter table api_calls add column purpose text;
alter table api_calls add column cost real;
comment on column api_calls.purpose is 'whom it was made for: the registered job, or a command; null before this was kept';
comment on column api_calls.cost is 'what it took of the quota, in the vendor''s units; null where the vendor does not say';

-- Which version of its API we asked for; api_version is the one it answered with. Where they differ the vendor fell
-- forward: ours is no longer (or not yet) supported.
alter table api_calls add column asked_version text;
comment on column api_calls.asked_version is 'the version of the API that was asked for; null where the vendor has none';
create index ix_api_calls_fell_forward on api_calls (shop_id, connection_id, called_at) where api_version <> asked_version;

-- What a connection's calls took of its quota, added up as they are written: a picture of a month reads as many rows as
-- there are pieces of time and purposes, however many calls there were.
create table quota_tallies (
    shop_id bigint not null,
    connection_id bigint not null,
    bucket_at timestamptz not null,
    purpose text not null,
    calls bigint not null,
    throttled bigint not null,
    points double precision not null,
    constraint pk_quota_tallies primary key (shop_id, connection_id, bucket_at, purpose),
    constraint fk_quota_tallies_connections_shop_id foreign key (shop_id, connection_id)
        references connections (shop_id, id)
);
comment on column quota_tallies.bucket_at is 'the beginning of five minutes';
comment on column quota_tallies.purpose is 'as in api_calls; "unnamed" where a call says none';
comment on column quota_tallies.points is 'what they took of the quota, in the vendor''s units';

create function tally_quota() returns trigger language plpgsql as $$
begin
    insert into quota_tallies as t (shop_id, connection_id, bucket_at, purpose, calls, throttled, points)
    select shop_id, connection_id, date_bin('5 minutes', called_at, 'epoch'), coalesce(purpose, 'unnamed'),
        count(*), count(*) filter (where outcome = 'throttled'), coalesce(sum(cost), 0)
    from added group by 1, 2, 3, 4
    order by 1, 2, 3, 4  -- two who write at once meet in the same order
    on conflict (shop_id, connection_id, bucket_at, purpose) do update set
        calls = t.calls + excluded.calls, throttled = t.throttled + excluded.throttled,
        points = t.points + excluded.points;
    return null;
end $$;
create trigger tallied_quota after insert on api_calls referencing new table as added
    for each statement execute function tally_quota();

-- By whom a connection's quota is used, over time.
--   bucket_at  the beginning of five minutes; ask for a range of it: the primary key is walked
--   purpose    registered job name ('stock.push'), 'command:NAME', 'dashboard', or 'unnamed'
--   calls      attempts, throttled ones included;  throttled: how many were answered "too fast"
--   points     what they took, in units of `unit` ('points' at Shopify, 'requests' where each call counts one)
create view quota_use with (security_invoker = true) as
select
    t.shop_id, t.connection_id, t.bucket_at, t.purpose, t.calls, t.throttled, t.points,
    case c.vendor when 'shopify' then 'points' else 'requests' end as unit
from quota_tallies t join connections c on c.shop_id = t.shop_id and c.id = t.connection_id;

-- Which version of its API each connection speaks, from its newest 200 calls; no row before the first answer.
--   asked_version, answered_version, answered_at   of the newest answer that named a version
--   fell_forward     the vendor answered with another version than asked: a problem to show
--   fell_forward_at  when that was last seen, ever
--   supported_until  Shopify's versions (YYYY-MM) live at least twelve months from 17:00 UTC of their first day; null
--                    for versions of another form
--   deprecation, deprecation_at   the newest warning of the last 30 days
create view connection_versions with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, said.asked_version, said.api_version as answered_version,
    said.called_at as answered_at, said.api_version <> said.asked_version as fell_forward,
    forward.called_at as fell_forward_at,
    case when said.asked_version ~ '^\d{4}-(0[1-9]|1[0-2])$' then
        (to_timestamp(said.asked_version || '-01 17', 'YYYY-MM-DD HH24')::timestamp + interval '12 months')
            at time zone 'UTC'
    end as supported_until,
    warned.deprecation, warned.called_at as deprecation_at
from connections c
cross join lateral (
    select n.asked_version, n.api_version, n.called_at from (
        select a.asked_version, a.api_version, a.called_at from api_calls a
        where a.shop_id = c.shop_id and a.connection_id = c.id order by a.called_at desc limit 200
    ) n
    where n.api_version is not null and n.asked_version is not null order by n.called_at desc limit 1
) said
left join lateral (
    select a.called_at from api_calls a
    where a.shop_id = c.shop_id and a.connection_id = c.id and a.api_version <> a.asked_version
    order by a.called_at desc limit 1
) forward on true
left join lateral (
    select a.deprecation, a.called_at from api_calls a
    where a.shop_id = c.shop_id and a.connection_id = c.id and a.deprecation is not null
        and a.called_at > now() - interval '30 days'
    order by a.called_at desc limit 1
) warned on true;

-- The access token that all processes share: fetched once in its life, not once for each job.
create table connection_tokens (
    shop_id bigint not null,
    connection_id bigint not null,
    sealed bytea not null,
    renew_at timestamptz not null,
    expires_at timestamptz not null,
    constraint pk_connection_tokens primary key (shop_id, connection_id),
    constraint fk_connection_tokens_connections_shop_id foreign key (shop_id, connection_id)
        references connections (shop_id, id)
);
comment on column connection_tokens.sealed is
    'Fernet token, as in connection_secrets: the access token, and a fingerprint of the credentials it was fetched with';
comment on column connection_tokens.renew_at is 'from when on the next one is fetched';

-- What each vendor calls us for, as it was when last looked at.
create table channel_subscriptions (
    shop_id bigint not null,
    connection_id bigint not null,
    topic text not null,
    state text not null,
    ref text,
    checked_at timestamptz not null,
    missed_at timestamptz,
    repaired_at timestamptz,
    repairs integer not null default 0,
    problem text,
    is_advised boolean not null default false,
    constraint pk_channel_subscriptions primary key (shop_id, connection_id, topic),
    constraint fk_channel_subscriptions_connections_shop_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_channel_subscriptions_state check (state in ('standing', 'missing', 'refused'))
);
comment on column channel_subscriptions.state is
    'standing: calls us; missing: does not, and is not yet repaired; refused: the vendor will not have it';
comment on column channel_subscriptions.ref is 'the vendor''s id of it';
comment on column channel_subscriptions.missed_at is 'when it was last found gone: the vendor dropped it';
comment on column channel_subscriptions.repairs is 'how often it was made again after it had stood';
comment on column channel_subscriptions.is_advised is
    'it does not stand for want of a right that is advised and not needed';

-- What people did at a channel besides us: they are no fault, but each may break what we promise, so they are counted.
create table channel_acts (
    shop_id bigint not null,
    connection_id bigint not null,
    kind text not null,
    ref text not null,
    units integer,
    acted_at timestamptz not null,
    constraint pk_channel_acts primary key (shop_id, connection_id, kind, ref),
    constraint fk_channel_acts_connections_shop_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_channel_acts_kind check (kind in ('draft_order', 'order_edit', 'stock_edit'))
);
comment on column channel_acts.kind is
    'draft_order: the shop''s people wrote up an order; order_edit: they changed one after it was placed; stock_edit: they typed a number over one';
comment on column channel_acts.ref is 'the channel''s id of the order; of a number: the listing, and when it was first seen';
comment on column channel_acts.units is 'of a number: by how many units it was changed; negative: lowered';

create view channel_acts_by_day with (security_invoker = true) as
select a.shop_id, a.connection_id, (a.acted_at at time zone s.time_zone)::date as day, a.kind, count(*) as acts,
    coalesce(sum(abs(a.units)), 0)::bigint as units
from channel_acts a join shops s using (shop_id) group by 1, 2, 3, 4;
comment on view channel_acts_by_day is 'what people did at a channel besides us, by the shop''s business day';

-- Has the database count afresh what a whole catalogue was read into. Of a shop that came after it last counted it knows
-- nothing, and plans for one row of it where there are thousands: quadratic and worse, however small the table is.
-- Everything it names is looked for in the catalogue first, in a caller's own temporary schema last: it runs as the owner.
create function count_catalogue() returns void language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare
    grown text;
begin
    set local lock_timeout = '100ms';
    foreach grown in array array['skus', 'listings', 'stock_levels', 'stock_movements'] loop
        begin
            execute format('analyze public.%I', grown);
        exception when lock_not_available then
            null;  -- autovacuum is at it
        end;
    end loop;
end $$;
revoke execute on function count_catalogue() from public;

-- What the screen of connections shows besides. Each costs the same at a thousand calls and at a million.

-- Each subscription, with the last message that came of its topic: looked for among the newest 1,000 of the connection.
create view connection_subscriptions with (security_invoker = true) as
select
    s.shop_id, s.connection_id, s.topic, s.state, s.ref, s.checked_at, s.missed_at, s.repaired_at, s.repairs, s.problem,
    came.last_at as last_came_at, now() as as_of
from channel_subscriptions s
left join (
    select c.shop_id, c.id as connection_id, newest.topic, max(newest.received_at) as last_at
    from connections c
    cross join lateral (
        select m.topic, m.received_at from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id order by m.received_at desc limit 1000
    ) newest
    group by 1, 2, 3
) came on came.shop_id = s.shop_id and came.connection_id = s.connection_id and came.topic = s.topic;

-- What each vendor warns of that it will take away, by its words: of the newest 1,000 calls that it warned at.
create view connection_deprecations with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, warned.deprecation, warned.operations, warned.calls, warned.first_at,
    warned.last_at
from connections c
cross join lateral (
    select
        n.deprecation, array_agg(distinct n.operation order by n.operation) as operations, count(*) as calls,
        min(n.called_at) as first_at, max(n.called_at) as last_at
    from (
        select a.deprecation, a.operation, a.called_at from api_calls a
        where a.shop_id = c.shop_id and a.connection_id = c.id and a.deprecation is not null
        order by a.called_at desc limit 1000
    ) n
    group by 1
) warned;

-- What did not succeed of late, the same of the same operation once: of the newest 50 calls of each outcome.
create view connection_errors with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, bad.operation, bad.outcome, bad.status, bad.error, bad.calls, bad.first_at,
    bad.last_at, bad.last_id
from connections c
cross join lateral (
    select
        n.operation, kinds.outcome, n.status, n.error, count(*) as calls, min(n.called_at) as first_at,
        max(n.called_at) as last_at, max(n.id) as last_id
    from (values ('throttled'), ('refused'), ('error'), ('unknown')) kinds(outcome)
    cross join lateral (
        select a.id, a.operation, a.status, a.error, a.called_at from api_calls a
        where a.shop_id = c.shop_id and a.connection_id = c.id and a.outcome = kinds.outcome
        order by a.called_at desc, a.id desc limit 50
    ) n
    group by 1, 2, 3, 4
) bad;

create view connection_topics with (security_invoker = true) as
select s.shop_id, s.connection_id, s.topic, s.state, s.is_advised from channel_subscriptions s;

create view connection_accounts with (security_invoker = true) as
select c.shop_id, c.id as connection_id, c.account_ref, c.created_at as connected_at from connections c;

-- Numbers of a channel that nobody here wrote, until its orders are known up to them: of the few listings in doubt.
create view connection_edits with (security_invoker = true) as
select
    l.shop_id, l.connection_id, count(*) as edited_listings, sum(l.edited_units)::bigint as edited_units
from listings l where l.is_in_doubt and l.edited_units > 0 group by 1, 2;

-- Stops of writes that hold now; without a connection it holds every write of the shop.
create view open_write_stops with (security_invoker = true) as
select w.shop_id, w.id as stop_id, w.connection_id, w.stopped_by, w.reason, w.stopped_at
from write_stops w where w.ended_at is null;

-- As before, but for a connection in shadow mode: what differs there is compared and not to be written, so that it is
-- nothing it could be behind with.
create or replace view connection_health with (security_invoker = true) as
with facts as (
    select
        c.shop_id, c.id as connection_id, c.name, c.vendor, c.guarantee_class, c.state as switch,
        c.write_mode, c.last_error, c.last_error_at, c.orders_polled_to, c.catalogue_read_at,
        event.received_at as last_event_at, confirmed.outcome_at as last_confirmed_at, answer.called_at as last_answer_at,
        inbox.received, inbox.waiting, inbox.parked, oldest.received_at as oldest_received_at,
        shown.listings, shown.listings_in_step, shown.listings_to_push, shown.listings_refused, shown.listings_off,
        writes.open_writes, writes.doubtful_writes, writes.oldest_planned_at, unpushed.since as oldest_unpushed_at,
        (select count(*) from channel_subscriptions s
         where s.shop_id = c.shop_id and s.connection_id = c.id and s.state <> 'standing' and not s.is_advised)
            as untold_topics,
        coalesce(said.fell_forward, false) as fell_forward
    from connections c
    left join lateral (
        select n.api_version <> n.asked_version as fell_forward
        from (
            select a.asked_version, a.api_version, a.called_at from api_calls a
            where a.shop_id = c.shop_id and a.connection_id = c.id order by a.called_at desc limit 200
        ) n
        where n.api_version is not null and n.asked_version is not null order by n.called_at desc limit 1
    ) said on true
    left join lateral (
        select m.received_at from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id order by m.received_at desc limit 1
    ) event on true
    left join lateral (
        select w.outcome_at from listing_writes w
        where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome = 'confirmed'
        order by w.outcome_at desc limit 1
    ) confirmed on true
    left join lateral (
        select max(latest.called_at) as called_at
        from (
            select a.called_at, a.outcome from api_calls a
            where a.shop_id = c.shop_id and a.connection_id = c.id order by a.called_at desc limit 500
        ) latest
        where latest.outcome = 'ok'
    ) answer on true
    cross join lateral (
        select
            (select count(*) from inbox_messages m
             where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received') as received,
            (select count(*) from inbox_messages m
             where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'waiting') as waiting,
            (select count(*) from inbox_messages m
             where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'parked') as parked
    ) inbox
    left join lateral (
        select m.received_at from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received' order by m.id limit 1
    ) oldest on true
    cross join lateral (
        select
            count(*) as listings,
            count(*) filter (
                where l.publishing = 'on' and l.push_problem is null
                and not listing_differs(l.desired_units - l.short_units, l.published_units)
            ) as listings_in_step,
            count(*) filter (
                where c.write_mode = 'live' and l.publishing = 'on'
                and listing_differs(l.desired_units - l.short_units, l.published_units)
            ) as listings_to_push,
            count(*) filter (where l.publishing = 'on' and l.push_problem is not null) as listings_refused,
            count(*) filter (where l.publishing = 'off') as listings_off
        from listings l where l.shop_id = c.shop_id and l.connection_id = c.id
    ) shown
    cross join lateral (
        select count(*) as open_writes, count(w.doubt) as doubtful_writes,
            min(w.planned_at) filter (where w.doubt is null) as oldest_planned_at
        from listing_writes w where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome is null
    ) writes
    left join lateral (
        select min(greatest(
            l.published_at,
            (select m.recorded_at from stock_movements m
             where m.shop_id = l.shop_id and m.sku_id = l.sku_id order by m.id desc limit 1),
            (select o.recorded_at from order_lines ol
             join orders o on o.shop_id = ol.shop_id and o.id = ol.order_id
             where ol.shop_id = l.shop_id and ol.sku_id = l.sku_id order by ol.id desc limit 1),
            (select w.outcome_at from listing_writes w
             where w.shop_id = l.shop_id and w.listing_id = l.id order by w.id desc limit 1)
        )) as since
        from (
            select t.shop_id, t.id, t.sku_id, t.published_at from listings t
            where c.write_mode = 'live' and t.shop_id = c.shop_id and t.connection_id = c.id
            and t.publishing = 'on' and listing_differs(t.desired_units - t.short_units, t.published_units)
            and t.push_problem is null
            and not exists (
                select from listing_writes o
                where o.shop_id = t.shop_id and o.listing_id = t.id and o.outcome is null
            )
            order by t.id limit 200
        ) l
    ) unpushed on true
), judged as (
    select
        f.*,
        least(f.oldest_received_at, f.oldest_planned_at, f.oldest_unpushed_at) as behind_since,
        greatest(f.last_event_at, f.last_confirmed_at, f.last_answer_at) as last_heard_at,
        case when f.guarantee_class = 'B' then interval '15 minutes' else interval '2 minutes' end as lag_allowed,
        interval '30 minutes' as silence_allowed
    from facts f
)
select
    j.shop_id, j.connection_id, j.name, j.vendor, j.guarantee_class, j.switch, j.last_error, j.last_error_at,
    j.orders_polled_to, j.catalogue_read_at, j.last_event_at, j.last_confirmed_at, j.last_answer_at, j.last_heard_at,
    j.received, j.waiting, j.parked, j.listings, j.listings_in_step, j.listings_to_push, j.listings_refused,
    j.listings_off, j.open_writes, j.doubtful_writes, j.behind_since,
    case
        when j.switch = 'paused' or j.last_heard_at is null then null
        when j.behind_since is null and now() - j.last_heard_at > j.silence_allowed then null
        else extract(epoch from greatest(now() - coalesce(j.behind_since, now()), interval '0'))
    end::float8 as lag_seconds,
    extract(epoch from j.lag_allowed)::float8 as lag_allowed_seconds,
    extract(epoch from j.silence_allowed)::float8 as silence_allowed_seconds,
    case
        when j.switch = 'paused' then 'paused'
        when j.last_heard_at is null then 'unknown'
        when now() - j.behind_since > j.lag_allowed then 'behind'
        when now() - j.last_heard_at > j.silence_allowed then 'unknown'
        when j.last_error_at > coalesce(j.last_answer_at, '-infinity') then 'attention'
        when j.parked > 0 or j.listings_refused > 0 or j.doubtful_writes > 0 then 'attention'
        when j.untold_topics > 0 or j.fell_forward then 'attention'
        else 'in_step'
    end as state,
    now() as as_of, j.write_mode, j.untold_topics, j.fell_forward
from judged j;

-- What a connection should be told of by itself and is not; topics that are merely advised are left out.
--   missing, refused   topics;  since  when the first of them was found gone, null where none ever stood
create view untold_topics with (security_invoker = true) as
select
    s.shop_id, s.connection_id, c.name as connection, count(*) filter (where s.state = 'missing') as missing,
    count(*) filter (where s.state = 'refused') as refused, min(s.missed_at) as since, max(s.checked_at) as checked_at,
    min(s.topic) as example, min(s.problem) as problem
from channel_subscriptions s join connections c on c.shop_id = s.shop_id and c.id = s.connection_id
where s.state <> 'standing' and not s.is_advised group by 1, 2, 3;

create view fallen_forward with (security_invoker = true) as
select
    v.shop_id, v.connection_id, c.name as connection, v.asked_version, v.answered_version, v.answered_at
from connection_versions v join connections c on c.shop_id = v.shop_id and c.id = v.connection_id
where v.fell_forward;
