-- What went wrong, in one place: failed jobs, parked messages, notices that were given up. One row of `failures` for each,
-- written by the statement that lets it fail or settles it, and one of `failure_kinds` for all of one cause.

-- A job may be about more than a connection (some orders): a later success about other ones makes nothing moot. The id of
-- a sync only names the request.
-- Parked and discarded messages stand among the failures.
drop view parked_messages;
drop view discarded_messages;
drop view failed_jobs;
drop view job_failure_causes;
drop view job_failures;
drop index ix_job_runs_finished;
alter table job_runs
    drop column subject,
    add column subject text generated always as (
        function || ':' || (arguments - 'sync_run_id'::text)::text
    ) stored;
comment on column job_runs.subject is 'function and what it was about: a later success of it makes a failure moot';
create index ix_job_runs_finished on job_runs (subject, started_at) where outcome = 'finished';

-- As before.
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

create view failed_jobs with (security_invoker = true) as
select
    f.shop_id, f.cause as fingerprint, f.function, f.jobs as runs, f.since, f.last_at, f.error,
    case when f.connections = 1 then f.connection end as connection
from job_failure_causes f;

-- A message that somebody mended: the copy is a message of its own, what came from the channel stays verbatim.
alter table inbox_messages
    add column replaces_id bigint,
    add column replaced_by bigint,
    add column edited_by text,
    add column edited_reason text,
    add constraint ck_inbox_messages_edited_is_signed check (
        (replaces_id is null) = (edited_by is null) and (replaces_id is null) = (edited_reason is null)
    ),
    add constraint ck_inbox_messages_replaced check (replaced_by is null or state = 'discarded');
comment on column inbox_messages.replaces_id is 'the message that this one is a mended copy of';
comment on column inbox_messages.replaced_by is 'the mended copy that took its place';
comment on column inbox_messages.edited_by is 'who mended it';
comment on column inbox_messages.edited_reason is 'and why';
create index ix_inbox_messages_replaces on inbox_messages (shop_id, replaces_id) where replaces_id is not null;

-- A notice that nobody is to be told any more.
alter table outbox_messages
    add column discarded_by text,
    add column discarded_reason text,
    drop constraint ck_outbox_messages_state,
    add constraint ck_outbox_messages_state check (state in ('waiting', 'sent', 'dead', 'discarded')),
    add constraint ck_outbox_messages_discarded_is_signed check (
        (state = 'discarded') = (discarded_by is not null) and (state = 'discarded') = (discarded_reason is not null)
    );
comment on column outbox_messages.discarded_by is 'who gave it up';
comment on column outbox_messages.discarded_reason is 'and why';

-- What differs between two failures of one cause (ids, amounts, addresses, quoted values) is taken out of its words.
create function error_pattern(words text) returns text language sql immutable parallel safe as $$
    select left(
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    regexp_replace(
                        split_part(coalesce(words, ''), E'\n', 1),
                        '[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
                    ),
                    '0x[0-9a-fA-F]+|\m(?=[0-9a-f]*\d)[0-9a-f]{12,}\M', '<hex>', 'g'
                ),
                '''[^'']*''|"[^"]*"', '<text>', 'g'
            ),
            '\d+(?:\.\d+)?', '<n>', 'g'
        ),
        400
    )
$$;

create table failure_kinds (
    shop_id bigint not null,
    id bigint generated always as identity,
    key text not null,
    source text not null,
    function text not null,
    error_class text not null,
    message text not null,
    connection_id bigint,
    skus bigint not null default 0,
    orders bigint not null default 0,
    money jsonb not null default '{}',
    weighed_items bigint not null default 0,
    weighed_last timestamp with time zone,
    weighed_at timestamp with time zone,
    constraint pk_failure_kinds primary key (shop_id, id),
    constraint uq_failure_kinds_shop_id_key unique (shop_id, key),
    constraint fk_failure_kinds_shop_id_shops foreign key (shop_id) references shops (shop_id),
    constraint fk_failure_kinds_shop_id_connection_id_connections foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_failure_kinds_source check (source in ('job', 'message', 'outbox'))
);
comment on table failure_kinds is 'causes of failures, and what hangs on each as it was last added up';
comment on column failure_kinds.key is 'the same for all of one source, function, error, words and connection';
comment on column failure_kinds.function is 'registered name, topic, or kind of notice';
comment on column failure_kinds.message is 'what the error says, without what differs from one to the next';
comment on column failure_kinds.skus is 'distinct SKUs that what failed is about, or that wait behind it';
comment on column failure_kinds.orders is 'distinct orders likewise';
comment on column failure_kinds.money is 'what those orders come to: currency to minor units';
comment on column failure_kinds.weighed_items is 'how many open failures were added up';

create table failures (
    shop_id bigint not null,
    source text not null,
    item_id bigint not null,
    kind_id bigint not null,
    work_key uuid not null,
    job_ref text,
    subject text,
    at timestamp with time zone not null,
    attempts integer not null,
    state text not null default 'open',
    state_at timestamp with time zone not null,
    recovery_id bigint,
    work_ordinal bigint,
    is_weighed boolean not null default false,
    is_moot boolean not null default false,
    constraint pk_failures primary key (shop_id, source, item_id),
    constraint fk_failures_shop_id_kind_id_failure_kinds foreign key (shop_id, kind_id)
        references failure_kinds (shop_id, id),
    constraint ck_failures_source check (source in ('job', 'message', 'outbox')),
    constraint ck_failures_state check (state in ('open', 'requeued', 'discarded', 'superseded'))
);
comment on table failures is 'failed jobs, parked messages, dead notices: kept by triggers on what they are about';
comment on column failures.item_id is 'the run, the message, the notice';
comment on column failures.work_key is 'the same for failures that one repetition makes good';
comment on column failures.subject is 'of a job: a later success of it makes the failure moot';
comment on column failures.at is 'when the job began, the message was parked, the notice given up';
comment on column failures.recovery_id is 'the recovery that has it done again, or in which it failed again';
comment on column failures.work_ordinal is 'which piece of work of that recovery';
comment on column failures.is_weighed is 'whether it is known which orders and SKUs it is about';
comment on column failures.is_moot is 'of a message: whether what it says has been told by a later one';
create index ix_failures_kind on failures (shop_id, kind_id, state, at, item_id);
create index ix_failures_settled on failures (state_at) where state <> 'open';
create index ix_failures_open on failures (shop_id, at, item_id) where state = 'open';
create index ix_failures_job_ref on failures (job_ref) where state = 'open' and job_ref is not null;
create index ix_failures_subject on failures (shop_id, subject) where state = 'open' and subject is not null;
create index ix_failures_unweighed on failures (shop_id, source, item_id) where state = 'open' and not is_weighed;
create index ix_failures_recovery on failures (shop_id, recovery_id, work_ordinal) where recovery_id is not null;

-- What a failure is about, as far as can be read from it.
create table failure_orders (
    shop_id bigint not null,
    source text not null,
    item_id bigint not null,
    connection_id bigint not null,
    order_ref text not null,
    version_at timestamp with time zone,
    currency text,
    total_minor bigint,
    constraint pk_failure_orders primary key (shop_id, source, item_id, order_ref),
    constraint fk_failure_orders_shop_id_source_item_id_failures foreign key (shop_id, source, item_id)
        references failures (shop_id, source, item_id) on delete cascade
);
comment on table failure_orders is 'orders that a failure is about, whether or not they are known here';
comment on column failure_orders.order_ref is 'the channel''s id of the order';
comment on column failure_orders.total_minor is 'what the order comes to by the message; null where it does not say';
create index ix_failure_orders_ref on failure_orders (shop_id, connection_id, order_ref);

create table failure_skus (
    shop_id bigint not null,
    source text not null,
    item_id bigint not null,
    sku_id bigint not null,
    constraint pk_failure_skus primary key (shop_id, source, item_id, sku_id),
    constraint fk_failure_skus_shop_id_source_item_id_failures foreign key (shop_id, source, item_id)
        references failures (shop_id, source, item_id) on delete cascade,
    constraint fk_failure_skus_shop_id_sku_id_skus foreign key (shop_id, sku_id) references skus (shop_id, id)
);
comment on table failure_skus is 'SKUs that a failure is about';
create index ix_failure_skus_shop_id_sku_id on failure_skus (shop_id, sku_id);

-- Work that a person has done again, at a pace, under a name. The rows are the promise; Redis only carries rings.
create table recoveries (
    shop_id bigint not null,
    id bigint generated always as identity,
    name text not null,
    state text not null default 'running',
    per_minute double precision not null,
    requested_by text not null,
    reason text not null,
    requested_at timestamp with time zone not null,
    items bigint not null,
    works bigint not null,
    paced_at timestamp with time zone not null,
    ended_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    cancelled_by text,
    cancelled_reason text,
    constraint pk_recoveries primary key (shop_id, id),
    constraint fk_recoveries_shop_id_shops foreign key (shop_id) references shops (shop_id),
    constraint ck_recoveries_state check (state in ('running', 'done', 'cancelled')),
    constraint ck_recoveries_per_minute check (per_minute > 0),
    constraint ck_recoveries_ended check ((state = 'done') <= (ended_at is not null)),
    constraint ck_recoveries_cancelled_is_signed check (
        (state = 'cancelled') = (cancelled_at is not null) and (state = 'cancelled') = (cancelled_by is not null)
        and (state = 'cancelled') = (cancelled_reason is not null)
    )
);
comment on column recoveries.items is 'how many failures it makes good';
comment on column recoveries.works is 'by how many pieces of work';
comment on column recoveries.paced_at is 'up to when its pace was given out';
comment on column recoveries.ended_at is 'when nothing of it was under way any more';
create index ix_recoveries_running on recoveries (shop_id, id) where ended_at is null;

create table recovery_works (
    shop_id bigint not null,
    recovery_id bigint not null,
    ordinal bigint not null,
    source text not null,
    work_key uuid not null,
    item_id bigint not null,
    items bigint not null,
    function text not null,
    arguments jsonb,
    connection_id bigint,
    state text not null default 'waiting',
    released_at timestamp with time zone,
    ended_at timestamp with time zone,
    failed_item_id bigint,
    constraint pk_recovery_works primary key (shop_id, recovery_id, ordinal),
    constraint fk_recovery_works_shop_id_recovery_id_recoveries foreign key (shop_id, recovery_id)
        references recoveries (shop_id, id) on delete cascade,
    constraint ck_recovery_works_source check (source in ('job', 'message', 'outbox')),
    constraint ck_recovery_works_state
        check (state in ('waiting', 'released', 'done', 'failed', 'superseded', 'cancelled')),
    constraint ck_recovery_works_ended check ((state in ('waiting', 'released')) = (ended_at is null)),
    constraint ck_recovery_works_released check (state <> 'released' or released_at is not null),
    constraint ck_recovery_works_failed check ((state = 'failed') = (failed_item_id is not null))
);
comment on column recovery_works.item_id is 'the newest failure that it makes good';
comment on column recovery_works.items is 'how many failures it makes good';
comment on column recovery_works.state is 'waiting: not begun; superseded: by the time of its turn it was done or given up';
comment on column recovery_works.failed_item_id is 'the failure that came of it';
-- No piece of work is in two recoveries at once.
create unique index uq_recovery_works_under_way on recovery_works (shop_id, source, work_key)
    where state in ('waiting', 'released');
create index ix_recovery_works_state on recovery_works (shop_id, recovery_id, state, ordinal);

-- How failures come to be on record --------------------------------------------------------------------------------------

create function failure_kind(
    shop bigint, kind_source text, kind_function text, kind_class text, kind_message text, connection bigint
) returns bigint language plpgsql as $$
declare
    wanted text := md5(concat_ws('|', kind_source, kind_function, kind_class, kind_message, connection));
    found bigint;
begin
    loop
        select k.id into found from failure_kinds k where k.shop_id = shop and k.key = wanted;
        if found is not null then
            return found;
        end if;
        insert into failure_kinds (shop_id, key, source, function, error_class, message, connection_id)
        values (shop, wanted, kind_source, kind_function, kind_class, kind_message, connection)
        on conflict (shop_id, key) do nothing;
    end loop;
end $$;

create function file_failure(
    shop bigint, of_source text, item bigint, kind bigint, work uuid, ref text, about text,
    failed_at timestamp with time zone, tries integer
) returns void language sql as $$
    insert into failures as f (shop_id, source, item_id, kind_id, work_key, job_ref, subject, at, attempts, state_at)
    values (shop, of_source, item, kind, work, ref, about, failed_at, tries, failed_at)
    on conflict (shop_id, source, item_id) do update set kind_id = excluded.kind_id, at = excluded.at,
        attempts = excluded.attempts, state = 'open', state_at = excluded.at
$$;

create function job_error_class(outcome text, error text) returns text language sql immutable parallel safe as $$
    select case
        when outcome = 'abandoned' then 'Abandoned'
        when error like 'the process running it was killed%' then 'Killed'
        when error like 'It never began%' then 'NeverBegan'
        else coalesce(substring(error from '^([A-Za-z_][A-Za-z0-9_.]*)(?::|$)'), 'Error')
    end
$$;

create function file_job_failures(runs bigint[]) returns void language plpgsql as $$
declare
    r record;
begin
    for r in
        select s.shop_id, j.id, j.function, j.job_ref, j.subject, j.started_at, j.attempt, c.id as connection_id,
            job_error_class(j.outcome, j.error) as class,
            error_pattern(regexp_replace(j.error, '^[A-Za-z_][A-Za-z0-9_.]*: ', '')) as message,
            md5(j.function || j.arguments::text)::uuid as work
        from job_runs j
        join shops s on j.arguments ->> 'shop_id' is null or j.arguments ->> 'shop_id' = s.shop_id::text
        left join connections c on c.shop_id = s.shop_id and c.id::text = j.arguments ->> 'connection_id'
        where j.id = any(runs)
        and not exists (select from job_runs later where later.job_ref = j.job_ref and later.id > j.id)
        order by s.shop_id, j.id
    loop
        perform file_failure(
            r.shop_id, 'job', r.id,
            failure_kind(r.shop_id, 'job', r.function, r.class, r.message, r.connection_id),
            r.work, r.job_ref, r.subject, r.started_at, r.attempt
        );
    end loop;
end $$;

-- A run that begins takes the place of what failed before under its id; one that is written as failed is filed.
create function follow_added_runs() returns trigger language plpgsql as $$
declare
    failed bigint[];
begin
    update failures f set state = 'superseded', state_at = n.started_at
    from added n where f.job_ref = n.job_ref and f.state = 'open' and f.source = 'job' and f.item_id < n.id;
    select array_agg(n.id order by n.id) into failed
    from added n where n.outcome in ('failed', 'abandoned') and n.resolution is null;
    if failed is not null then
        perform file_job_failures(failed);
    end if;
    return null;
end $$;
create trigger followed_added after insert on job_runs referencing new table as added
    for each statement execute function follow_added_runs();

create function follow_changed_runs() returns trigger language plpgsql as $$
declare
    failed bigint[];
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
    return null;
end $$;
create trigger followed_changed after update on job_runs referencing old table as was new table as is_now
    for each statement execute function follow_changed_runs();

create function follow_gone_runs() returns trigger language plpgsql as $$
begin
    delete from failures f using gone g
    where f.source = 'job' and f.item_id = g.id and g.outcome in ('failed', 'abandoned')
    and f.shop_id in (select s.shop_id from shops s);
    return null;
end $$;
create trigger followed_gone after delete on job_runs referencing old table as gone
    for each statement execute function follow_gone_runs();

-- Row by row, so that messages that fare well cost nothing: the inbox is the busiest table there is.
create function follow_message() returns trigger language plpgsql as $$
begin
    if new.state = 'parked' then
        perform file_failure(
            new.shop_id, 'message', new.id,
            failure_kind(new.shop_id, 'message', new.topic, new.cause, error_pattern(new.detail), new.connection_id),
            md5('message:' || new.id)::uuid, null, null, coalesce(new.settled_at, new.received_at), new.attempts
        );
    else
        update failures set state_at = coalesce(new.settled_at, now()),
            state = case
                when new.state <> 'discarded' then 'requeued'
                when new.replaced_by is not null then 'superseded'
                else 'discarded'
            end
        where shop_id = new.shop_id and source = 'message' and item_id = new.id;
    end if;
    return null;
end $$;
create trigger followed_added after insert on inbox_messages
    for each row when (new.state = 'parked') execute function follow_message();
create trigger followed_changed after update on inbox_messages
    for each row when (
        (old.state in ('parked', 'discarded') and new.state is distinct from old.state)
        or (new.state = 'parked' and (old.state, old.cause, old.detail) is distinct from
            (new.state, new.cause, new.detail))
    ) execute function follow_message();

create function follow_notice() returns trigger language plpgsql as $$
begin
    if new.state = 'dead' then
        perform file_failure(
            new.shop_id, 'outbox', new.id,
            failure_kind(new.shop_id, 'outbox', new.kind, 'Undelivered', error_pattern(new.last_error), null),
            md5('outbox:' || new.id)::uuid, null, null, coalesce(new.settled_at, new.created_at), new.attempts
        );
    else
        update failures set state = case new.state when 'discarded' then 'discarded' else 'requeued' end,
            state_at = coalesce(new.settled_at, now())
        where shop_id = new.shop_id and source = 'outbox' and item_id = new.id;
    end if;
    return null;
end $$;
create trigger followed_added after insert on outbox_messages
    for each row when (new.state = 'dead') execute function follow_notice();
create trigger followed_changed after update on outbox_messages
    for each row when (
        new.state is distinct from old.state and (old.state in ('dead', 'discarded') or new.state = 'dead')
    ) execute function follow_notice();

-- What has failed up to now.
select file_job_failures(array_agg(id order by id)) from job_runs
where outcome in ('failed', 'abandoned') and resolution is null having count(*) > 0;
select file_failure(
    m.shop_id, 'message', m.id,
    failure_kind(m.shop_id, 'message', m.topic, m.cause, error_pattern(m.detail), m.connection_id),
    md5('message:' || m.id)::uuid, null, null, coalesce(m.settled_at, m.received_at), m.attempts
) from inbox_messages m where m.state = 'parked';
select file_failure(
    o.shop_id, 'outbox', o.id,
    failure_kind(o.shop_id, 'outbox', o.kind, 'Undelivered', error_pattern(o.last_error), null),
    md5('outbox:' || o.id)::uuid, null, null, coalesce(o.settled_at, o.created_at), o.attempts
) from outbox_messages o where o.state = 'dead';

-- How people see them ----------------------------------------------------------------------------------------------------

-- Whether a parked message may be mended: not where a signature of the vendor's vouches for its very bytes, where it moves
-- money, or where it speaks of who may do what.
create function why_not_editable(road text, topic text) returns text language sql immutable parallel safe as $$
    select case
        when road = 'webhook' then
            'the channel signed exactly these words; have the order read again instead, or requeue it as it is'
        when topic ~* '(refund|transaction|payout|dispute|payment|paid|charge)' then
            'it moves money; what it says is the channel''s to correct'
        when topic ~* '(secret|oauth|uninstall|redact|data_request|scopes)' then
            'it is about credentials or the law; what it says is the channel''s to correct'
    end
$$;

create function failure_next_step(source text, function text, error_class text, attempts bigint)
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

-- One row for a cause with something open: counts are of now, what hangs on it as of `weighed_at`.
--   items, works      open failures, and by how many distinct repetitions they are made good
--   superseded        of the items: those that a later run or message has made moot; still_needed: the others
--   skus, orders, money   what they are about; for jobs what waits behind them (money: currency -> minor units)
--   hours             how many failed in each of the last 24 hours, oldest first, settled ones among them
create view failure_groups with (security_invoker = true) as
select
    k.shop_id, k.key as group_key, k.source, k.function, k.error_class, k.message, k.connection_id,
    c.name as connection, n.items, n.works, n.items - n.messages_moot - coalesce(j.moot, 0) as still_needed,
    n.messages_moot + coalesce(j.moot, 0) as superseded, k.skus, k.orders, k.money, n.first_at, n.last_at,
    array(
        select coalesce(h.items, 0)
        from generate_series(23, 0, -1) step (ago)
        left join (
            select greatest(0, floor(extract(epoch from now() - f.at) / 3600))::int as ago, count(*)::int as items
            from failures f
            where f.shop_id = k.shop_id and f.kind_id = k.id and f.at > now() - interval '24 hours' group by 1
        ) h on h.ago = step.ago
        order by step.ago desc
    ) as hours,
    failure_next_step(k.source, k.function, k.error_class, n.attempts) as next_step,
    case when k.source = 'job' then n.newest_id end as traceback_run_id, n.newest_id as newest_item_id, k.weighed_at,
    now() as as_of
from failure_kinds k
join lateral (
    select
        count(*) as items,
        count(distinct f.work_key) filter (where f.source = 'job') + count(*) filter (where f.source <> 'job') as works,
        count(*) filter (where f.is_moot and f.source = 'message') as messages_moot, min(f.at) as first_at,
        max(f.at) as last_at, max(f.item_id) as newest_id, max(f.attempts)::bigint as attempts
    from failures f where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open'
) n on n.items > 0
left join lateral (
    select count(*) as moot
    from (
        select f.subject, (
            select max(r.started_at) from job_runs r where r.subject = f.subject and r.outcome = 'finished'
        ) as done_at
        from failures f where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open' group by f.subject
    ) done
    join failures f on f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open' and f.subject = done.subject
        and f.at < done.done_at
) j on k.source = 'job'
left join connections c on c.shop_id = k.shop_id and c.id = k.connection_id;

-- Every failure on record; keyset by (at, item_id) within a group and state.
create view failure_items with (security_invoker = true) as
select
    f.shop_id, k.key as group_key, f.source, f.item_id, f.at, f.attempts, k.function, k.error_class, k.connection_id,
    c.name as connection, coalesce(r.error, m.detail, o.last_error) as error,
    (m.id is not null or o.id is not null or r.arguments <> '{}'::jsonb) as has_payload,
    f.source = 'message' and f.state = 'open' and why_not_editable(m.road, m.topic) is null as is_editable,
    (select count(*) from failure_orders x
     where x.shop_id = f.shop_id and x.source = f.source and x.item_id = f.item_id) as orders,
    (select count(*) from failure_skus x
     where x.shop_id = f.shop_id and x.source = f.source and x.item_id = f.item_id) as skus,
    case
        when f.state = 'open' and f.source = 'message' and f.is_moot then 'superseded'
        when f.state = 'open' and f.source = 'job' and exists (
            select from job_runs later
            where later.subject = f.subject and later.outcome = 'finished' and later.started_at > f.at
        ) then 'superseded'
        else f.state
    end as state,
    f.state as kept_state, f.state_at, f.recovery_id, v.name as recovery, r.job_ref, r.traceback is not null as has_traceback,
    coalesce(r.resolved_by, m.discarded_by, o.discarded_by) as settled_by,
    coalesce(r.resolved_reason, m.discarded_reason, o.discarded_reason) as settled_reason
from failures f
join failure_kinds k on k.shop_id = f.shop_id and k.id = f.kind_id
left join connections c on c.shop_id = k.shop_id and c.id = k.connection_id
left join job_runs r on f.source = 'job' and r.id = f.item_id
left join inbox_messages m on f.source = 'message' and m.shop_id = f.shop_id and m.id = f.item_id
left join outbox_messages o on f.source = 'outbox' and o.shop_id = f.shop_id and o.id = f.item_id
left join recoveries v on v.shop_id = f.shop_id and v.id = f.recovery_id;

-- What open failures hang on which order and SKU, for their pages. Of failed pushes the newest of each cause stands for
-- all, beside every SKU that waits behind it.
create view failure_refs with (security_invoker = true) as
select f.shop_id, f.source, f.item_id, o.id as order_id, null::bigint as sku_id
from failure_orders x
join failures f on f.shop_id = x.shop_id and f.source = x.source and f.item_id = x.item_id and f.state = 'open'
join orders o on o.shop_id = x.shop_id and o.connection_id = x.connection_id and o.channel_ref = x.order_ref
union all
select f.shop_id, f.source, f.item_id, null, x.sku_id
from failure_skus x
join failures f on f.shop_id = x.shop_id and f.source = x.source and f.item_id = x.item_id and f.state = 'open'
union all
select l.shop_id, 'job', newest.item_id, null, l.sku_id
from listings l
join failure_kinds k on k.shop_id = l.shop_id and k.connection_id = l.connection_id
    and k.source = 'job' and k.function in ('stock.push', 'stock.feed', 'stock.check')
join lateral (
    select f.item_id from failures f
    where f.shop_id = k.shop_id and f.kind_id = k.id and f.state = 'open' order by f.at desc, f.item_id desc limit 1
) newest on true
where l.is_to_push and l.sku_id is not null;

-- Recoveries, with how far each is. `seconds_left` is what waits, at its pace.
create view recovery_list with (security_invoker = true) as
select
    v.shop_id, v.id as recovery_id, v.name, v.state, v.per_minute, v.requested_by, v.reason, v.requested_at, v.items,
    v.works, v.ended_at, v.cancelled_at, v.cancelled_by, v.cancelled_reason, n.waiting, n.released, n.done, n.failed,
    n.superseded, n.cancelled, n.waiting * 60.0 / v.per_minute as seconds_left, now() as as_of
from recoveries v
cross join lateral (
    select
        count(*) filter (where w.state = 'waiting') as waiting, count(*) filter (where w.state = 'released') as released,
        count(*) filter (where w.state = 'done') as done, count(*) filter (where w.state = 'failed') as failed,
        count(*) filter (where w.state = 'superseded') as superseded,
        count(*) filter (where w.state = 'cancelled') as cancelled
    from recovery_works w where w.shop_id = v.shop_id and w.recovery_id = v.id
) n;
