-- What a shop's things are told by from others' where they stand beside each other: by chance, so that no other
-- installation has the same.
alter table shops add column mark text not null default left(replace(gen_random_uuid()::text, '-', ''), 8),
    add constraint ck_shops_mark check (mark ~ '^[0-9a-f]{8}$');
comment on column shops.mark is 'part of every id that we give at others; never changes';

-- The id that a target knows a thing by is no bare number any more: what was told under one is told anew.
update target_entries e set is_known = false, confirmed_hash = null, linked_ids = '{}', waits = e.kind = 'variant',
    to_check = false, external_id = 'sw-' || s.mark || '-' || left(e.kind, 1) || e.entity_id
from shops s where s.shop_id = e.shop_id;
comment on column target_entries.entity_id is 'the category''s, product''s or SKU''s id';
comment on column target_entries.external_id is 'what the target knows it by: sw-, the shop''s mark, the kind''s letter and entity_id; never changes';

-- A generated column is not altered but made again.
drop view target_entry_states;
alter table target_entries drop column work, drop column state;
alter table target_entries
    add column stays boolean not null default false,
    add constraint ck_target_entries_stays check (not stays or problem_kind is not distinct from 'content');
comment on column target_entries.stays is 'of what cannot be told: a setting of the connection is missing, so the target keeps it as it was told';
alter table target_entries
    add column work text generated always as (
        case
            when open_job_id is not null then null
            when to_check then 'check'
            when is_held then null
            when is_known and kind = 'variant' and (linked_ids <> array[parent_id]
                or (problem_kind = 'content' and not stays)) then 'delete'
            when problem_kind = 'content' then null
            when desired_hash is null then case when is_known then 'delete' end
            when not is_known then case when not waits then 'create' end
            when confirmed_hash is distinct from desired_hash then 'update'
        end
    ) stored,
    add column state text not null generated always as (
        case
            when open_job_id is not null then 'in_flight'
            when to_check then 'checking'
            when is_held then 'held'
            when problem_kind = 'content' and not (is_known and kind = 'variant'
                and (linked_ids <> array[parent_id] or not stays)) then 'problem'
            when case
                when desired_hash is null then is_known
                when is_known then confirmed_hash is distinct from desired_hash or (kind = 'variant'
                    and (linked_ids <> array[parent_id] or problem_kind = 'content'))
                else not waits
            end then case when failures > 0 then 'failed' else 'waits' end
            when waits and desired_hash is not null then 'waits'
            when desired_hash is null then 'gone'
            else 'in_step'
        end
    ) stored;
comment on column target_entries.work is 'what is to be done with it next; null: nothing, or it is in a job';
comment on column target_entries.state is 'how it stands, as people count it: see the view target_entry_states';
create index ix_target_entries_state on target_entries (shop_id, connection_id, kind, state);
create index ix_target_entries_work on target_entries (shop_id, connection_id, work, kind, next_at, id)
    where work is not null;

-- How the entries of each target stand.
--   state  in_step; waits (for its turn, or for what it hangs on); in_flight; checking (is read back); failed (tried
--          again by itself); held (waits for a person, or for other content); problem (cannot be told as it is); gone
create view target_entry_states with (security_invoker = true) as
select e.shop_id, e.connection_id, e.kind, e.state, count(*) as entries
from target_entries e group by e.shop_id, e.connection_id, e.kind, e.state;
