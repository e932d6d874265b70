-- What channels report, held against what we know: runs that read, differences with their cause, and what became of each.

-- What may be corrected by itself, and where it stops; a connection without a row goes by the defaults.
create table reconciliation_policies (
    shop_id bigint not null,
    connection_id bigint not null,
    corrects text[] not null default '{}',
    corrections_max integer not null default 3,
    zeroed_max integer not null default 20,
    zeroed_percent integer not null default 10,
    every_hours integer default 24,
    set_by text not null,
    reason text not null,
    set_at timestamptz not null,
    constraint pk_reconciliation_policies primary key (shop_id, connection_id),
    constraint fk_reconciliation_policies_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_reconciliation_policies_corrects check (
        corrects <@ array['channel_edit', 'lost_write', 'real_loss']
    ),
    constraint ck_reconciliation_policies_limits check (
        corrections_max between 1 and 100 and zeroed_max >= 0 and zeroed_percent between 0 and 100
        and every_hours between 1 and 8784
    ),
    constraint ck_reconciliation_policies_named_and_reasoned check (btrim(set_by) <> '' and btrim(reason) <> '')
);
comment on table reconciliation_policies is 'what is corrected by itself at a connection, and where a person is asked';
comment on column reconciliation_policies.corrects is 'causes that are corrected; every other is flagged';
comment on column reconciliation_policies.corrections_max is 'so many equal corrections of one listing, then a person is asked';
comment on column reconciliation_policies.zeroed_max is 'so many live listings may be taken to 0 by corrections, then a person is asked';
comment on column reconciliation_policies.zeroed_percent is 'and no more than so many of a hundred live ones';
comment on column reconciliation_policies.every_hours is 'how often it is compared by itself; null: never';

create table reconciliation_runs (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint not null,
    kind text not null,
    sku_id bigint,
    sync_run_id bigint not null,
    state text not null default 'queued',
    road text,
    listings_until bigint,
    cursor text,
    pages integer not null default 0,
    observed integer not null default 0,
    compared integer not null default 0,
    found integer not null default 0,
    resolved integer not null default 0,
    is_held boolean not null default false,
    requested_by text not null,
    reason text not null,
    requested_at timestamptz not null,
    started_at timestamptz,
    read_at timestamptz,
    ended_at timestamptz,
    error text,
    constraint pk_reconciliation_runs primary key (shop_id, id),
    constraint fk_reconciliation_runs_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint fk_reconciliation_runs_skus_shop_id_sku_id foreign key (shop_id, sku_id) references skus (shop_id, id),
    constraint ck_reconciliation_runs_kind check (kind in ('stock', 'orders')),
    constraint ck_reconciliation_runs_state check (
        state in ('queued', 'reading', 'comparing', 'done', 'failed')
    ),
    constraint ck_reconciliation_runs_ended check ((state in ('done', 'failed')) = (ended_at is not null)),
    constraint ck_reconciliation_runs_whole check (kind = 'stock' or sku_id is null)
);
comment on table reconciliation_runs is 'readings of a channel to compare with; one of a kind is open at a connection';
comment on column reconciliation_runs.sku_id is 'the only SKU that was read; null: all of the connection';
comment on column reconciliation_runs.sync_run_id is 'the run that people see, with its progress';
comment on column reconciliation_runs.road is 'export: written down by the channel; levels: asked for page by page';
comment on column reconciliation_runs.listings_until is 'the newest listing when reading began: later ones are not missed';
comment on column reconciliation_runs.cursor is 'behind which page reading goes on, in the words of its road';
comment on column reconciliation_runs.read_at is 'when everything was read; what is not read closes nothing';
comment on column reconciliation_runs.is_held is 'a brake holds its corrections until a person says yes';
create unique index uq_reconciliation_runs_open on reconciliation_runs (shop_id, connection_id, kind)
    where ended_at is null;
create unique index uq_reconciliation_runs_sync_run on reconciliation_runs (shop_id, sync_run_id);
create index ix_reconciliation_runs_shop_id_connection_id_id on reconciliation_runs (shop_id, connection_id, id);

-- What a run read, until it is compared. No foreign keys: written by the page, dropped with the run.
create table reconciliation_observations (
    shop_id bigint not null,
    run_id bigint not null,
    inventory_ref text not null,
    location_ref text not null,
    channel_ref text,
    code text,
    units integer,
    observed_at timestamptz not null,
    constraint pk_reconciliation_observations primary key (shop_id, run_id, inventory_ref, location_ref)
);
comment on table reconciliation_observations is 'what open runs have read so far, staged to be compared as one set';
comment on column reconciliation_observations.units is 'null: the channel does not count it there';
comment on column reconciliation_observations.channel_ref is 'where the road tells it: the listing it was read with';
comment on column reconciliation_observations.code is 'where the road tells it: the SKU code as the channel spells it';

create table discrepancies (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    connection_id bigint not null,
    subject_key text not null,
    subject jsonb not null,
    listing_id bigint,
    sku_id bigint,
    order_id bigint,
    ours bigint,
    theirs bigint,
    wanted bigint,
    unit text not null,
    currency text,
    cause text not null,
    detail text,
    action text not null,
    asked_because text,
    state text not null default 'open',
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    times_seen integer not null default 1,
    corrections integer not null default 0,
    run_id bigint,
    resolved_at timestamptz,
    resolved_by text,
    resolved_because text,
    reason text,
    constraint pk_discrepancies primary key (shop_id, id),
    constraint fk_discrepancies_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint fk_discrepancies_listings_shop_id_listing_id foreign key (shop_id, listing_id)
        references listings (shop_id, id),
    constraint fk_discrepancies_skus_shop_id_sku_id foreign key (shop_id, sku_id) references skus (shop_id, id),
    constraint fk_discrepancies_orders_shop_id_order_id foreign key (shop_id, order_id) references orders (shop_id, id),
    constraint ck_discrepancies_kind check (kind in ('stock', 'order', 'refund')),
    constraint ck_discrepancies_unit check (unit in ('units', 'minor') and (unit = 'minor') = (currency is not null)),
    constraint ck_discrepancies_action check (action in ('waits', 'healed', 'asked', 'ignored')),
    constraint ck_discrepancies_state check (state in ('open', 'resolved', 'accepted')),
    constraint ck_discrepancies_resolved check (
        (state = 'resolved') = (resolved_at is not null) and (state = 'resolved') = (resolved_by is not null)
        and (state = 'resolved') = (resolved_because is not null)
    ),
    constraint ck_discrepancies_accepted check (
        state <> 'accepted' or (action = 'ignored' and btrim(reason) <> '')
    ),
    constraint ck_discrepancies_asked check ((action = 'asked') or asked_because is null),
    constraint ck_discrepancies_counted check (
        times_seen > 0 and corrections >= 0 and last_seen_at >= first_seen_at
    )
)
with (fillfactor = 80);
comment on table discrepancies is 'what a channel and we say differently, from when it was first seen until it is gone';
comment on column discrepancies.subject_key is 'what it is about, in one word: at most one living one of a kind and connection';
comment on column discrepancies.ours is 'what we account for; of stock what it showed less what nothing explains; null: we know none';
comment on column discrepancies.theirs is 'what the channel says; null: it knows none';
comment on column discrepancies.wanted is 'of stock: what we wanted it to show when it was last seen';
comment on column discrepancies.cause is 'in_flight, sale_unseen, channel_edit, lost_write, mapping, real_loss; of orders what their part says';
comment on column discrepancies.detail is 'what exactly, in words';
comment on column discrepancies.action is 'waits: it may explain itself; healed: is being corrected; asked: a person decides; ignored: accepted';
comment on column discrepancies.asked_because is 'flagged: by the policy; loop: corrected too often; brake: too many would go to 0; by_hand: only a person can';
comment on column discrepancies.corrections is 'how often the same was corrected already, this one included';
comment on column discrepancies.run_id is 'the run that saw it last';
comment on column discrepancies.reason is 'why a person accepted, corrected or reclassified it';
create unique index uq_discrepancies_living on discrepancies (shop_id, kind, connection_id, subject_key)
    where state <> 'resolved';
create index ix_discrepancies_listing on discrepancies (shop_id, listing_id, id) where listing_id is not null;
create index ix_discrepancies_open on discrepancies (shop_id, connection_id, action) where state = 'open';
create index ix_discrepancies_shop_id_last_seen_at_id on discrepancies (shop_id, last_seen_at, id);
create index ix_discrepancies_resolved on discrepancies (shop_id, kind, connection_id, subject_key, resolved_at)
    where state = 'resolved';

-- The history of each, in order.
create table discrepancy_events (
    shop_id bigint not null,
    id bigint generated always as identity,
    discrepancy_id bigint not null,
    at timestamptz not null,
    what text not null,
    cause text not null,
    ours bigint,
    theirs bigint,
    who text not null,
    words text,
    constraint pk_discrepancy_events primary key (shop_id, id),
    constraint fk_discrepancy_events_discrepancies_shop_id_discrepancy_id foreign key (shop_id, discrepancy_id)
        references discrepancies (shop_id, id),
    constraint ck_discrepancy_events_what check (what in ('seen', 'changed', 'reclassified', 'asked', 'corrected',
        'held', 'released', 'accepted', 'resolved'))
);
comment on table discrepancy_events is 'what became of each discrepancy; added, never edited';
create index ix_discrepancy_events_shop_id_discrepancy_id_id on discrepancy_events (shop_id, discrepancy_id, id);
create trigger never_edited before update on discrepancy_events for each statement execute function refuse_change();

-- Whether the units of a listing's pool are planned for each channel, instead of simply shown to all of them.
create function is_planned(p_shop_id bigint, p_listing_id bigint) returns boolean language sql stable as $$
    select exists (
        select from pool_takers t join stock_levels k on k.shop_id = t.shop_id and k.sku_id = t.sku_id
            and k.location_id = t.location_id and (k.is_escrow or k.escrow_line_units is not null)
        where t.shop_id = p_shop_id and t.listing_id = p_listing_id)
$$;
comment on function is_planned is 'whether the units of its pool are planned for each channel';

-- Whether what a channel changed by itself is left as it is, because it waits for an explanation or for a person. A
-- number below what we account for is left; one above it only in a pool that is simply shown to every channel, and only
-- while what we want has not changed since: the next change of stock is written. Where nothing is written nothing is held.
create function unseen_is_held(p_shop_id bigint, p_listing_id bigint, p_unseen integer, p_wanted bigint)
returns boolean language sql stable as $$
    select exists (
        select from discrepancies d
        join connections c on c.shop_id = d.shop_id and c.id = d.connection_id and c.write_mode = 'live'
        where d.shop_id = p_shop_id and d.listing_id = p_listing_id and d.kind = 'stock' and d.state <> 'resolved'
            and d.action in ('waits', 'asked', 'ignored')
            and (p_unseen < 0 or (d.wanted is not distinct from p_wanted
                and not is_planned(d.shop_id, d.listing_id))))
$$;
comment on function unseen_is_held is 'whether what a channel changed by itself waits for an explanation or for a person';

-- Where units are planned for each channel, the plan knows nothing of what is unexplained: it must not be written over
-- with a higher number while that waits. Lower ones always go.
create function raise_is_held(p_shop_id bigint, p_listing_id bigint, p_unseen integer) returns boolean
language sql stable as $$
    select p_unseen < 0 and is_planned(p_shop_id, p_listing_id)
        and unseen_is_held(p_shop_id, p_listing_id, p_unseen, null)
$$;
comment on function raise_is_held is 'whether a listing must not be raised over what its channel changed by itself';

create view discrepancy_list with (security_invoker = true) as
select
    d.shop_id, d.id as discrepancy_id, d.kind, d.connection_id, c.name as connection, d.subject_key, d.subject,
    d.listing_id, d.sku_id, d.order_id, d.ours, d.theirs, d.theirs - d.ours as difference, d.wanted, d.unit, d.currency,
    d.cause, d.detail, d.action, d.asked_because, d.state, d.first_seen_at, d.last_seen_at, d.times_seen, d.corrections,
    d.run_id, d.resolved_at, d.resolved_by, d.resolved_because, d.reason,
    s.code, l.channel_ref, l.channel_code, l.title, p.name as location, o.name as order_name
from discrepancies d
join connections c on c.shop_id = d.shop_id and c.id = d.connection_id
left join listings l on l.shop_id = d.shop_id and l.id = d.listing_id
left join locations p on p.shop_id = l.shop_id and p.id = l.location_id
left join skus s on s.shop_id = d.shop_id and s.id = d.sku_id
left join orders o on o.shop_id = d.shop_id and o.id = d.order_id;
comment on view discrepancy_list is 'discrepancies with what a person reads of them; by page over (last_seen_at, discrepancy_id)';

-- Every connection: when it was last compared, what is open, what its policy says.
create view reconciliation_list with (security_invoker = true) as
select
    c.shop_id, c.id as connection_id, c.name as connection, k.kind,
    r.id as run_id, r.sync_run_id, r.state, r.sku_id, r.road, r.pages, r.observed, r.compared, r.found, r.resolved,
    r.is_held, r.requested_by, r.reason, r.requested_at, r.started_at, r.ended_at, r.error,
    y.step, y.done, y.total,
    w.read_at as last_whole_at,
    coalesce(n.open, 0) as open, coalesce(n.asked, 0) as asked, coalesce(n.waits, 0) as waits,
    coalesce(n.healed, 0) as healed, coalesce(n.accepted, 0) as accepted, n.oldest_at,
    coalesce(q.corrects, '{}') as corrects, coalesce(q.corrections_max, 3) as corrections_max,
    coalesce(q.zeroed_max, 20) as zeroed_max, coalesce(q.zeroed_percent, 10) as zeroed_percent,
    case when q.shop_id is null then 24 else q.every_hours end as every_hours
from connections c
cross join (values ('stock'), ('orders')) k(kind)
left join lateral (
    select * from reconciliation_runs r where r.shop_id = c.shop_id and r.connection_id = c.id and r.kind = k.kind
    order by r.id desc limit 1
) r on true
left join lateral (
    select r.read_at from reconciliation_runs r
    where r.shop_id = c.shop_id and r.connection_id = c.id and r.kind = k.kind and r.sku_id is null
        and r.state = 'done'
    order by r.id desc limit 1
) w on true
left join sync_runs y on y.shop_id = r.shop_id and y.id = r.sync_run_id
left join lateral (
    select count(*) filter (where d.state = 'open') as open,
        count(*) filter (where d.state = 'open' and d.action = 'asked') as asked,
        count(*) filter (where d.state = 'open' and d.action = 'waits') as waits,
        count(*) filter (where d.state = 'open' and d.action = 'healed') as healed,
        count(*) filter (where d.state = 'accepted') as accepted,
        min(d.first_seen_at) filter (where d.state = 'open') as oldest_at
    from discrepancies d
    where d.shop_id = c.shop_id and d.connection_id = c.id and d.state <> 'resolved'
        and (d.kind = 'stock') = (k.kind = 'stock')
) n on true
left join reconciliation_policies q on q.shop_id = c.shop_id and q.connection_id = c.id;
comment on view reconciliation_list is 'each connection, of stock and of orders: its last run, what is open, its policy';

-- For alerts: what is open, how much, and for how long.
create view discrepancy_ages with (security_invoker = true) as
select d.shop_id, d.connection_id, c.name as connection, d.kind, d.cause, d.action, count(*) as discrepancies,
    count(distinct d.sku_id) as skus, count(distinct d.order_id) as orders,
    coalesce(sum(abs(coalesce(d.theirs, 0) - coalesce(d.ours, 0))) filter (where d.unit = 'units'), 0)::bigint as units,
    min(d.first_seen_at) as oldest_at, max(d.last_seen_at) as newest_at
from discrepancies d join connections c on c.shop_id = d.shop_id and c.id = d.connection_id
where d.state = 'open'
group by 1, 2, 3, 4, 5, 6;
comment on view discrepancy_ages is 'open discrepancies by connection, kind, cause and action, with the age of the oldest';
