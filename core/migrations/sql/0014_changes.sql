-- One record for a change that must reach several systems, and a leg for each of them: what an order or a document did
-- to what is available, and whether every channel that must show it has shown a number from after it. No steps are run
-- from here: pushes go by what differs. What stands here is only written beside the facts, and settled by looking.
create table changes (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    order_id bigint,
    document_id bigint,
    version_at timestamptz,
    recorded_at timestamptz not null,
    done_at timestamptz,
    constraint pk_changes primary key (shop_id, id),
    constraint fk_changes_orders_shop_id_order_id foreign key (shop_id, order_id) references orders (shop_id, id),
    constraint fk_changes_stock_documents_shop_id_document_id foreign key (shop_id, document_id)
        references stock_documents (shop_id, id),
    constraint ck_changes_kind check (
        kind in ('order_booked', 'order_cancelled', 'order_refunded', 'order_changed', 'stock_document')
    ),
    constraint ck_changes_cause check (
        (kind = 'stock_document') = (document_id is not null) and (document_id is null) = (order_id is not null)
    ),
    constraint ck_changes_done check (done_at >= recorded_at)
)
with (fillfactor = 90);
comment on table changes is 'what must reach other systems too, written with the commit that caused it';
comment on column changes.version_at is 'the channel''s time of the order''s facts that caused it';
comment on column changes.done_at is 'when the last of its legs had ended';
create index ix_changes_order on changes (shop_id, order_id, id) where order_id is not null;
create index ix_changes_document on changes (shop_id, document_id, id) where document_id is not null;
create index ix_changes_recorded_at on changes using brin (recorded_at);

-- No foreign keys: legs are written by the very statement that writes their change, and joined to connections in it.
-- Looking each of tens of thousands up again cost a third of the statement; the audit looks instead.
create table change_legs (
    shop_id bigint not null,
    change_id bigint not null,
    connection_id bigint not null,
    sku_id bigint not null,
    location_id bigint not null,
    delta_units bigint not null,
    after_write_id bigint not null,
    deadline_at timestamptz not null,
    state text not null default 'open',
    reason text,
    detail text,
    stuck_at timestamptz,
    ended_at timestamptz,
    write_id bigint,
    seen_at timestamptz,
    compensated_by bigint,
    constraint pk_change_legs primary key (shop_id, change_id, connection_id, sku_id, location_id),
    constraint ck_change_legs_state check (state in ('open', 'stuck', 'confirmed', 'refused', 'compensated')),
    constraint ck_change_legs_ended check ((state in ('open', 'stuck')) = (ended_at is null)),
    constraint ck_change_legs_stuck check (state <> 'stuck' or (stuck_at is not null and reason is not null)),
    constraint ck_change_legs_confirmed check (
        (state = 'confirmed') = (write_id is not null or seen_at is not null) and write_id > after_write_id
    ),
    constraint ck_change_legs_explained check (state not in ('refused', 'compensated') or reason is not null),
    constraint ck_change_legs_compensated check (compensated_by is null or state = 'compensated')
);
comment on table change_legs is 'a system that a change must reach: a connection, for one pool of stock';
comment on column change_legs.delta_units is 'what the change did to what is available there';
comment on column change_legs.after_write_id is 'writes of a greater number were planned after the change, with it in their number';
comment on column change_legs.deadline_at is 'stuck when open after that';
comment on column change_legs.state is 'open; stuck: open after its deadline; confirmed, refused or compensated: ended';
comment on column change_legs.reason is 'why it is stuck, refused or compensated: a short stable word';
comment on column change_legs.detail is 'what the channel or the write says of it';
comment on column change_legs.stuck_at is 'since when it is, or when it was first found, stuck';
comment on column change_legs.write_id is 'the write from after the change that the channel confirmed';
comment on column change_legs.seen_at is 'the channel''s time at which it was seen to show what it should, without a write';
comment on column change_legs.compensated_by is 'the change that took it back before it was reached';
-- Those that have not ended, few among many: by system and pool to be settled, and by deadline.
create index ix_change_legs_open on change_legs (shop_id, deadline_at) where state in ('open', 'stuck');
create index ix_change_legs_stuck on change_legs (shop_id, connection_id, reason) where state = 'stuck';
create index ix_change_legs_shop_id_sku_id_change_id on change_legs (shop_id, sku_id, change_id);

-- What a change was is a fact; only that it is done is added, once.
create function keep_change() returns trigger language plpgsql as $$
begin
    if old.done_at is not null or (to_jsonb(new) - 'done_at') is distinct from (to_jsonb(old) - 'done_at') then
        raise exception 'change % is a fact: only that it is done is added', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger only_ends before update on changes for each row execute function keep_change();

-- A leg ends once. One that is stuck is still open: it may be reached late.
create function keep_leg() returns trigger language plpgsql as $$
begin
    if old.ended_at is not null then
        raise exception 'the leg of change % to connection % has ended as %: it ends once',
            old.change_id, old.connection_id, old.state using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.change_id, new.connection_id, new.sku_id, new.location_id, new.delta_units,
            new.after_write_id, new.deadline_at)
        is distinct from (old.shop_id, old.change_id, old.connection_id, old.sku_id, old.location_id, old.delta_units,
            old.after_write_id, old.deadline_at)
        or (old.stuck_at is not null and new.stuck_at is distinct from old.stuck_at)
        or (old.state = 'stuck' and new.state = 'open') then
        raise exception 'the leg of change % to connection %: what must be reached is a fact, only its state changes',
            old.change_id, old.connection_id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger ends_once before update on change_legs for each row execute function keep_leg();
create trigger never_emptied before truncate on changes for each statement execute function refuse_change();
create trigger never_emptied before truncate on change_legs for each statement execute function refuse_change();

create view change_list with (security_invoker = true) as
select
    c.shop_id, c.id as change_id, c.kind, c.order_id, o.name as order_name, n.name as order_connection, c.document_id,
    d.kind as document_kind, d.undoes_id, c.version_at, c.recorded_at, c.done_at, t.legs, t.open_legs, t.stuck_legs,
    t.refused_legs, t.compensated_legs, t.confirmed_legs
from changes c
left join orders o on o.shop_id = c.shop_id and o.id = c.order_id
left join connections n on n.shop_id = o.shop_id and n.id = o.connection_id
left join stock_documents d on d.shop_id = c.shop_id and d.id = c.document_id
cross join lateral (
    select count(*) as legs, count(*) filter (where g.state = 'open') as open_legs,
        count(*) filter (where g.state = 'stuck') as stuck_legs,
        count(*) filter (where g.state = 'refused') as refused_legs,
        count(*) filter (where g.state = 'compensated') as compensated_legs,
        count(*) filter (where g.state = 'confirmed') as confirmed_legs
    from change_legs g where g.shop_id = c.shop_id and g.change_id = c.id
) t;

create view change_leg_list with (security_invoker = true) as
select
    g.shop_id, g.change_id, c.kind, c.order_id, o.name as order_name, c.document_id, d.kind as document_kind,
    d.undoes_id, c.recorded_at, g.connection_id, n.name as connection, n.guarantee_class, g.sku_id, s.code, s.title,
    g.location_id, p.name as location, g.delta_units, g.deadline_at, g.state, g.reason, g.detail, g.stuck_at, g.ended_at,
    g.write_id, w.to_units as shown_units, g.seen_at, g.compensated_by
from change_legs g
join changes c on c.shop_id = g.shop_id and c.id = g.change_id
join connections n on n.shop_id = g.shop_id and n.id = g.connection_id
join skus s on s.shop_id = g.shop_id and s.id = g.sku_id
join locations p on p.shop_id = g.shop_id and p.id = g.location_id
left join orders o on o.shop_id = c.shop_id and o.id = c.order_id
left join stock_documents d on d.shop_id = c.shop_id and d.id = c.document_id
left join listing_writes w on w.shop_id = g.shop_id and w.id = g.write_id;

-- By system and reason: what the alert and the overview say. The oldest stands for all.
create view stuck_legs with (security_invoker = true) as
select
    g.shop_id, g.connection_id, n.name as connection, n.guarantee_class, g.reason, count(*) as legs,
    count(distinct g.change_id) as changes, count(distinct g.sku_id) as skus, min(g.deadline_at) as since,
    (array_agg(g.detail order by g.deadline_at, g.change_id))[1] as detail,
    (array_agg(g.change_id order by g.deadline_at, g.change_id))[1] as example_change_id,
    (array_agg(s.code order by g.deadline_at, g.change_id))[1] as example_code
from change_legs g
join connections n on n.shop_id = g.shop_id and n.id = g.connection_id
join skus s on s.shop_id = g.shop_id and s.id = g.sku_id
where g.state = 'stuck'
group by g.shop_id, g.connection_id, n.name, n.guarantee_class, g.reason;

-- Orders as people look for them. Whoever bought is not among the columns.
create view order_list with (security_invoker = true) as
select
    o.shop_id, o.id as order_id, o.name, o.channel_ref, o.source_ref, o.connection_id, c.name as connection,
    o.placed_at, o.version_at, o.recorded_at, o.cancelled_at, o.cancel_reason, o.financial_status, o.currency,
    o.total_minor, o.is_test, t.lines, t.units, t.unmapped_lines, g.open_legs, g.stuck_legs, g.refused_legs
from orders o
join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
cross join lateral (
    select count(*) as lines, coalesce(sum(l.units), 0)::bigint as units,
        count(*) filter (where l.mapping = 'unmapped') as unmapped_lines
    from order_lines l where l.shop_id = o.shop_id and l.order_id = o.id
) t
cross join lateral (
    select count(*) filter (where x.state = 'open') as open_legs,
        count(*) filter (where x.state = 'stuck') as stuck_legs,
        count(*) filter (where x.state = 'refused') as refused_legs
    from changes h join change_legs x on x.shop_id = h.shop_id and x.change_id = h.id
    where h.shop_id = o.shop_id and h.order_id = o.id
) g;

-- A line with what it holds and what became of it; of a bundle, in units of the line.
create view order_line_list with (security_invoker = true) as
select
    l.shop_id, l.order_id, l.id as order_line_id, l.ordinal, l.code as sold_code, l.title, l.units, l.total_minor,
    l.mapping, l.mapping_reason, s.code, s.is_bundle, r.location, r.held_units, r.shipped_units, r.returned_units,
    r.lost_units
from order_lines l
left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
left join lateral (
    select max(p.name) as location, max(b.held_units / b.units_each) as held_units,
        max(b.consumed_units / b.units_each) as shipped_units, max(b.returned_units / b.units_each) as returned_units,
        max(b.written_off_units / b.units_each) as lost_units
    from reservations b join locations p on p.shop_id = b.shop_id and p.id = b.location_id
    where b.shop_id = l.shop_id and b.order_line_id = l.id
) r on true;

-- What an order's lines did to stock: the booking of its promise, then every movement.
create view order_bookings with (security_invoker = true) as
select
    l.shop_id, l.order_id, m.id as movement_id, m.recorded_at as at, m.reason, s.code, p.name as location,
    m.delta_units, m.unavailable_delta_units, m.recorded_by
from order_lines l
join stock_movements m on m.shop_id = l.shop_id and m.order_line_id = l.id
join skus s on s.shop_id = m.shop_id and s.id = m.sku_id
join locations p on p.shop_id = m.shop_id and p.id = m.location_id;

-- A second kind of alert: a change that hangs. It needs no limit that somebody sets: any is one too many.
alter table alerts drop constraint ck_alerts_kind;
alter table alerts add constraint ck_alerts_kind check (kind in ('exposure', 'stuck_change'));
comment on column alerts.limit_units is 'above which it opened; of hanging changes, 0';
comment on column alerts.units is 'at risk when it was last looked at; of hanging changes, legs that are stuck';
comment on column alerts.worst_skus is 'the worst few when it was last looked at';
