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
