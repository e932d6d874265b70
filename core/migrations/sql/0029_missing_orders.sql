-- Orders and refunds that are missing here or at their channel.

create table order_readings (
    shop_id bigint not null,
    run_id bigint not null,
    connection_id bigint not null,
    since_at timestamptz not null,
    began_at timestamptz not null,
    step text not null default 'reading',
    resume text,
    read_to timestamptz,
    asked_at timestamptz,
    at_ref text not null default '',
    healed_at timestamptz,
    refs text[],
    constraint pk_order_readings primary key (shop_id, run_id),
    constraint fk_order_readings_reconciliation_runs_shop_id_run_id foreign key (shop_id, run_id)
        references reconciliation_runs (shop_id, id),
    constraint ck_order_readings_step check (
        step in ('reading', 'comparing', 'asking', 'judging', 'healing', 'closing')
    ),
    constraint ck_order_readings_window check (since_at <= began_at)
);
comment on table order_readings is 'where a run that compares a channel''s orders with ours is; gone when the run has ended';
comment on column order_readings.since_at is 'orders changed or placed since then are read';
comment on column order_readings.began_at is 'what we learned of later is not judged';
comment on column order_readings.resume is 'with it the channel goes on behind the page that was staged last';
comment on column order_readings.read_to is 'the newest version staged, of channels that tell oldest first';
comment on column order_readings.asked_at is 'when the channel last gave a page';
comment on column order_readings.at_ref is 'how far the present step is through the stage';
comment on column order_readings.healed_at is 'since when it waits for what it recorded to be booked';
comment on column order_readings.refs is 'the only orders that it is over; null: those of its window';

create table staged_orders (
    shop_id bigint not null,
    run_id bigint not null,
    channel_ref text not null,
    is_there boolean,
    name text,
    version_at timestamptz,
    placed_at timestamptz,
    is_cancelled boolean,
    lines integer,
    units bigint,
    total_minor bigint,
    currency text,
    refunds integer,
    refunded_minor bigint,
    verdict text,
    order_cause text,
    refund_cause text,
    message_id bigint,
    message_state text,
    constraint pk_staged_orders primary key (shop_id, run_id, channel_ref),
    constraint fk_staged_orders_order_readings_shop_id_run_id foreign key (shop_id, run_id)
        references order_readings (shop_id, run_id),
    constraint ck_staged_orders_verdict check (verdict in ('differs', 'in_flight', 'real', 'equal')),
    constraint ck_staged_orders_message check ((message_id is null) = (message_state is null)),
    constraint ck_staged_orders_told check (
        is_there is not true
        or num_nulls(version_at, is_cancelled, lines, total_minor, currency, refunds, refunded_minor) = 0
    )
);
comment on table staged_orders is 'the orders that a channel showed to a run under way, in the few figures that are compared';
comment on column staged_orders.is_there is 'whether the channel has it; null: it is still to be asked';
comment on column staged_orders.lines is 'of which something is left';
comment on column staged_orders.units is 'null: this version does not tell what edits left of its lines';
comment on column staged_orders.verdict is 'null: nothing differs, as far as it was looked at';
comment on column staged_orders.order_cause is 'how the order differs; null: it does not';
comment on column staged_orders.refund_cause is 'how its refunds differ; null: they do not';
comment on column staged_orders.message_id is 'a message of the inbox that speaks of it and is not handled';
create index ix_staged_orders_asked on staged_orders (shop_id, run_id, channel_ref) where is_there is null;
create index ix_staged_orders_judged on staged_orders (shop_id, run_id, channel_ref) where verdict is not null;

-- Discrepancies in the order in which a person should look: what a brake or the loop breaker stopped, what else is
-- asked, what is being corrected, what waits; within each the largest first. `weight`: units of stock, or of the order.
create view discrepancy_queue with (security_invoker = true) as
select
    d.*,
    case
        when d.state = 'accepted' then 5
        when d.action = 'asked' and d.asked_because = 'brake' then 0
        when d.action = 'asked' and d.asked_because = 'loop' then 1
        when d.action = 'asked' then 2
        when d.action = 'healed' then 3
        else 4
    end as rank,
    case
        when d.unit = 'units' and d.kind = 'stock' then abs(coalesce(d.theirs, 0) - coalesce(d.ours, 0))
        else greatest(
            (d.subject -> 'ours' ->> 'units')::bigint, (d.subject -> 'theirs' ->> 'units')::bigint, 1)
    end as weight,
    l.published_units, greatest(0, l.desired_units - l.short_units) as aim_units, l.exposed_units,
    c.guarantee_class, may_write(c.shop_id, c.id) as may_write, c.vendor
from discrepancy_list d
join connections c on c.shop_id = d.shop_id and c.id = d.connection_id
left join listings l on l.shop_id = d.shop_id and l.id = d.listing_id;
comment on view discrepancy_queue is 'discrepancies, what needs a person most first; by page over (rank, -weight, discrepancy_id)';

-- When each came and went, for how much there was at any moment: one row that adds and, once it is gone, one that takes
-- away, of what it was when it was last seen.
create view discrepancy_steps with (security_invoker = true) as
select d.shop_id, d.connection_id, d.kind, d.cause, t.at, t.sign as discrepancies,
    t.sign * case
        when d.unit = 'units' then abs(coalesce(d.theirs, 0) - coalesce(d.ours, 0))
        else greatest((d.subject -> 'ours' ->> 'units')::bigint, (d.subject -> 'theirs' ->> 'units')::bigint, 1)
    end as units,
    d.resolved_because
from discrepancies d
cross join lateral (
    select d.first_seen_at as at, 1 as sign
    union all
    select d.resolved_at, -1 where d.resolved_at is not null
) t;
comment on view discrepancy_steps is 'when discrepancies came and went, for the picture of drift over time';
create index ix_discrepancies_shop_id_resolved_at on discrepancies (shop_id, resolved_at);

-- What became of one discrepancy, by page over event_id.
create view discrepancy_event_log with (security_invoker = true) as
select e.shop_id, e.id as event_id, e.discrepancy_id, e.at, e.what, e.cause, e.ours, e.theirs, d.unit, d.currency, e.who,
    e.words
from discrepancy_events e join discrepancies d on d.shop_id = e.shop_id and d.id = e.discrepancy_id;
comment on view discrepancy_event_log is 'the history of each discrepancy';
