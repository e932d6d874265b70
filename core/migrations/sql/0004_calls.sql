-- Outgoing calls as people look at them. A call's outcome is one of five and its operation one of a few dozen, so that
-- "newest of one outcome" and "newest of one operation" are each one walk down an index, and a page is a merge of those.

-- The pictures (from the index alone: the times and milliseconds are in it) and the list by outcome.
create index ix_api_calls_outcome on api_calls (shop_id, connection_id, outcome, called_at, id) include (elapsed_ms);
-- The list by operation, and which operations there are.
create index ix_api_calls_operation on api_calls (shop_id, connection_id, operation, outcome, called_at, id);
-- Warnings are rare: as small as what it holds.
create index ix_api_calls_deprecation on api_calls (shop_id, connection_id, called_at) where deprecation is not null;

-- Only ever added to, and looked at where it is newest: what vacuum has not seen is fetched row by row, so let it look
-- after every hundredth part instead of every fifth.
alter table api_calls set (autovacuum_vacuum_insert_scale_factor = 0.01);
-- There are five, however long only one of them is met: else the planner takes a walk past a million good calls for a
-- short way to the newest bad one.
alter table api_calls alter column outcome set (n_distinct = 5);

-- Every call, with nothing joined: what the pictures count and the list walks.
create view api_call_log with (security_invoker = true) as
select
    a.shop_id, a.connection_id, a.id as call_id, a.operation, a.method, a.status, a.outcome, a.elapsed_ms, a.attempt,
    a.quota_left, a.api_version, a.deprecation, a.error, a.sync_run_id, a.called_at
from api_calls a;

-- Whom we call, with the last that each said: quota and version from the newest 200 calls, the last that succeeded and
-- the last that did not whenever that was.
create view api_call_parties with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.name, c.vendor, c.state as switch,
    said.quota_left, said.quota_operation, said.quota_at, said.api_version,
    latest.ok_at as last_ok_at, bad.called_at as last_bad_at, bad.id as last_bad_id, bad.outcome as last_bad_outcome,
    bad.operation as last_bad_operation, bad.status as last_bad_status, bad.error as last_bad_error,
    warned.deprecation, warned.called_at as deprecation_at, now() as as_of
from connections c
cross join lateral (
    select
        (array_agg(n.quota_left order by n.called_at desc) filter (where n.quota_left is not null))[1] as quota_left,
        (array_agg(n.operation order by n.called_at desc) filter (where n.quota_left is not null))[1] as quota_operation,
        max(n.called_at) filter (where n.quota_left is not null) as quota_at,
        (array_agg(n.api_version order by n.called_at desc) filter (where n.api_version is not null))[1] as api_version
    from (
        select a.quota_left, a.operation, a.api_version, a.called_at from api_calls a
        where a.shop_id = c.shop_id and a.connection_id = c.id order by a.called_at desc limit 200
    ) n
) said
cross join lateral (
    select
        max(newest.called_at) filter (where newest.outcome = 'ok') as ok_at,
        (array_agg(newest.id order by newest.called_at desc, newest.id desc) filter (where newest.outcome <> 'ok'))[1]
            as bad_id
    from (values ('ok'), ('throttled'), ('refused'), ('error'), ('unknown')) kinds(outcome)
    cross join lateral (
        select a.id, a.called_at, a.outcome from api_calls a
        where a.shop_id = c.shop_id and a.connection_id = c.id and a.outcome = kinds.outcome
        order by a.called_at desc, a.id desc limit 1
    ) newest
) latest
left join api_calls bad on bad.shop_id = c.shop_id and bad.id = latest.bad_id
left join lateral (
    select a.deprecation, a.called_at from api_calls a
    where a.shop_id = c.shop_id and a.connection_id = c.id and a.deprecation is not null
    order by a.called_at desc limit 1
) warned on true;

-- Operations ever called, with the last good and the last bad answer to each. They are found by leaping from one to the
-- next: as many steps as there are operations, however many calls. A call that came too early is no bad answer.
create view api_call_operations with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, found.operation, latest.ok_at as last_ok_at, latest.bad_at as last_bad_at,
    latest.bad_outcome as last_bad_outcome
from connections c
cross join lateral (
    with recursive leaps as (
        (
            select a.operation from api_calls a
            where a.shop_id = c.shop_id and a.connection_id = c.id order by a.operation limit 1
        )
        union all
        select (
            select a.operation from api_calls a
            where a.shop_id = c.shop_id and a.connection_id = c.id and a.operation > l.operation
            order by a.operation limit 1
        )
        from leaps l where l.operation is not null
    )
    select operation from leaps where operation is not null
) found
cross join lateral (
    select
        max(newest.called_at) filter (where newest.outcome = 'ok') as ok_at,
        max(newest.called_at) filter (where newest.outcome <> 'ok') as bad_at,
        (array_agg(newest.outcome order by newest.called_at desc) filter (where newest.outcome <> 'ok'))[1]
            as bad_outcome
    from (values ('ok'), ('refused'), ('error'), ('unknown')) kinds(outcome)
    cross join lateral (
        select a.called_at, a.outcome from api_calls a
        where a.shop_id = c.shop_id and a.connection_id = c.id and a.operation = found.operation
        and a.outcome = kinds.outcome
        order by a.called_at desc, a.id desc limit 1
    ) newest
) latest;

-- Names only, for what joins them to many calls.
create view called_connections with (security_invoker = true) as
select c.shop_id, c.id as connection_id, c.name, c.vendor from connections c;
