-- A sync run may be stopped by a person, says what it is done again for, and how fast it was lately: two marks, at most a
-- minute old, of how far it had come. `done` and `failed` are told by whoever ran it, `cancelled` by whoever stopped.
alter table sync_runs
    add column retry_of bigint,
    add column cancel_asked_at timestamp with time zone,
    add column cancel_asked_by text,
    add column cancel_reason text,
    add column window_at timestamp with time zone,
    add column window_done integer,
    add column mark_at timestamp with time zone,
    add column mark_done integer,
    drop constraint ck_sync_runs_state,
    add constraint ck_sync_runs_state check (state in ('queued', 'running', 'done', 'failed', 'cancelled')),
    add constraint ck_sync_runs_cancel_is_signed check (
        (cancel_asked_at is null) = (cancel_asked_by is null) and (cancel_asked_at is null) = (cancel_reason is null)
        and (state <> 'cancelled' or cancel_asked_at is not null)
    );
comment on column sync_runs.retry_of is 'the failed run that it does again';
comment on column sync_runs.window_at is 'a moment half a minute to a minute ago, for the rate';
comment on column sync_runs.window_done is 'and how far it was then';
comment on column sync_runs.mark_at is 'the next such moment';
create index ix_sync_runs_shop_id_kind_id on sync_runs (shop_id, kind, id);
create index ix_sync_runs_unhappy on sync_runs (shop_id, state, id) where state in ('failed', 'cancelled');

-- Which sync run a job belongs to, and what came of it in the world: never mixed with whether it ran.
alter table job_runs
    add column sync_run_id bigint,
    add column business text,
    add constraint ck_job_runs_business check (business in ('worked', 'nothing', 'refused', 'waits', 'off'));
comment on column job_runs.sync_run_id is 'also of a run that found nothing, and so has no row of its own';
comment on column job_runs.business is 'what came of a job that finished; null where it did not';
create index ix_job_runs_sync_run_id on job_runs (sync_run_id) where sync_run_id is not null;

-- How each kind of sync of each connection stands: one row, whatever runs how often.
create table sync_health (
    shop_id bigint not null,
    connection_id bigint not null,
    kind text not null,
    last_turn_at timestamp with time zone not null,
    last_success_at timestamp with time zone,
    last_work_at timestamp with time zone,
    last_failure_at timestamp with time zone,
    last_failure text,
    last_run_id bigint,
    last_seconds double precision not null,
    empty_turns bigint default 0 not null,
    failed_turns bigint default 0 not null,
    constraint pk_sync_health primary key (shop_id, connection_id, kind),
    constraint fk_sync_health_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id)
) with (fillfactor = 50);
comment on column sync_health.last_run_id is 'the last turn that has a row in sync_runs';
comment on column sync_health.empty_turns is 'in a row, since something was found';
comment on column sync_health.failed_turns is 'in a row, since one succeeded';

-- Turns counted by hour, by how they ended and how long they took: shares and percentiles of a week come from some
-- thousand rows, however many runs there were.
create table sync_tallies (
    shop_id bigint not null,
    connection_id bigint not null,
    kind text not null,
    hour_at timestamp with time zone not null,
    outcome text not null,
    slot smallint not null,
    turns bigint not null,
    seconds double precision not null,
    constraint pk_sync_tallies primary key (shop_id, connection_id, kind, hour_at, outcome, slot),
    constraint fk_sync_tallies_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_sync_tallies_outcome check (outcome in ('worked', 'nothing', 'refused', 'waits', 'off', 'failed'))
) with (fillfactor = 70);
comment on column sync_tallies.slot is 'how long they took: up to 0.05 s times 1.25 to the power of it';
comment on column sync_tallies.seconds is 'how long they took together';

-- A turn of a schedule: when it was due, whether the clock or a person asked, and how many turns had been missed before
-- it. `skipped`: the former one was still at work.
alter table schedule_runs
    add column due_at timestamp with time zone,
    add column trigger text default 'schedule' not null,
    add column requested_by text,
    add column reason text,
    add column missed integer default 0 not null,
    drop constraint ck_schedule_runs_outcome,
    add constraint ck_schedule_runs_outcome check (outcome in ('finished', 'failed', 'skipped')),
    add constraint ck_schedule_runs_trigger check (trigger in ('schedule', 'click')),
    add constraint ck_schedule_runs_click_is_signed check (
        (trigger = 'click') = (requested_by is not null) and (trigger = 'click') = (reason is not null)
    );
comment on column schedule_runs.missed is 'turns before this one that nobody ran; it is in their place';
create index ix_schedule_runs_open on schedule_runs (name) where outcome is null;

-- A turn that a person asked for. The row is the promise; the ring in Redis may be lost, and is repeated.
create table schedule_requests (
    shop_id bigint not null,
    id bigint generated always as identity,
    name text not null,
    requested_by text not null,
    reason text not null,
    requested_at timestamp with time zone not null,
    begun_at timestamp with time zone,
    constraint pk_schedule_requests primary key (shop_id, id),
    constraint fk_schedule_requests_shops_shop_id foreign key (shop_id) references shops (shop_id)
);
comment on column schedule_requests.begun_at is 'when its turn began; null while it waits';
create unique index uq_schedule_requests_waiting on schedule_requests (shop_id, name) where begun_at is null;

-- What a run did lately counts, not since it began: a first page that took long says nothing of the others. Unknown
-- while nothing was told for a minute, or for too short a time.
create or replace view sync_run_list with (security_invoker = true) as
select
    r.shop_id, r.id as sync_run_id, r.connection_id, c.name as connection, r.kind, r.trigger, r.requested_by, r.reason,
    r.state, r.step, r.done, r.total, r.counts, r.attempts, r.requested_at, r.started_at, r.heartbeat_at, r.ended_at,
    r.error, r.state in ('queued', 'running') as is_open,
    case when r.total > r.done and pace.per_second > 0 then (r.total - r.done) / pace.per_second end::float8
        as seconds_left,
    extract(epoch from now() - coalesce(r.heartbeat_at, r.started_at, r.requested_at))::float8 as quiet_seconds,
    pace.per_second * 60 as per_minute, r.retry_of, r.cancel_asked_at, r.cancel_asked_by, r.cancel_reason,
    extract(epoch from r.ended_at - coalesce(r.started_at, r.requested_at))::float8 as seconds
from sync_runs r
join connections c on c.shop_id = r.shop_id and c.id = r.connection_id
cross join lateral (
    select case
        when r.state = 'running' and r.heartbeat_at > now() - interval '1 minute'
            and coalesce(r.window_at, r.mark_at) < now() - interval '3 seconds'
        then greatest(r.done - coalesce(r.window_done, r.mark_done), 0)
            / extract(epoch from now() - coalesce(r.window_at, r.mark_at))
    end::float8 as per_second
) pace;

create view sync_health_list with (security_invoker = true) as
select
    h.shop_id, h.connection_id, c.name as connection, c.state as switch, h.kind, h.last_turn_at, h.last_success_at,
    h.last_work_at, h.last_failure_at, h.last_failure, h.last_run_id, h.last_seconds, h.empty_turns, h.failed_turns
from sync_health h
join connections c on c.shop_id = h.shop_id and c.id = h.connection_id;

create view sync_tally_list with (security_invoker = true) as
select shop_id, connection_id, kind, hour_at, outcome, slot, turns, seconds from sync_tallies;

-- Jobs of sync runs, and those of them that are at work now.
create view sync_run_jobs with (security_invoker = true) as
select
    s.shop_id, r.sync_run_id, r.id as job_run_id, r.job_ref, r.function, r.arguments, r.queue, r.worker, r.attempt,
    r.started_at, r.ended_at, r.outcome, r.business, r.result, r.error, r.fingerprint, r.traceback,
    extract(epoch from r.ended_at - r.started_at)::float8 as seconds
from job_runs r
join shops s on r.arguments ->> 'shop_id' = s.shop_id::text
where r.sync_run_id is not null;

create or replace view schedule_periods with (security_invoker = true) as
select
    s.shop_id, r.name, r.period, r.started_at, r.ended_at, r.outcome, r.result,
    r.due_at, r.trigger, r.requested_by, r.reason, r.missed
from schedule_runs r
join shops s on r.period !~ ':shop:[0-9]+$' or r.period like '%:shop:' || s.shop_id;

create view schedule_wishes with (security_invoker = true) as
select shop_id, id as request_id, name, requested_by, reason, requested_at from schedule_requests
where begun_at is null;

-- One that was skipped says nothing of what failed before it.
create or replace view failed_schedules with (security_invoker = true) as
select s.shop_id, r.name, r.period, r.started_at, r.ended_at, r.outcome, r.result ->> 'violations' as violations, r.result
from schedule_runs r
join shops s on r.period !~ ':shop:[0-9]+$' or r.period like '%:shop:' || s.shop_id
where (r.outcome = 'failed' or coalesce(r.result ->> 'violations', '0') <> '0')
and r.started_at > now() - interval '3 days'
and not exists (
    select from schedule_runs later
    where later.name = r.name and later.started_at > r.started_at and later.outcome in ('finished', 'failed')
    and substring(later.period from ':shop:[0-9]+$') is not distinct from substring(r.period from ':shop:[0-9]+$')
);

-- What lanes have done lately is told by the tallies of the inbox, one a batch, so that a backlog of any size is counted
-- in full: the messages themselves would have to be looked at one by one.
alter table tallies add column at timestamp with time zone;
comment on column tallies.at is 'of the inbox, for an hour: when; later to the minute';
create index ix_tallies_at on tallies (connection_id, at) where at is not null;

-- As before, and all that was done: an hour of it, not the last 4,000 messages. What came is still counted among the
-- 4,000 newest, and unknown (null) before them.
create or replace view job_lane_minutes with (security_invoker = true) as
with came as (
    select c.shop_id, c.id as connection_id, latest.received_at
    from connections c
    cross join lateral (
        select m.received_at from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id and m.received_at > now() - interval '1 hour'
        order by m.received_at desc limit 4000
    ) latest
), messages as (
    select connection_id, minute, sum(arrived) as arrived, sum(drained) as drained
    from (
        select connection_id, greatest(floor(extract(epoch from now() - received_at) / 60), 0)::int as minute,
            count(*) as arrived, 0 as drained
        from came group by 1, 2
        union all
        select t.connection_id, greatest(floor(extract(epoch from now() - t.at) / 60), 0)::int, 0, sum(t.events)
        from tallies t where t.kind = 'inbox' and t.at > now() - interval '1 hour' group by 1, 2
    ) counted
    group by 1, 2
), message_reach as (
    select
        connection_id,
        case when count(*) = 4000 then floor(extract(epoch from now() - min(received_at)) / 60)::int else 60 end
        as minutes
    from came group by 1
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
    select connection_id, minute, sum(sent) as sent, sum(settled) as settled
    from (
        select connection_id, floor(extract(epoch from now() - sent_at) / 60)::int as minute,
            count(*) as sent, 0 as settled
        from written where sent_at > now() - interval '1 hour' group by 1, 2
        union all
        select connection_id, floor(extract(epoch from now() - outcome_at) / 60)::int, 0, count(*)
        from written where outcome_at > now() - interval '1 hour' and sent_at is not null group by 1, 2
    ) counted
    group by 1, 2
)
select
    c.shop_id, c.id as connection_id, kinds.kind, step.minute,
    case
        when kinds.kind = 'events' and step.minute < coalesce(mr.minutes, 60) then coalesce(m.arrived, 0)
        when kinds.kind = 'stock-check' and step.minute < coalesce(wr.minutes, 60) then coalesce(w.sent, 0)
    end::bigint as arrived,
    case
        when kinds.kind = 'events' then coalesce(m.drained, 0)
        when kinds.kind = 'stock' and step.minute < coalesce(wr.minutes, 60) then coalesce(w.sent, 0)
        when kinds.kind = 'stock-check' and step.minute < coalesce(wr.minutes, 60) then coalesce(w.settled, 0)
    end::bigint as drained
from connections c
cross join (values ('events'), ('stock'), ('stock-check')) kinds(kind)
cross join generate_series(0, 59) step(minute)
left join messages m on m.connection_id = c.id and m.minute = step.minute
left join message_reach mr on mr.connection_id = c.id
left join writes w on w.connection_id = c.id and w.minute = step.minute
left join write_reach wr on wr.shop_id = c.shop_id;

-- Five minutes of each lane in steps of ten seconds, counted back from now: what the time left goes by. Where more came
-- in the last step than is looked at, it is what came in a part of it, times as much.
create view job_lane_steps with (security_invoker = true) as
with came as (
    select c.shop_id, c.id as connection_id, latest.received_at
    from connections c
    cross join lateral (
        select m.received_at from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id and m.received_at > now() - interval '5 minutes'
        order by m.received_at desc limit 4000
    ) latest
), reach as (
    select
        connection_id,
        case when count(*) = 4000 then greatest(extract(epoch from now() - min(received_at)) / 10, 0.001) else 30 end
        as steps
    from came group by 1
), arrived as (
    select connection_id, greatest(floor(extract(epoch from now() - received_at) / 10), 0)::int as step, count(*) as n
    from came group by 1, 2
), handled as (
    select t.connection_id, greatest(floor(extract(epoch from now() - t.at) / 10), 0)::int as step, sum(t.events) as n
    from tallies t where t.kind = 'inbox' and t.at > now() - interval '5 minutes' group by 1, 2
), written as (
    select w.* from shops s
    cross join lateral (
        select l.shop_id, l.connection_id, l.planned_at, l.sent_at, l.outcome_at from listing_writes l
        where l.shop_id = s.shop_id order by l.id desc limit 4000
    ) w
), write_reach as (
    select
        shop_id, case when count(*) = 4000 then extract(epoch from now() - min(planned_at)) / 10 else 30 end as steps
    from written group by 1
), sent as (
    select connection_id, floor(extract(epoch from now() - sent_at) / 10)::int as step, count(*) as n
    from written where sent_at > now() - interval '5 minutes' group by 1, 2
), settled as (
    select connection_id, floor(extract(epoch from now() - outcome_at) / 10)::int as step, count(*) as n
    from written where outcome_at > now() - interval '5 minutes' and sent_at is not null group by 1, 2
)
select
    c.shop_id, c.id as connection_id, kinds.kind, ago.step,
    case
        when kinds.kind = 'events' and ago.step = 0 and r.steps < 1 then round(4000 / r.steps)
        when kinds.kind = 'events' and ago.step < coalesce(floor(r.steps), 30) then coalesce(a.n, 0)
        when kinds.kind = 'stock-check' and ago.step < coalesce(wr.steps, 30) then coalesce(s.n, 0)
    end::bigint as arrived,
    case
        when kinds.kind = 'events' then coalesce(h.n, 0)
        when kinds.kind = 'stock' and ago.step < coalesce(wr.steps, 30) then coalesce(s.n, 0)
        when kinds.kind = 'stock-check' and ago.step < coalesce(wr.steps, 30) then coalesce(d.n, 0)
    end::bigint as drained
from connections c
cross join (values ('events'), ('stock'), ('stock-check')) kinds(kind)
cross join generate_series(0, 29) ago(step)
left join reach r on r.connection_id = c.id
left join arrived a on a.connection_id = c.id and a.step = ago.step
left join handled h on h.connection_id = c.id and h.step = ago.step
left join write_reach wr on wr.shop_id = c.shop_id
left join sent s on s.connection_id = c.id and s.step = ago.step
left join settled d on d.connection_id = c.id and d.step = ago.step;

-- What needs somebody on the Overview, by cause: as before, but told from the failures on record, which hold what each
-- cause is of. From the runs themselves it took longer than a reader waits, with a hundred thousand of them.
create or replace view failed_jobs with (security_invoker = true) as
select
    k.shop_id, coalesce(r.fingerprint, r.outcome || ':' || r.function) as fingerprint, k.function, n.runs, n.since,
    n.last_at, r.error, c.name as connection
from (
    select f.shop_id, f.kind_id, count(*) as runs, min(f.at) as since, max(f.at) as last_at, max(f.item_id) as newest_id
    from failures f
    left join (
        select about.shop_id, about.subject, (
            select max(r.started_at) from job_runs r where r.subject = about.subject and r.outcome = 'finished'
        ) as done_at
        from (
            select distinct o.shop_id, o.subject from failures o
            where o.source = 'job' and o.state = 'open' and o.subject is not null
        ) about
    ) done on done.shop_id = f.shop_id and done.subject = f.subject
    where f.source = 'job' and f.state = 'open' and (done.done_at is null or f.at >= done.done_at)
    group by f.shop_id, f.kind_id
) n
join failure_kinds k on k.shop_id = n.shop_id and k.id = n.kind_id
join job_runs r on r.id = n.newest_id
left join connections c on c.shop_id = k.shop_id and c.id = k.connection_id;
