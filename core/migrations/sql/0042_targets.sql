-- A target is a connection that is told the catalogue and sells nothing: it has no quantities of listings to guarantee.
alter table connections drop constraint ck_connections_guarantee_class;
alter table connections add constraint ck_connections_guarantee_class check (guarantee_class in ('A', 'B', 'C', 'D', 'T'));

-- What a target is to be told of each category, item (a product) and variant (its SKU), and what it confirmed.
create table target_entries (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint not null,
    kind text not null,
    entity_id bigint not null,
    external_id text not null,
    parent_id bigint,
    desired_hash text,
    confirmed_hash text,
    is_known boolean not null default false,
    linked_ids bigint[] not null default '{}',
    to_check boolean not null default false,
    waits boolean not null default false,
    open_job_id bigint,
    planned_version integer,
    planned_units bigint,
    planned_text text,
    failures integer not null default 0,
    is_held boolean not null default false,
    problem_kind text,
    problem_code text,
    problem text,
    next_at timestamptz not null,
    changed_at timestamptz not null,
    confirmed_at timestamptz,
    read_at timestamptz,
    absent_at timestamptz,
    work text generated always as (
        case
            when open_job_id is not null then null
            when to_check then 'check'
            when is_held then null
            when is_known and kind = 'variant' and (linked_ids <> array[parent_id]
                or problem_kind = 'content') then 'delete'
            when problem_kind = 'content' then null
            when desired_hash is null then case when is_known then 'delete' end
            when not is_known then case when not waits then 'create' end
            when confirmed_hash is distinct from desired_hash then 'update'
        end
    ) stored,
    state text not null generated always as (
        case
            when open_job_id is not null then 'in_flight'
            when to_check then 'checking'
            when is_held then 'held'
            when problem_kind = 'content' and not (is_known and kind = 'variant') then 'problem'
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
    ) stored,
    constraint pk_target_entries primary key (shop_id, id),
    constraint uq_target_entries_entity unique (shop_id, connection_id, kind, entity_id),
    constraint uq_target_entries_external_id unique (shop_id, connection_id, kind, external_id),
    constraint fk_target_entries_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_target_entries_kind check (kind in ('category', 'item', 'variant')),
    constraint ck_target_entries_parent check ((kind = 'variant') = (parent_id is not null)),
    constraint ck_target_entries_known check (is_known or confirmed_hash is null),
    constraint ck_target_entries_problem check (
        (problem is null) = (problem_kind is null) and problem_kind in ('content', 'refused')
    )
);
comment on table target_entries is 'what a target is to hold of each thing of the catalogue, and what it is known to hold';
comment on column target_entries.entity_id is 'the category''s, product''s or SKU''s id; as text it is the external id, which never changes';
comment on column target_entries.parent_id is 'the product of a variant';
comment on column target_entries.desired_hash is 'of the content it should show; null: it must not be there';
comment on column target_entries.confirmed_hash is 'of the content it took last; null: none that we know of';
comment on column target_entries.is_known is 'the target has that id, as far as we know: decides between create and update';
comment on column target_entries.linked_ids is 'what it was last told with: an item its categories, a variant its product';
comment on column target_entries.to_check is 'the id is to be read back before anything else is done with it';
comment on column target_entries.waits is 'of a variant: its product is not known to be there yet';
comment on column target_entries.planned_version is 'the product''s version that desired_hash was made of';
comment on column target_entries.planned_units is 'the units that it was made of';
comment on column target_entries.planned_text is 'what else it was made of: a category''s path, an item''s settings of the connection';
comment on column target_entries.is_held is 'failed so often that it waits for a person, or for other content';
comment on column target_entries.problem_kind is 'content: it cannot be told as it is, change it here; refused: the target did not take it';
comment on column target_entries.absent_at is 'when it was read and was not there: a tombstone';
comment on column target_entries.work is 'what is to be done with it next; null: nothing, or it is in a job';
comment on column target_entries.state is 'how it stands, as people count it: see the view target_entry_states';
create index ix_target_entries_state on target_entries (shop_id, connection_id, kind, state);
create index ix_target_entries_work on target_entries (shop_id, connection_id, work, kind, next_at, id)
    where work is not null;
create index ix_target_entries_parent on target_entries (shop_id, connection_id, parent_id) where parent_id is not null;
create index ix_target_entries_item on target_entries (shop_id, connection_id, (linked_ids[1]))
    where kind = 'variant' and is_known;
create index ix_target_entries_linked_ids on target_entries using gin (linked_ids) where is_known and kind = 'item';
create index ix_target_entries_problem on target_entries (shop_id, connection_id, problem_code, id)
    where problem is not null;

-- A bulk job at a target. A row is there before the request leaves; its intent is frozen, its end is set once.
create table target_jobs (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint not null,
    kind text not null,
    verb text not null,
    state text not null default 'planned',
    seat integer not null,
    entries integer not null,
    bytes integer not null,
    ref text,
    planned_at timestamptz not null,
    sent_at timestamptz,
    polled_at timestamptz,
    next_poll_at timestamptz,
    is_over boolean not null default false,
    expires_at timestamptz,
    ended_at timestamptz,
    succeeded integer,
    failed integer,
    unknown integer,
    reason text,
    constraint pk_target_jobs primary key (shop_id, id),
    constraint fk_target_jobs_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_target_jobs_kind check (kind in ('category', 'item', 'variant')),
    constraint ck_target_jobs_verb check (verb in ('create', 'update', 'delete')),
    constraint ck_target_jobs_state check (
        state in ('planned', 'sent', 'queued', 'processing', 'complete', 'cancelled', 'lost')
    ),
    constraint ck_target_jobs_entries check (entries between 1 and 100 and bytes <= 5000000),
    constraint ck_target_jobs_sent check (state in ('planned', 'cancelled') or sent_at is not null),
    constraint ck_target_jobs_ref check (state not in ('queued', 'processing', 'complete') or ref is not null),
    constraint ck_target_jobs_ended check (
        case when state in ('complete', 'cancelled') then ended_at is not null
            when state = 'lost' then true else ended_at is null end
    )
);
comment on table target_jobs is 'bulk jobs at targets of the catalogue, from before they leave until their entries are told';
comment on column target_jobs.state is 'planned: has not left; sent: may have left; lost: no reply came, and it is looked for until it has ended; cancelled: by the target, or it surely never left';
comment on column target_jobs.seat is 'which of a connection''s lanes sends it';
comment on column target_jobs.ref is 'the target''s id of it';
comment on column target_jobs.is_over is 'it was seen to have ended, and is to be read';
create unique index uq_target_jobs_ref on target_jobs (shop_id, connection_id, ref) where ref is not null;
create index ix_target_jobs_open on target_jobs (shop_id, connection_id, kind, verb, next_poll_at) where ended_at is null;
create index ix_target_jobs_ended_at on target_jobs (shop_id, connection_id, ended_at) where ended_at is not null;

create table target_job_entries (
    shop_id bigint not null,
    job_id bigint not null,
    position integer not null,
    entry_id bigint not null,
    hash text,
    linked_ids bigint[] not null default '{}',
    outcome text,
    code text,
    field text,
    detail text,
    constraint pk_target_job_entries primary key (shop_id, job_id, position),
    constraint fk_target_job_entries_target_jobs_shop_id_job_id foreign key (shop_id, job_id)
        references target_jobs (shop_id, id) on delete cascade,
    constraint fk_target_job_entries_target_entries_shop_id_entry_id foreign key (shop_id, entry_id)
        references target_entries (shop_id, id),
    constraint ck_target_job_entries_position check (position between 0 and 99),
    constraint ck_target_job_entries_outcome check (outcome in ('ok', 'failed', 'unknown', 'unsent'))
);
comment on column target_job_entries.position is 'its place in what was sent: the target''s pointers go by it';
comment on column target_job_entries.hash is 'of the content that was sent; null: it was to be deleted';
comment on column target_job_entries.field is 'where the target saw the fault, as the rest of its pointer';
-- At most one job in flight for an id.
create unique index uq_target_job_entries_open on target_job_entries (shop_id, entry_id) where outcome is null;
create index ix_target_job_entries_entry on target_job_entries (shop_id, entry_id, job_id);
alter table target_entries add constraint fk_target_entries_target_jobs_shop_id_open_job_id
    foreign key (shop_id, open_job_id) references target_jobs (shop_id, id);
create index ix_target_entries_open_job on target_entries (shop_id, open_job_id) where open_job_id is not null;

create function keep_target_job() returns trigger language plpgsql as $$
begin
    if old.ended_at is not null then
        raise exception 'job % has ended as %: nothing of it changes', old.id, old.state
            using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.id, new.connection_id, new.kind, new.verb, new.seat, new.entries, new.bytes, new.planned_at)
        is distinct from
        (old.shop_id, old.id, old.connection_id, old.kind, old.verb, old.seat, old.entries, old.bytes, old.planned_at)
    then
        raise exception 'the intent of job % is frozen', old.id using errcode = 'restrict_violation';
    end if;
    if (old.ref is not null and new.ref is distinct from old.ref)
        or (old.sent_at is not null and new.sent_at is distinct from old.sent_at)
        or (old.state <> 'planned' and new.state = 'planned')
    then
        raise exception 'what happened to job % is recorded once', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger history_is_kept before update on target_jobs for each row execute function keep_target_job();

create function keep_target_job_entry() returns trigger language plpgsql as $$
begin
    if old.outcome is not null then
        raise exception 'entry % of job % is settled as %: its outcome is set once', old.position, old.job_id, old.outcome
            using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.job_id, new.position, new.entry_id, new.hash, new.linked_ids) is distinct from
        (old.shop_id, old.job_id, old.position, old.entry_id, old.hash, old.linked_ids)
    then
        raise exception 'what entry % of job % says is frozen', old.position, old.job_id
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger history_is_kept before update on target_job_entries
    for each row execute function keep_target_job_entry();

-- What a target can be told of every SKU's stock: what lies at the shop's own places and is not promised; a bundle has
-- as many as the scarcest of its parts allows.
create view target_units with (security_invoker = true) as
select s.shop_id, s.id as sku_id, case when s.is_stocked then coalesce(greatest(own.units, 0), 0) else 0 end as units
from skus s
left join lateral (
    select sum(greatest(v.available, 0))::bigint as units
    from (
        select l.location_id, l.available from stock_levels l
        where not s.is_bundle and l.shop_id = s.shop_id and l.sku_id = s.id
        union all
        select b.location_id, b.available from bundle_levels b
        where s.is_bundle and b.shop_id = s.shop_id and b.sku_id = s.id
    ) v
    join locations p on p.shop_id = s.shop_id and p.id = v.location_id and p.kind <> 'external'
) own on true;

-- How the entries of each target stand.
--   state  in_step; waits (for its turn, or for what it hangs on); in_flight; checking (is read back); failed (tried
--          again by itself); held (waits for a person, or for other content); problem (cannot be told as it is); gone
create view target_entry_states with (security_invoker = true) as
select e.shop_id, e.connection_id, e.kind, e.state, count(*) as entries
from target_entries e group by e.shop_id, e.connection_id, e.kind, e.state;

-- What targets do not take or cannot be told, with the cause in words; ask for a connection, by (problem_code, entry_id).
create view target_failures with (security_invoker = true) as
select e.shop_id, e.connection_id, c.name as connection, e.id as entry_id, e.kind, e.external_id, e.entity_id,
    coalesce(s.code, p.handle, k.path, e.external_id) as named, coalesce(s.title, p.title, k.path) as title,
    coalesce(e.parent_id, case when e.kind = 'item' then e.entity_id end) as product_id,
    e.problem_kind, e.problem_code, e.problem, e.failures, e.is_held, e.next_at, e.changed_at
from target_entries e
join connections c on c.shop_id = e.shop_id and c.id = e.connection_id
left join skus s on e.kind = 'variant' and s.shop_id = e.shop_id and s.id = e.entity_id
left join products p on e.kind = 'item' and p.shop_id = e.shop_id and p.id = e.entity_id
left join categories k on e.kind = 'category' and k.shop_id = e.shop_id and k.id = e.entity_id
where e.problem is not null;

-- Jobs that have not ended.
create view target_jobs_open with (security_invoker = true) as
select j.shop_id, j.connection_id, c.name as connection, j.id as job_id, j.kind, j.verb, j.state, j.is_over, j.entries,
    j.bytes, j.ref, j.planned_at, j.sent_at, j.polled_at, j.next_poll_at, j.reason
from target_jobs j join connections c on c.shop_id = j.shop_id and c.id = j.connection_id
where j.ended_at is null;
