-- The day closed: one report for each shop and business day, and its corrections.
alter table orders add column tax_minor bigint, add column shipping_minor bigint;
comment on column orders.tax_minor is 'taxes, included in the total or on top; null where the channel does not tell';
comment on column orders.shipping_minor is 'what the buyer paid for carriage; null where the channel does not tell';
alter table customer_returns add column country_code text;
comment on column customer_returns.country_code is 'where what came back was sold to, where that is known';

create table daily_reports (
    shop_id bigint not null,
    id bigint generated always as identity,
    day date not null,
    edition integer not null,
    time_zone text not null,
    begins_at timestamptz not null,
    ends_at timestamptz not null,
    content jsonb not null,
    content_hash text not null,
    changes jsonb not null default '[]',
    causes jsonb not null default '[]',
    is_material boolean not null,
    built_at timestamptz not null,
    built_by text not null,
    reason text not null,
    constraint pk_daily_reports primary key (shop_id, id),
    constraint fk_daily_reports_shops_shop_id foreign key (shop_id) references shops (shop_id),
    -- Once per shop, day and edition, whoever builds and how often.
    constraint uq_daily_reports_shop_id_day_edition unique (shop_id, day, edition),
    constraint ck_daily_reports_edition check (edition >= 1),
    constraint ck_daily_reports_correction check ((edition = 1) = (changes = '[]')),
    constraint ck_daily_reports_closed check (begins_at <= ends_at and ends_at <= built_at),
    constraint ck_daily_reports_named_and_reasoned check (btrim(built_by) <> '' and btrim(reason) <> '')
);
comment on table daily_reports is 'what a business day came to, as it was known when it was built; kept as it was';
comment on column daily_reports.day is 'the business day in the shop''s zone of that time';
comment on column daily_reports.edition is '1 as first built; each correction is the next';
comment on column daily_reports.content is 'every figure of it; core/reports/rules.py has the shape';
comment on column daily_reports.content_hash is 'SHA-256 of the content in its canonical form, in hexadecimal';
comment on column daily_reports.changes is 'of a correction: each figure that changed, from what to what';
comment on column daily_reports.causes is 'and why: what came, or changed, after the edition before';
comment on column daily_reports.is_material is 'whether people are told of it: a first edition, or a change that matters';

-- The part that is summed, by marketplace: as rows, so that weeks and lists are made in the database.
create table daily_report_markets (
    shop_id bigint not null,
    report_id bigint not null,
    ordinal integer not null,
    connection_id bigint,
    country_code text,
    currency text not null,
    orders bigint not null,
    units bigint not null,
    other_units bigint not null,
    gross_minor bigint not null,
    discount_minor bigint not null,
    revenue_minor bigint not null,
    tax_minor bigint,
    shipping_minor bigint,
    refunds bigint not null,
    refunded_units bigint not null,
    refunded_minor bigint not null,
    cancellations bigint not null,
    cancelled_units bigint not null,
    cancelled_minor bigint not null,
    constraint pk_daily_report_markets primary key (shop_id, report_id, ordinal),
    constraint fk_daily_report_markets_daily_reports_shop_id_report_id
        foreign key (shop_id, report_id) references daily_reports (shop_id, id),
    constraint ck_daily_report_markets_revenue check (revenue_minor = gross_minor - discount_minor)
);
comment on column daily_report_markets.connection_id is 'null: given back without an order';
comment on column daily_report_markets.country_code is 'where it went to; null where the channel does not tell';
comment on column daily_report_markets.other_units is 'of what has no stock by nature: carriage, vouchers';
comment on column daily_report_markets.tax_minor is 'of the orders of which it is told; null where of none';

create trigger append_only before update or delete or truncate on daily_reports
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on daily_report_markets
    for each statement execute function refuse_change();

create table daily_report_policies (
    shop_id bigint not null,
    look_back_days integer not null,
    material_share numeric(6, 4) not null,
    set_by text not null,
    reason text not null,
    set_at timestamptz not null,
    constraint pk_daily_report_policies primary key (shop_id),
    constraint fk_daily_report_policies_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint ck_daily_report_policies_look_back_days check (look_back_days between 1 and 90),
    constraint ck_daily_report_policies_material_share check (material_share between 0 and 1),
    constraint ck_daily_report_policies_named_and_reasoned check (btrim(set_by) <> '' and btrim(reason) <> '')
);
comment on table daily_report_policies is 'how corrections are looked for and told; no row: as core/reports/rules.py has it';
comment on column daily_report_policies.look_back_days is 'how many days back the nightly look goes';
comment on column daily_report_policies.material_share is
    'a correction is mailed when orders, revenue or refunds changed by at least this share';

create index ix_refunds_shop_id_refunded_at on refunds (shop_id, refunded_at);
create index ix_customer_returns_shop_id_returned_at on customer_returns (shop_id, returned_at);
create index ix_orders_cancelled on orders (shop_id, cancelled_at) where cancelled_at is not null;
-- What grows by time and is read by day: a few pages for millions of rows, and next to nothing for each that is added.
create index ix_stock_movements_recorded_at on stock_movements using brin (recorded_at);
create index ix_reservations_created_at on reservations using brin (created_at);
create index ix_listing_writes_outcome_at on listing_writes using brin (outcome_at);

-- Every edition with its sums; `money` has one entry for each currency.
create view daily_report_list with (security_invoker = true) as
select
    r.shop_id, r.id as report_id, r.day, r.edition, r.built_at, r.built_by, r.reason, r.is_material,
    jsonb_array_length(r.changes) as changes,
    not exists (select from daily_reports n where n.shop_id = r.shop_id and n.day = r.day and n.edition > r.edition)
        as is_latest,
    coalesce(m.orders, 0)::bigint as orders, coalesce(m.units, 0)::bigint as units,
    coalesce(m.refunds, 0)::bigint as refunds, coalesce(m.refunded_units, 0)::bigint as refunded_units,
    coalesce(m.cancellations, 0)::bigint as cancellations, coalesce(m.money, '[]') as money,
    extract(epoch from r.ends_at - r.begins_at)::float8 / 3600 as hours
from daily_reports r
left join lateral (
    select sum(c.orders) as orders, sum(c.units) as units, sum(c.refunds) as refunds,
        sum(c.refunded_units) as refunded_units, sum(c.cancellations) as cancellations,
        jsonb_agg(jsonb_build_object('currency', c.currency, 'revenue_minor', c.revenue_minor, 'orders', c.orders,
            'refunded_minor', c.refunded_minor) order by c.revenue_minor desc, c.currency) as money
    from (
        select k.currency, sum(k.orders) as orders, sum(k.units) as units, sum(k.refunds) as refunds,
            sum(k.refunded_units) as refunded_units, sum(k.cancellations) as cancellations,
            sum(k.revenue_minor)::bigint as revenue_minor, sum(k.refunded_minor)::bigint as refunded_minor
        from daily_report_markets k where k.shop_id = r.shop_id and k.report_id = r.id group by k.currency
    ) c
) m on true;
