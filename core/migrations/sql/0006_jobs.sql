-- A failed run keeps where it broke, and what was done about it. `subject` is what a run was about: the same function
-- for the same shop and connection. A later success about the same subject makes a failure moot, since jobs are rings.
alter table job_runs
    add column traceback text,
    add column resolution text,
    add column resolved_at timestamp with time zone,
    add column resolved_by text,
    add column resolved_reason text,
    add column requeued_as text,
    add column subject text generated always as (
        function || ':' || coalesce(arguments ->> 'shop_id', '') || ':' || coalesce(arguments ->> 'connection_id', '')
    ) stored,
    add constraint ck_job_runs_resolution check (resolution in ('requeued', 'discarded', 'superseded')),
    add constraint ck_job_runs_resolved_is_signed check (
        (resolution is null) = (resolved_at is null)
        and (resolution is null) = (resolved_by is null)
        and (resolution is null) = (resolved_reason is null)
        and (resolution is not distinct from 'requeued') = (requeued_as is not null)
    );
comment on column job_runs.traceback is 'where it broke, without values';
comment on column job_runs.resolution is 'what was done about the failure; null while nobody did anything';
comment on column job_runs.resolved_by is 'a person, or the sweep for superseded';
comment on column job_runs.requeued_as is 'RQ''s id of the job that does it again';
comment on column job_runs.subject is 'function, shop, connection: a later success of it makes a failure moot';
drop index ix_job_runs_finished;
create index ix_job_runs_finished on job_runs (subject, started_at) where outcome = 'finished';
create index ix_job_runs_job_ref on job_runs (job_ref, id);
create index ix_job_runs_unresolved on job_runs (id) where outcome in ('failed', 'abandoned') and resolution is null;
create index ix_job_runs_resolved on job_runs (resolution, id) where resolution is not null;

-- Work that a person asked to have done again. The row is the promise; the job in Redis is only its ring, and the sweep
-- rings again for every row that no run answers to.
create table job_requeues (
    shop_id bigint not null,
    job_ref text not null,
    function text not null,
    arguments jsonb not null,
    requested_by text not null,
    reason text not null,
    requested_at timestamp with time zone not null,
    constraint pk_job_requeues primary key (shop_id, job_ref),
    constraint fk_job_requeues_shops_shop_id foreign key (shop_id) references shops (shop_id)
);
comment on column job_requeues.job_ref is 'RQ''s id of the job, named after the newest failure that it makes good';
create index ix_job_requeues_requested_at on job_requeues (requested_at);

-- A parked message that a person gave up on stays where it is, with who and why; its cause and body stay too.
alter table inbox_messages
    add column discarded_by text,
    add column discarded_reason text,
    drop constraint ck_inbox_messages_state,
    add constraint ck_inbox_messages_state
        check (state in ('received', 'handled', 'waiting', 'ignored', 'parked', 'discarded')),
    add constraint ck_inbox_messages_discarded_is_signed check (
        (state = 'discarded') = (discarded_by is not null) and (state = 'discarded') = (discarded_reason is not null)
        and (state <> 'discarded' or cause is not null)
    );
comment on column inbox_messages.discarded_by is 'who gave it up';
comment on column inbox_messages.discarded_reason is 'and why';
comment on column inbox_messages.settled_at is 'when it was handled, ignored, parked or discarded';
create index ix_inbox_messages_discarded on inbox_messages (shop_id, connection_id, id) where state = 'discarded';

-- Each shop's failed jobs, one row for a job: its latest run, where that failed. A job that names no shop concerns every
-- shop. Open: nothing was done about it, and no later run about the same subject succeeded.
create view job_failures with (security_invoker = true) as
select
    s.shop_id, r.id as run_id, r.job_ref, r.function, r.queue, r.worker, r.arguments, r.attempt, r.started_at,
    r.ended_at, r.outcome, r.error, r.traceback, r.resolved_at, r.resolved_by, r.resolved_reason, r.requeued_as,
    r.resolution, answer.outcome as requeued_outcome, c.id as connection_id, c.name as connection,
    coalesce(r.fingerprint, r.outcome || ':' || r.function) as cause,
    coalesce(r.resolution, case when exists (
        select from job_runs later
        where later.subject = r.subject and later.outcome = 'finished' and later.started_at > r.started_at
    ) then 'superseded' else 'open' end) as state
from job_runs r
join shops s on r.arguments ->> 'shop_id' is null or r.arguments ->> 'shop_id' = s.shop_id::text
left join connections c on c.shop_id = s.shop_id and c.id::text = r.arguments ->> 'connection_id'
left join lateral (
    select coalesce(a.outcome, 'running') as outcome from job_runs a
    where a.job_ref = r.requeued_as order by a.id desc limit 1
) answer on true
where r.outcome in ('failed', 'abandoned')
and not exists (select from job_runs later where later.job_ref = r.job_ref and later.id > r.id);

-- The open ones by cause.
create view job_failure_causes with (security_invoker = true) as
with unresolved as (
    -- By themselves first: few, and found through their own index.
    select id from job_runs where outcome in ('failed', 'abandoned') and resolution is null
)
select
    f.shop_id, f.cause, f.function, count(*) as jobs, count(distinct f.arguments) as works,
    min(f.started_at) as since, max(f.started_at) as last_at,
    count(distinct f.connection_id) as connections, min(f.connection) as connection,
    (array_agg(f.error order by f.run_id desc))[1] as error
from unresolved u
join job_failures f on f.run_id = u.id
where f.state = 'open'
group by f.shop_id, f.cause, f.function;

-- What needs somebody on the Overview: as before, less what somebody has dealt with.
create or replace view failed_jobs with (security_invoker = true) as
select
    f.shop_id, f.cause as fingerprint, f.function, f.jobs as runs, f.since, f.last_at, f.error
from job_failure_causes f;

create view discarded_messages with (security_invoker = true) as
select
    m.shop_id, m.connection_id, c.name as connection, m.cause, m.id as message_id, m.topic, m.received_at, m.settled_at,
    m.detail, m.discarded_by, m.discarded_reason
from inbox_messages m
join connections c on c.shop_id = m.shop_id and c.id = m.connection_id
where m.state = 'discarded';

-- Every run of a job, for the history of one failure and the count of an hour.
create view job_attempts with (security_invoker = true) as
select
    s.shop_id, r.id as run_id, r.job_ref, r.attempt, r.worker, r.started_at, r.ended_at, r.outcome, r.error
from job_runs r
join shops s on r.arguments ->> 'shop_id' is null or r.arguments ->> 'shop_id' = s.shop_id::text;

-- The periods of schedules, as far as they concern a shop: a period may be one shop's, and says so at its end.
create view schedule_periods with (security_invoker = true) as
select s.shop_id, r.name, r.period, r.started_at, r.ended_at, r.outcome, r.result
from schedule_runs r
join shops s on r.period !~ ':shop:[0-9]+$' or r.period like '%:shop:' || s.shop_id;

create view schedule_switches with (security_invoker = true) as
select s.shop_id, p.name, p.is_paused, p.changed_by, p.changed_at
from schedules p cross join shops s;

-- Since when a listing may differ from what it should show: a listing carries no such time, so the last thing that could
-- have changed it stands in.
create function listing_changed_at(shop bigint, listing bigint, sku bigint, seen_at timestamp with time zone)
returns timestamp with time zone language sql stable as $$
    select greatest(
        seen_at,
        (select m.recorded_at from stock_movements m
         where m.shop_id = shop and m.sku_id = sku order by m.id desc limit 1),
        (select o.recorded_at from order_lines ol join orders o on o.shop_id = ol.shop_id and o.id = ol.order_id
         where ol.shop_id = shop and ol.sku_id = sku order by ol.id desc limit 1),
        (select w.outcome_at from listing_writes w
         where w.shop_id = shop and w.listing_id = listing order by w.id desc limit 1)
    )
$$;

-- What waits in each lane (a connection and a kind of work): messages to handle, quantities to write, writes to check.
create view job_lanes with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.name as connection, c.state as switch, lane.kind, lane.waiting, lane.oldest_at,
    now() as as_of
from connections c
cross join lateral (
    select
        'events' as kind, count(*) as waiting,
        (select o.received_at from inbox_messages o
         where o.shop_id = c.shop_id and o.connection_id = c.id and o.state = 'received' order by o.id limit 1)
        as oldest_at
    from inbox_messages m
    where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received'
    union all
    select
        'stock', count(*),
        min(case when l.place <= 200 then listing_changed_at(l.shop_id, l.id, l.sku_id, l.published_at) end)
    from (
        select t.*, row_number() over (order by t.id) as place from listings t
        where t.shop_id = c.shop_id and t.connection_id = c.id and t.is_to_push and t.push_problem is null
        and listing_differs(t.desired_units - t.short_units, t.published_units)
        and not exists (
            select from listing_writes w where w.shop_id = t.shop_id and w.listing_id = t.id and w.outcome is null
        )
    ) l
    union all
    select 'stock-check', count(*), min(w.sent_at)
    from listing_writes w
    where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome is null and w.sent_at is not null
) lane;

-- An hour of each lane by the minute, counted back from now (0 is the last minute): what came in and what was done.
-- At most the last 4,000 messages, those around the oldest that waits, and the last 4,000 writes of a shop are looked at:
-- a minute from before them is unknown (null), not zero. Quantities to write have no arrival: they are a level, and a
-- thousand changes may be one write.
create view job_lane_minutes with (security_invoker = true) as
with came as (
    select
        c.shop_id, c.id as connection_id, latest.id, latest.received_at, latest.settled_at, latest.is_new
    from connections c
    left join lateral (
        select m.received_at from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received' order by m.id limit 1
    ) head on true
    cross join lateral (
        (select m.id, m.received_at, m.settled_at, true as is_new from inbox_messages m
         where m.shop_id = c.shop_id and m.connection_id = c.id and m.received_at > now() - interval '1 hour'
         order by m.received_at desc limit 4000)
        union all
        -- A backlog: what is being done now came in before the hour, or before the 4,000 newest.
        (select m.id, m.received_at, m.settled_at, false from inbox_messages m
         where m.shop_id = c.shop_id and m.connection_id = c.id and m.received_at <= head.received_at
         order by m.received_at desc limit 4000)
    ) latest
), messages as (
    select shop_id, connection_id, minute, sum(arrived) as arrived, sum(drained) as drained
    from (
        select shop_id, connection_id, floor(extract(epoch from now() - received_at) / 60)::int as minute,
            count(*) as arrived, 0 as drained
        from came where is_new group by 1, 2, 3
        union all
        -- One may be both among the newest and before the head: it is counted once.
        select shop_id, connection_id, floor(extract(epoch from now() - settled_at) / 60)::int, 0, count(distinct id)
        from came where settled_at > now() - interval '1 hour' group by 1, 2, 3
    ) counted
    group by 1, 2, 3
), message_reach as (
    select
        shop_id, connection_id,
        case when count(*) filter (where is_new) = 4000
            then floor(extract(epoch from now() - min(received_at) filter (where is_new)) / 60)::int else 60
        end as minutes
    from came group by 1, 2
), written as (
    select w.* from shops s
    cross join lateral (
        select l.shop_id, l.connection_id, l.planned_at, l.sent_at, l.outcome_at from listing_writes l
        where l.shop_id = s.shop_id order by l.id desc limit 4000
    ) w
), write_reach as (
    select
        shop_id,
        case when count(*) = 4000 then floor(extract(epoch from now() - min(planned_at)) / 60)::int else 60 end as minutes
    from written group by 1
), writes as (
    select shop_id, connection_id, minute, sum(sent) as sent, sum(settled) as settled
    from (
        select shop_id, connection_id, floor(extract(epoch from now() - sent_at) / 60)::int as minute,
            count(*) as sent, 0 as settled
        from written where sent_at > now() - interval '1 hour' group by 1, 2, 3
        union all
        select shop_id, connection_id, floor(extract(epoch from now() - outcome_at) / 60)::int, 0, count(*)
        from written where outcome_at > now() - interval '1 hour' and sent_at is not null group by 1, 2, 3
    ) counted
    group by 1, 2, 3
)
select
    c.shop_id, c.id as connection_id, kinds.kind, step.minute,
    case
        when kinds.kind = 'events' and step.minute < coalesce(mr.minutes, 60) then coalesce(m.arrived, 0)
        when kinds.kind = 'stock-check' and step.minute < coalesce(wr.minutes, 60) then coalesce(w.sent, 0)
    end::bigint as arrived,
    case
        when kinds.kind = 'events' and step.minute < coalesce(mr.minutes, 60) then coalesce(m.drained, 0)
        when kinds.kind = 'stock' and step.minute < coalesce(wr.minutes, 60) then coalesce(w.sent, 0)
        when kinds.kind = 'stock-check' and step.minute < coalesce(wr.minutes, 60) then coalesce(w.settled, 0)
    end::bigint as drained
from connections c
cross join (values ('events'), ('stock'), ('stock-check')) kinds(kind)
cross join generate_series(0, 59) step(minute)
left join messages m on m.shop_id = c.shop_id and m.connection_id = c.id and m.minute = step.minute
left join message_reach mr on mr.shop_id = c.shop_id and mr.connection_id = c.id
left join writes w on w.shop_id = c.shop_id and w.connection_id = c.id and w.minute = step.minute
left join write_reach wr on wr.shop_id = c.shop_id;
