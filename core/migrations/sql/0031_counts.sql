-- How much is open of each cause is counted by whatever changes it: each statement adds what it changed as a row of its
-- own, so that nobody waits for anybody, and a sweep sums them up.

-- A run that was put off, or that somebody had switched off, ended without doing anything: what failed before is still open.
create function did_its_work(outcome text, business text) returns boolean language sql immutable parallel safe as $$
    select outcome = 'finished' and business is distinct from 'off' and business is distinct from 'waits'
$$;
drop index ix_job_runs_finished;
create index ix_job_runs_done on job_runs (subject, started_at)
    where outcome = 'finished' and business is distinct from 'off' and business is distinct from 'waits';

-- Whether a job's failure is moot stands with it, as a message's does: the one who fails and the one who succeeds both
-- look, and what neither could see of the other the sweep closes.
alter table failures add column is_parked boolean not null default false;
comment on column failures.is_moot is 'whether a later run did its work, or a later message told what it says';
comment on column failures.is_parked is 'of a message: whether it is parked still, also while a recovery has not begun it';

update failures f set is_parked = true from inbox_messages m
where f.source = 'message' and m.shop_id = f.shop_id and m.id = f.item_id and m.state = 'parked';
update failures f set is_moot = true
where f.source = 'job' and f.state = 'open' and exists (
    select from job_runs later
    where later.subject = f.subject and did_its_work(later.outcome, later.business) and later.started_at > f.at
);

create table failure_tallies (
    id bigint generated always as identity,
    shop_id bigint not null,
    kind_id bigint not null,
    hour_at timestamp with time zone,
    failed integer not null default 0,
    settled integer not null default 0,
    open integer not null default 0,
    moot integer not null default 0,
    parked integer not null default 0,
    constraint pk_failure_tallies primary key (shop_id, id),
    constraint fk_failure_tallies_failure_kinds_shop_id_kind_id foreign key (shop_id, kind_id)
        references failure_kinds (shop_id, id)
);
comment on table failure_tallies is 'what changed in how much has failed of each cause; summed up by and by: add them all';
comment on column failure_tallies.hour_at is 'the hour of the failures, or of their settling; null: longer ago';
comment on column failure_tallies.failed is 'how many failed in the hour, whatever became of them; known for a day';
comment on column failure_tallies.settled is 'how many were requeued or made good in the hour; known for a day';
comment on column failure_tallies.open is 'how many of them are open';
comment on column failure_tallies.moot is 'and how many of those are moot';
comment on column failure_tallies.parked is 'how many of them are messages that are parked';
create index ix_failure_tallies_shop_id_kind_id on failure_tallies (shop_id, kind_id);

drop index ix_failures_open;
drop index ix_failures_subject;
create index ix_failures_state on failures (shop_id, state, at, item_id);
create index ix_failures_kind_at on failures (shop_id, kind_id, at, item_id);
create index ix_failures_needed on failures (shop_id, kind_id, at, item_id) where state = 'open' and not is_moot;
create index ix_failures_works on failures (shop_id, kind_id, work_key) where state = 'open' and source = 'job';
create index ix_failures_subject on failures (subject, at)
    where state = 'open' and source = 'job' and not is_moot and subject is not null;
create index ix_inbox_messages_parked_cause on inbox_messages (shop_id, connection_id, cause, received_at, id)
    where state = 'parked';

-- What a failure counts as: in the hour in which it failed, and in the one in which it was settled.
create function failure_counts(
    state text, at timestamp with time zone, state_at timestamp with time zone, is_moot boolean, is_parked boolean
) returns table (
    hour_at timestamp with time zone, failed integer, settled integer, open integer, moot integer, parked integer
) language sql immutable parallel safe as $$
    values
        (date_bin('1 hour', at, 'epoch'), 1, 0, (state = 'open')::int, (state = 'open' and is_moot)::int,
         is_parked::int),
        (date_bin('1 hour', state_at, 'epoch'), 0, (state in ('requeued', 'superseded'))::int, 0, 0, 0)
$$;

insert into failure_tallies (shop_id, kind_id, hour_at, failed, settled, open, moot, parked)
select f.shop_id, f.kind_id, c.hour_at, sum(c.failed), sum(c.settled), sum(c.open), sum(c.moot), sum(c.parked)
from failures f cross join lateral failure_counts(f.state, f.at, f.state_at, f.is_moot, f.is_parked) c
group by 1, 2, 3
having (sum(c.failed), sum(c.settled), sum(c.parked)) <> (0, 0, 0);

create function tally_failures() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into failure_tallies (shop_id, kind_id, hour_at, failed, settled, open, moot, parked)
        select f.shop_id, f.kind_id, c.hour_at, sum(c.failed), sum(c.settled), sum(c.open), sum(c.moot), sum(c.parked)
        from is_now f cross join lateral failure_counts(f.state, f.at, f.state_at, f.is_moot, f.is_parked) c
        group by 1, 2, 3
        having (sum(c.failed), sum(c.settled), sum(c.parked)) <> (0, 0, 0);
    elsif tg_op = 'DELETE' then
        insert into failure_tallies (shop_id, kind_id, hour_at, failed, settled, open, moot, parked)
        select
            f.shop_id, f.kind_id, c.hour_at, -sum(c.failed), -sum(c.settled), -sum(c.open), -sum(c.moot), -sum(c.parked)
        from was f cross join lateral failure_counts(f.state, f.at, f.state_at, f.is_moot, f.is_parked) c
        group by 1, 2, 3
        having (sum(c.failed), sum(c.settled), sum(c.parked)) <> (0, 0, 0);
    else
        insert into failure_tallies (shop_id, kind_id, hour_at, failed, settled, open, moot, parked)
        select
            f.shop_id, f.kind_id, c.hour_at, sum(f.sign * c.failed), sum(f.sign * c.settled), sum(f.sign * c.open),
            sum(f.sign * c.moot), sum(f.sign * c.parked)
        from (
            select n.shop_id, n.kind_id, n.state, n.at, n.state_at, n.is_moot, n.is_parked, 1 as sign from is_now n
            union all
            select w.shop_id, w.kind_id, w.state, w.at, w.state_at, w.is_moot, w.is_parked, -1 from was w
        ) f
        cross join lateral failure_counts(f.state, f.at, f.state_at, f.is_moot, f.is_parked) c
        group by 1, 2, 3
        having (
            sum(f.sign * c.failed), sum(f.sign * c.settled), sum(f.sign * c.open), sum(f.sign * c.moot),
            sum(f.sign * c.parked)
        ) <> (0, 0, 0, 0, 0);
    end if;
    return null;
end $$;
create trigger tallied_added after insert on failures referencing new table as is_now
    for each statement execute function tally_failures();
create trigger tallied_changed after update on failures referencing old table as was new table as is_now
    for each statement execute function tally_failures();
create trigger tallied_gone after delete on failures referencing old table as was
    for each statement execute function tally_failures();

-- Of a job that failed, or whose failure is open again: whether a later run has done its work.
create function judge_failed_job() returns trigger language plpgsql as $$
begin
    new.is_moot := exists (
        select from job_runs later
        where later.subject = new.subject and did_its_work(later.outcome, later.business) and later.started_at > new.at
    );
    return new;
end $$;
create trigger judged before insert or update of state, at on failures
    for each row when (new.source = 'job' and new.state = 'open') execute function judge_failed_job();

-- The failures whose work has just been done. One that somebody is at is left to the sweep, which closes what is moot:
-- so that who ends a job waits for nobody; and no more of them than the end of a job may take the time for.
create function moot_failures(subjects text[], begun_at timestamp with time zone[]) returns void language sql as $$
    update failures f set is_moot = true
    from (
        select o.shop_id, o.source, o.item_id
        from unnest(subjects, begun_at) as done (subject, begun_at)
        join failures o on o.subject = done.subject and o.at < done.begun_at
            and o.state = 'open' and o.source = 'job' and not o.is_moot
        order by o.shop_id, o.item_id limit 1000 for update of o skip locked
    ) moot
    where f.shop_id = moot.shop_id and f.source = moot.source and f.item_id = moot.item_id
$$;

-- As before, and a message stands as parked.
create or replace function file_failure(
    shop bigint, of_source text, item bigint, kind bigint, work uuid, ref text, about text,
    failed_at timestamp with time zone, tries integer
) returns void language sql as $$
    insert into failures as f
        (shop_id, source, item_id, kind_id, work_key, job_ref, subject, at, attempts, state_at, is_parked)
    values (shop, of_source, item, kind, work, ref, about, failed_at, tries, failed_at, of_source = 'message')
    on conflict (shop_id, source, item_id) do update set kind_id = excluded.kind_id, at = excluded.at,
        attempts = excluded.attempts, state = 'open', state_at = excluded.at, is_parked = excluded.is_parked
$$;

-- As before, and one that ended well makes moot what failed of the same work.
create or replace function follow_added_runs() returns trigger language plpgsql as $$
declare
    failed bigint[];
    done text[];
    begun timestamp with time zone[];
begin
    update failures f set state = 'superseded', state_at = n.started_at
    from added n where f.job_ref = n.job_ref and f.state = 'open' and f.source = 'job' and f.item_id < n.id;
    select array_agg(n.id order by n.id) into failed
    from added n where n.outcome in ('failed', 'abandoned') and n.resolution is null;
    if failed is not null then
        perform file_job_failures(failed);
    end if;
    select array_agg(n.subject), array_agg(n.started_at) into done, begun from added n
    where did_its_work(n.outcome, n.business);
    if done is not null then
        perform moot_failures(done, begun);
    end if;
    return null;
end $$;

create or replace function follow_changed_runs() returns trigger language plpgsql as $$
declare
    failed bigint[];
    done text[];
    begun timestamp with time zone[];
begin
    select array_agg(n.id order by n.id) into failed from is_now n join was w using (id)
    where n.outcome in ('failed', 'abandoned') and n.outcome is distinct from w.outcome and n.resolution is null;
    if failed is not null then
        perform file_job_failures(failed);
    end if;
    -- What was taken for abandoned and then ended well was no failure; what was dealt with follows.
    update failures f set state = coalesce(n.resolution, 'superseded'),
        state_at = coalesce(n.resolved_at, n.ended_at)
    from is_now n join was w using (id)
    where f.source = 'job' and f.item_id = n.id and f.shop_id in (select s.shop_id from shops s)
    and (
        (w.outcome = 'abandoned' and n.outcome = 'finished')
        or (n.resolution is not null and n.resolution is distinct from w.resolution)
    );
    select array_agg(n.subject), array_agg(n.started_at) into done, begun from is_now n join was w using (id)
    where did_its_work(n.outcome, n.business) and w.outcome is distinct from 'finished';
    if done is not null then
        perform moot_failures(done, begun);
    end if;
    return null;
end $$;

-- As before, and a message that is dealt with is parked no longer.
create or replace function follow_message() returns trigger language plpgsql as $$
begin
    if new.state = 'parked' then
        perform file_failure(
            new.shop_id, 'message', new.id,
            failure_kind(new.shop_id, 'message', new.topic, new.cause, error_pattern(new.detail), new.connection_id),
            md5('message:' || new.id)::uuid, null, null, coalesce(new.settled_at, new.received_at), new.attempts
        );
    else
        update failures set state_at = coalesce(new.settled_at, now()), is_parked = false,
            state = case
                when new.state <> 'discarded' then 'requeued'
                when new.replaced_by is not null then 'superseded'
                else 'discarded'
            end
        where shop_id = new.shop_id and source = 'message' and item_id = new.id;
    end if;
    return null;
end $$;

-- How people see them ----------------------------------------------------------------------------------------------------

-- How much there is of each cause now: one row for each of which something is open or parked.
create view failure_standing with (security_invoker = true) as
select
    t.shop_id, t.kind_id, sum(t.open) as items, sum(t.moot) as moot, sum(t.parked) as parked
from failure_tallies t
group by t.shop_id, t.kind_id
having sum(t.open) > 0 or sum(t.parked) > 0;

-- A day of failures by the hour, the last 24 by the clock: when they failed, and when they were requeued or made good.
create view failures_by_hour with (security_invoker = true) as
select t.shop_id, t.hour_at, k.source, sum(t.failed) as failed, sum(t.settled) as settled
from failure_tallies t
join failure_kinds k on k.shop_id = t.shop_id and k.id = t.kind_id
where t.hour_at > now() - interval '24 hours' and t.hour_at <= now()
group by t.shop_id, t.hour_at, k.source;

-- Every cause there ever was; what its failures are found by.
create view failure_causes with (security_invoker = true) as
select shop_id, id as kind_id, key as group_key, source, function, error_class, message, connection_id
from failure_kinds;

-- One row for a cause with something open: counts are of now, what hangs on it as of `weighed_at`.
--   items, works      open failures, and by how many distinct repetitions they are made good
--   superseded        of the items: those that a later run or message has made moot; still_needed: the others
--   skus, orders, money   what they are about; for jobs what waits behind them (money: currency -> minor units)
--   hours             how many failed in each of the last 24 hours by the clock, oldest first, settled ones among them
-- What has to be looked up among the failures themselves is so for the rows that are shown, not for those sorted by.
drop view failure_groups;
drop function failure_next_step(text, text, text, bigint);
create function failure_next_step(source text, function text, error_class text)
returns text language sql immutable parallel safe as $$
    select case source
        when 'message' then case
            when error_class = 'unreadable' then 'Repair the data at the channel or mend the message, then requeue.'
            when error_class like 'unknown_order%' then 'The order it speaks of never came: sync the connection, then requeue.'
            when error_class like 'unknown_%' then 'What it speaks of never came: sync the connection, then requeue.'
            else 'Look at the example; when its cause is repaired, requeue.'
        end
        when 'outbox' then 'See that the address answers (Alerts, test), then requeue; or discard what is old news.'
        else case
            when error_class in ('Killed', 'NeverBegan', 'Abandoned') then
                'Its process died: memory, a restart or a time limit. Requeue; the work is done once.'
            when error_class ~* '(refused|unauthori|forbidden|permission|scope|credential|permanent)' then
                'The channel says no: test the connection, repair its credentials or rights, then requeue.'
            when error_class ~* '(retryable|timeout|connect|noanswer|throttl|quota|unavailable)' then
                'The channel does not answer or limits us: wait until it does, then requeue.'
            when error_class ~* '(operationalerror|databaseerror|interfaceerror|deadlock)' then
                'The database did not answer: see that it runs, then requeue.'
            else 'Read the traceback; when the cause is repaired, requeue.'
        end
    end
$$;
create view failure_groups with (security_invoker = true) as
select
    k.shop_id, k.key as group_key, k.source, k.function, k.error_class, k.message, k.connection_id,
    c.name as connection, n.items,
    case when k.source = 'job' then (
        select count(*) from (
            select distinct f.work_key from failures f
            where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open' and f.source = 'job'
        ) w
    ) else n.items end as works,
    n.items - n.moot as still_needed, n.moot as superseded, k.skus, k.orders, k.money,
    (select f.at from failures f where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open'
     order by f.at, f.item_id limit 1) as first_at,
    (select f.at from failures f where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open'
     order by f.at desc, f.item_id desc limit 1) as last_at,
    array(
        select coalesce(sum(t.failed), 0)::int
        from generate_series(23, 0, -1) step (ago)
        left join failure_tallies t on t.shop_id = k.shop_id and t.kind_id = k.id
            and t.hour_at = date_bin('1 hour', now(), 'epoch') - step.ago * interval '1 hour'
        group by step.ago order by step.ago desc
    ) as hours,
    failure_next_step(k.source, k.function, k.error_class) as next_step,
    case when k.source = 'job' then (
        select f.item_id from failures f where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open'
        order by f.at desc, f.item_id desc limit 1
    ) end as traceback_run_id,
    (select f.item_id from failures f where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open'
     order by f.at desc, f.item_id desc limit 1) as newest_item_id,
    k.weighed_at, now() as as_of
from failure_standing n
join failure_kinds k on k.shop_id = n.shop_id and k.id = n.kind_id
left join connections c on c.shop_id = k.shop_id and c.id = k.connection_id
where n.items > 0;

-- As before, by what stands with the failures themselves.
create or replace view failure_items with (security_invoker = true) as
select
    f.shop_id, k.key as group_key, f.source, f.item_id, f.at, f.attempts, k.function, k.error_class, k.connection_id,
    c.name as connection, coalesce(r.error, m.detail, o.last_error) as error,
    (m.id is not null or o.id is not null or r.arguments <> '{}'::jsonb) as has_payload,
    f.source = 'message' and f.state = 'open' and why_not_editable(m.road, m.topic) is null as is_editable,
    (select count(*) from failure_orders x
     where x.shop_id = f.shop_id and x.source = f.source and x.item_id = f.item_id) as orders,
    (select count(*) from failure_skus x
     where x.shop_id = f.shop_id and x.source = f.source and x.item_id = f.item_id) as skus,
    case when f.state = 'open' and f.is_moot then 'superseded' else f.state end as state,
    f.state as kept_state, f.state_at, f.recovery_id, v.name as recovery, r.job_ref, r.traceback is not null as has_traceback,
    coalesce(r.resolved_by, m.discarded_by, o.discarded_by) as settled_by,
    coalesce(r.resolved_reason, m.discarded_reason, o.discarded_reason) as settled_reason,
    f.kind_id
from failures f
join failure_kinds k on k.shop_id = f.shop_id and k.id = f.kind_id
left join connections c on c.shop_id = k.shop_id and c.id = k.connection_id
left join job_runs r on f.source = 'job' and r.id = f.item_id
left join inbox_messages m on f.source = 'message' and m.shop_id = f.shop_id and m.id = f.item_id
left join outbox_messages o on f.source = 'outbox' and o.shop_id = f.shop_id and o.id = f.item_id
left join recoveries v on v.shop_id = f.shop_id and v.id = f.recovery_id;

-- As before, counted by the tallies.
create or replace view failed_jobs with (security_invoker = true) as
select
    k.shop_id, coalesce(r.fingerprint, r.outcome || ':' || r.function) as fingerprint, k.function,
    n.items - n.moot as runs, first.at as since, newest.at as last_at, r.error, c.name as connection
from failure_standing n
join failure_kinds k on k.shop_id = n.shop_id and k.id = n.kind_id and k.source = 'job'
cross join lateral (
    select f.at from failures f
    where f.shop_id = n.shop_id and f.kind_id = n.kind_id and f.state = 'open' and not f.is_moot
    order by f.at, f.item_id limit 1
) first
cross join lateral (
    select f.at, f.item_id from failures f
    where f.shop_id = n.shop_id and f.kind_id = n.kind_id and f.state = 'open' and not f.is_moot
    order by f.at desc, f.item_id desc limit 1
) newest
join job_runs r on r.id = newest.item_id
left join connections c on c.shop_id = k.shop_id and c.id = k.connection_id
where n.items > n.moot;

-- As before, counted by the tallies; the newest stands for all.
create or replace view parked_causes with (security_invoker = true) as
select
    p.shop_id, p.connection_id, c.name as connection, p.cause, p.messages, (
        select m.received_at from inbox_messages m
        where m.shop_id = p.shop_id and m.connection_id = p.connection_id and m.state = 'parked' and m.cause = p.cause
        order by m.received_at, m.id limit 1
    ) as since, newest.received_at as last_at, newest.detail, newest.topic
from (
    select k.shop_id, k.connection_id, k.error_class as cause, sum(n.parked)::bigint as messages
    from failure_standing n
    join failure_kinds k on k.shop_id = n.shop_id and k.id = n.kind_id
    where n.parked > 0
    group by k.shop_id, k.connection_id, k.error_class
) p
join connections c on c.shop_id = p.shop_id and c.id = p.connection_id
cross join lateral (
    select m.received_at, m.detail, m.topic from inbox_messages m
    where m.shop_id = p.shop_id and m.connection_id = p.connection_id and m.state = 'parked' and m.cause = p.cause
    order by m.received_at desc, m.id desc limit 1
) newest;

-- What is parked, by the hour in which it was, over a day.
create or replace view parked_by_hour with (security_invoker = true) as
select t.shop_id, t.hour_at as bucket_at, sum(t.parked) as parked
from failure_tallies t
where t.hour_at > now() - interval '24 hours'
group by t.shop_id, t.hour_at
having sum(t.parked) <> 0;

-- As before, and the 10,000 newest are found in their order: by a moment that is known only then, all of them were read.
create or replace view connection_pulse with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, pulse.bucket_at,
    case when pulse.bucket_at >= reach.received_from then pulse.events end as events,
    case when pulse.bucket_at >= reach.received_from then pulse.slowest_seconds end as slowest_seconds,
    case when pulse.bucket_at >= reach.confirmed_from then pulse.confirmed end as confirmed
from connections c
cross join lateral (
    select
        date_bin('5 minutes', now(), 'epoch') - interval '115 minutes' as begins,
        coalesce((
            select m.received_at from inbox_messages m
            where m.shop_id = c.shop_id and m.connection_id = c.id and m.received_at > now() - interval '2 hours'
            order by m.received_at desc offset 9999 limit 1
        ), '-infinity') as received_from,
        coalesce((
            select w.outcome_at from listing_writes w
            where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome = 'confirmed'
            and w.outcome_at > now() - interval '2 hours'
            order by w.outcome_at desc offset 9999 limit 1
        ), '-infinity') as confirmed_from
    offset 0  -- a fence: worked out once for a connection, not once for each of its steps
) reach
cross join lateral (
    select
        steps.bucket_at, coalesce(came.events, 0) as events, coalesce(came.slowest_seconds, 0) as slowest_seconds,
        coalesce(went.confirmed, 0) as confirmed
    from generate_series(reach.begins, reach.begins + interval '115 minutes', interval '5 minutes') steps(bucket_at)
    left join (
        select
            date_bin('5 minutes', m.received_at, 'epoch') as bucket_at, count(*) as events,
            max(extract(epoch from coalesce(m.settled_at, now()) - m.received_at))::float8 as slowest_seconds
        from (
            select n.received_at, n.settled_at from inbox_messages n
            where n.shop_id = c.shop_id and n.connection_id = c.id and n.received_at >= reach.begins
            order by n.received_at desc limit 10000
        ) m
        group by 1
    ) came on came.bucket_at = steps.bucket_at
    left join (
        select date_bin('5 minutes', w.outcome_at, 'epoch') as bucket_at, count(*) as confirmed
        from (
            select v.outcome_at from listing_writes v
            where v.shop_id = c.shop_id and v.connection_id = c.id and v.outcome = 'confirmed'
            and v.outcome_at >= reach.begins
            order by v.outcome_at desc limit 10000
        ) w
        group by 1
    ) went on went.bucket_at = steps.bucket_at
) pulse;

-- As before, and what is parked is counted by the tallies.
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
            (select coalesce(sum(t.parked), 0) from failure_kinds k
             join failure_tallies t on t.shop_id = k.shop_id and t.kind_id = k.id
             where k.shop_id = c.shop_id and k.connection_id = c.id and k.source = 'message') as parked
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

-- As before, but for what did nothing.
create or replace view job_failures with (security_invoker = true) as
select
    s.shop_id, r.id as run_id, r.job_ref, r.function, r.queue, r.worker, r.arguments, r.attempt, r.started_at,
    r.ended_at, r.outcome, r.error, r.traceback, r.resolved_at, r.resolved_by, r.resolved_reason, r.requeued_as,
    r.resolution, answer.outcome as requeued_outcome, c.id as connection_id, c.name as connection,
    coalesce(r.fingerprint, r.outcome || ':' || r.function) as cause,
    coalesce(r.resolution, case when exists (
        select from job_runs later
        where later.subject = r.subject and did_its_work(later.outcome, later.business) and later.started_at > r.started_at
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
