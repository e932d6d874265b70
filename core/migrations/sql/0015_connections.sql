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
