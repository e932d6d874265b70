-- What people see of a connection: what was used of its quota and by whom, its subscriptions, its versions.

-- Whom a call was made for, and what it took of the quota, in the vendor's units.
alter table api_calls add column purpose text;
alter table api_calls add column cost real;
comment on column api_calls.purpose is 'whom it was made for: the registered job, or a command; null before this was kept';
comment on column api_calls.cost is 'what it took of the quota, in the vendor''s units; null where the vendor does not say';

-- What each vendor calls us for, as it was when last looked at.
create table channel_subscriptions (
    shop_id bigint not null,
    connection_id bigint not null,
    topic text not null,
    state text not null,
    ref text,
    checked_at timestamptz not null,
    missed_at timestamptz,
    repaired_at timestamptz,
    repairs integer not null default 0,
    problem text,
    constraint pk_channel_subscriptions primary key (shop_id, connection_id, topic),
    constraint fk_channel_subscriptions_connections_shop_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_channel_subscriptions_state check (state in ('standing', 'missing', 'refused'))
);
comment on column channel_subscriptions.state is
    'standing: calls us; missing: does not, and is not yet repaired; refused: the vendor will not have it';
comment on column channel_subscriptions.ref is 'the vendor''s id of it';
comment on column channel_subscriptions.missed_at is 'when it was last found gone: the vendor dropped it';
comment on column channel_subscriptions.repairs is 'how often it was made again after it had stood';

-- What people did at a channel besides us: they are no fault, but each may break what we promise, so they are counted.
create table channel_acts (
    shop_id bigint not null,
    connection_id bigint not null,
    kind text not null,
    ref text not null,
    units integer,
    acted_at timestamptz not null,
    constraint pk_channel_acts primary key (shop_id, connection_id, kind, ref),
    constraint fk_channel_acts_connections_shop_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_channel_acts_kind check (kind in ('draft_order', 'order_edit', 'stock_edit'))
);
comment on column channel_acts.kind is
    'draft_order: the shop''s people wrote up an order; order_edit: they changed one after it was placed; stock_edit: they typed a number over one';
comment on column channel_acts.ref is 'the channel''s id of the order; of a number: the listing, and when it was first seen';
comment on column channel_acts.units is 'of a number: by how many units it was changed; negative: lowered';

create view channel_acts_by_day with (security_invoker = true) as
select a.shop_id, a.connection_id, (a.acted_at at time zone s.time_zone)::date as day, a.kind, count(*) as acts,
    coalesce(sum(abs(a.units)), 0)::bigint as units
from channel_acts a join shops s using (shop_id) group by 1, 2, 3, 4;
comment on view channel_acts_by_day is 'what people did at a channel besides us, by the shop''s business day';
