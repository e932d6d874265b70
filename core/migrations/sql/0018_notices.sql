-- Queues that channels put their notifications into.

-- A third road into the inbox.
alter table inbox_messages drop constraint ck_inbox_messages_road;
alter table inbox_messages add constraint ck_inbox_messages_road check (road in ('webhook', 'poll', 'queue'));
comment on column inbox_messages.road is 'webhook, poll or queue';

create table channel_mailboxes (
    shop_id bigint not null,
    connection_id bigint not null,
    read_at timestamptz,
    came_at timestamptz,
    problem text,
    problem_at timestamptz,
    constraint pk_channel_mailboxes primary key (shop_id, connection_id),
    constraint fk_channel_mailboxes_shop_id_connection_id_connections foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_channel_mailboxes_problem check ((problem is null) = (problem_at is null))
);
comment on table channel_mailboxes is 'a queue that a channel puts its notifications into: how reading it went';
comment on column channel_mailboxes.read_at is 'when it last answered us';
comment on column channel_mailboxes.came_at is 'when a message of it was last recorded';
comment on column channel_mailboxes.problem is 'why it cannot be read now, and what to do; null: it can';
comment on column channel_mailboxes.problem_at is 'since when';

create table channel_notices (
    shop_id bigint not null,
    connection_id bigint not null,
    hour_at timestamptz not null,
    topic text not null,
    messages bigint not null,
    constraint pk_channel_notices primary key (shop_id, connection_id, hour_at, topic),
    constraint fk_channel_notices_shop_id_connection_id_connections foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_channel_notices_messages check (messages > 0)
);
comment on table channel_notices is 'how many messages came out of a mailbox, by hour and topic; none twice';

-- A queue and what came through it, for each connection that has one.
--   read_at, came_at      when it last answered, and when a message last came
--   problem, problem_at   why it cannot be read now, and since when
--   messages_day          messages of the last 24 hours, hour by hour
create view connection_mailboxes with (security_invoker = true) as
select
    q.shop_id, q.connection_id, q.read_at, q.came_at, q.problem, q.problem_at,
    coalesce((
        select sum(n.messages) from channel_notices n
        where n.shop_id = q.shop_id and n.connection_id = q.connection_id
            and n.hour_at > now() - interval '24 hours'
    ), 0)::bigint as messages_day,
    now() as as_of
from channel_mailboxes q join connections c on c.shop_id = q.shop_id and c.id = q.connection_id
where c.settings ->> 'queue_url' is not null;

-- The same by topic, the most frequent first by messages_day.
create view connection_notices with (security_invoker = true) as
select n.shop_id, n.connection_id, n.topic, sum(n.messages)::bigint as messages_day, max(n.hour_at) as last_hour_at
from channel_notices n where n.hour_at > now() - interval '24 hours' group by 1, 2, 3;

-- As before, with what keeps the queue of notifications from being read. What the queue's own service answers is no
-- answer of the channel's.
create or replace view connection_health with (security_invoker = true) as
with facts as (
    select
        c.shop_id, c.id as connection_id, c.name, c.vendor, c.guarantee_class, c.state as switch,
        c.write_mode, coalesce(q.problem, c.last_error) as last_error,
        coalesce(q.problem_at, c.last_error_at) as last_error_at, q.problem is not null as is_cut_off, c.orders_polled_to, c.catalogue_read_at,
        event.received_at as last_event_at, confirmed.outcome_at as last_confirmed_at, answer.called_at as last_answer_at,
        inbox.received, inbox.waiting, inbox.parked, oldest.received_at as oldest_received_at,
        shown.listings, shown.listings_in_step, shown.listings_to_push, shown.listings_refused, shown.listings_off,
        writes.open_writes, writes.doubtful_writes, writes.oldest_planned_at, unpushed.since as oldest_unpushed_at,
        (select count(*) from channel_subscriptions s
         where s.shop_id = c.shop_id and s.connection_id = c.id and s.state <> 'standing' and not s.is_advised)
            as untold_topics,
        coalesce(said.fell_forward, false) as fell_forward
    from connections c
    left join channel_mailboxes q on q.shop_id = c.shop_id and q.connection_id = c.id
        and c.settings ->> 'queue_url' is not null
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
            where a.shop_id = c.shop_id and a.connection_id = c.id and a.operation not like 'sqs.%'
            order by a.called_at desc limit 500
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
            min(w.planned_at) filter (where w.doubt is null
                -- Whether it landed may never be known, and nobody waits for it: the listing shows what it should.
                and not (w.accepted_at is not null and w.from_units is null and exists (
                    select from listings q where q.shop_id = w.shop_id and q.id = w.listing_id
                        and q.published_at > w.sent_at and q.unseen_units = 0
                        and not listing_differs(q.desired_units - q.short_units, q.published_units)))
            ) as oldest_planned_at
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
        when j.is_cut_off then 'attention'
        when j.parked > 0 or j.listings_refused > 0 or j.doubtful_writes > 0 then 'attention'
        when j.untold_topics > 0 or j.fell_forward then 'attention'
        else 'in_step'
    end as state,
    now() as as_of, j.write_mode, j.untold_topics, j.fell_forward
from judged j;

-- A third kind of alert: a credential that ends. It needs no limit either, and closes when it has been replaced.
alter table alerts drop constraint ck_alerts_kind;
alter table alerts add constraint ck_alerts_kind
    check (kind in ('exposure', 'stuck_change', 'slow_feed', 'unshown_feed', 'unconfirmed_shipment', 'credential'));
alter table alerts drop constraint ck_alerts_closed_because;
alter table alerts add constraint ck_alerts_closed_because check (closed_because in ('below', 'off', 'replaced'));

-- Connections with a credential that ends, and has not been replaced yet: why, in a sentence, and since when it is known.
create view ending_credentials with (security_invoker = true) as
select a.shop_id, c.id as connection_id, c.name as connection, c.vendor, a.worst_skus -> 0 ->> 'why' as why,
    a.opened_at as since
from alerts a join connections c on c.shop_id = a.shop_id and a.fingerprint = 'credential:' || c.id
where a.kind = 'credential' and a.closed_at is null;
