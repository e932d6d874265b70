-- A piece of work that takes a channel's quota for minutes must not go out with those that take none, though they are of
-- one recovery: each takes its own part of the pace.
alter table recovery_works
    add column weight double precision not null default 1,
    add constraint ck_recovery_works_weight check (weight > 0);
comment on column recovery_works.weight is 'how many average pieces of work of its recovery it takes the time of';

-- As before, by weight.
create or replace view recovery_list with (security_invoker = true) as
select
    v.shop_id, v.id as recovery_id, v.name, v.state, v.per_minute, v.requested_by, v.reason, v.requested_at, v.items,
    v.works, v.ended_at, v.cancelled_at, v.cancelled_by, v.cancelled_reason, n.waiting, n.released, n.done, n.failed,
    n.superseded, n.cancelled, n.weight * 60.0 / v.per_minute as seconds_left, now() as as_of
from recoveries v
cross join lateral (
    select
        count(*) filter (where w.state = 'waiting') as waiting, count(*) filter (where w.state = 'released') as released,
        count(*) filter (where w.state = 'done') as done, count(*) filter (where w.state = 'failed') as failed,
        count(*) filter (where w.state = 'superseded') as superseded,
        count(*) filter (where w.state = 'cancelled') as cancelled,
        coalesce(sum(w.weight) filter (where w.state = 'waiting'), 0) as weight
    from recovery_works w where w.shop_id = v.shop_id and w.recovery_id = v.id
) n;
