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

-- What was given up and then taken back: who gave it up and why stays on record when it is open again.
create table failure_discards (
    shop_id bigint not null,
    id bigint generated always as identity,
    source text not null,
    item_id bigint not null,
    discarded_at timestamp with time zone not null,
    discarded_by text not null,
    discarded_reason text not null,
    taken_back_at timestamp with time zone not null,
    taken_back_by text not null,
    taken_back_reason text not null,
    constraint pk_failure_discards primary key (shop_id, id),
    constraint fk_failure_discards_shop_id_source_item_id_failures foreign key (shop_id, source, item_id)
        references failures (shop_id, source, item_id) on delete cascade
);
comment on table failure_discards is 'discards that were taken back: the failure is open again';
create index ix_failure_discards_shop_id_source_item_id on failure_discards (shop_id, source, item_id);

create view failure_discard_list with (security_invoker = true) as
select
    shop_id, source, item_id, discarded_at, discarded_by, discarded_reason, taken_back_at, taken_back_by,
    taken_back_reason
from failure_discards;

-- As before, and: addresses of people go; what begins with a mark of its own within a word is no quotation; ids of letters
-- and digits go as a whole; while a status of HTTP, and the name of a field or attribute that code looked for in vain, are
-- what the cause is, and stay.
create or replace function error_pattern(words text) returns text language plpgsql immutable parallel safe as $$
declare
    said text := split_part(coalesce(words, ''), E'\n', 1);
begin
    said := regexp_replace(said, '[[:alnum:]._%+-]+@[[:alnum:]-]+(?:\.[[:alnum:]-]+)+', '<mail>', 'g');
    said := regexp_replace(said, '[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g');
    said := regexp_replace(said, '0x[0-9a-fA-F]+|\m(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{12,}\M', '<hex>', 'g');
    said := regexp_replace(said, '(^|\mattribute )''([a-z_][a-zA-Z_]*)''$', '\1\2');
    said := regexp_replace(said, '(?<!\w)''[^'']*''(?!\w)|"[^"]*"', '<text>', 'g');
    said := regexp_replace(said, '\m(?=[A-Z0-9]*\d)(?=[A-Z0-9]*[A-Z])[A-Z0-9]{6,}\M', '<id>', 'g');
    said := regexp_replace(
        said, '(?<!\d)(?<!refused with )(?<!answered )(?<!status )(?<!HTTP )\d+(?:\.\d+)?', '<n>', 'g'
    );
    return left(said, 400);
end $$;
