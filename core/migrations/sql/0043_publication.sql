-- How far the products of a connection are read. No row: nobody has asked for them yet.
create table product_readings (
    shop_id bigint not null,
    connection_id bigint not null,
    read_to timestamptz,
    whole_read_at timestamptz,
    created_at timestamptz not null,
    constraint pk_product_readings primary key (shop_id, connection_id),
    constraint fk_product_readings_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id)
);
comment on column product_readings.read_to is 'the channel''s time of the newest change that was read; the next reading begins there';
comment on column product_readings.whole_read_at is 'when all of them were last read';

-- Who says what stands in a field of products at a connection. What nobody has decided is not here.
create table product_field_masters (
    shop_id bigint not null,
    connection_id bigint not null,
    field text not null,
    master text not null,
    decided_by text not null,
    decided_at timestamptz not null,
    constraint pk_product_field_masters primary key (shop_id, connection_id, field),
    constraint fk_product_field_masters_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_product_field_masters_master check (master in ('ours', 'channel', 'nobody')),
    constraint ck_product_field_masters_decided_by check (btrim(decided_by) <> '')
);
comment on column product_field_masters.field is 'as core.publication.rules names them; metafields.KEY for one of them';

-- One product at one connection: what it shows, and what it should. Products may be gone here, so there is no reference.
create table product_links (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint not null,
    product_id bigint,
    channel_ref text,
    seen jsonb,
    seen_hash text,
    version_at timestamptz,
    seen_at timestamptz,
    names jsonb not null default '{}',
    may_drop text[] not null default '{}',
    judged_version integer,
    desired_hash text,
    confirmed_hash text,
    refused_hash text,
    state text not null,
    problem text,
    correction_key text,
    corrections integer not null default 0,
    failures integer not null default 0,
    next_at timestamptz not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint pk_product_links primary key (shop_id, id),
    constraint fk_product_links_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint uq_product_links_shop_id_connection_id_product_id unique (shop_id, connection_id, product_id),
    constraint uq_product_links_shop_id_connection_id_channel_ref unique (shop_id, connection_id, channel_ref),
    constraint ck_product_links_state check (state in ('in_step', 'differs', 'asks', 'gone')),
    constraint ck_product_links_somewhere check (product_id is not null or channel_ref is not null),
    constraint ck_product_links_seen check ((seen is null) = (seen_hash is null) and (seen is null) = (version_at is null)),
    constraint ck_product_links_asks check (state not in ('asks', 'gone') or problem is not null)
);
comment on column product_links.product_id is 'null: the channel''s product could not be told to be one of ours';
comment on column product_links.channel_ref is 'null: it is not there yet';
comment on column product_links.seen is 'the product whole, as the channel last showed it';
comment on column product_links.version_at is 'the channel''s time of its last change that was read';
comment on column product_links.names is 'by the channel''s reference of a picture: the address that it was fetched from';
comment on column product_links.may_drop is 'references of variants that a person allowed to be deleted there';
comment on column product_links.judged_version is 'the version of our product that state was judged by; null: judge again';
comment on column product_links.desired_hash is 'of what the channel should show';
comment on column product_links.confirmed_hash is 'of what it should have shown when it last did';
comment on column product_links.refused_hash is 'what it objected to: not sent again as it stands';
comment on column product_links.correction_key is 'what was last set right there: fields, what they showed, what they should';
comment on column product_links.corrections is 'how often in a row it was the same';
create index ix_product_links_due on product_links (shop_id, connection_id, next_at) where state = 'differs';
create index ix_product_links_asks on product_links (shop_id, connection_id, id) where state in ('asks', 'gone');

-- A write to a channel's product: a row before it leaves. What is meant is frozen, what came of it is set once.
create table product_pushes (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint not null,
    link_id bigint not null,
    product_id bigint not null,
    product_version integer not null,
    before jsonb,
    wanted jsonb not null,
    base_version_at timestamptz,
    planned_at timestamptz not null,
    sent_at timestamptz,
    answered_at timestamptz,
    outcome text,
    outcome_at timestamptz,
    detail text,
    problems jsonb,
    constraint pk_product_pushes primary key (shop_id, id),
    constraint fk_product_pushes_product_links_shop_id_link_id foreign key (shop_id, link_id)
        references product_links (shop_id, id),
    constraint ck_product_pushes_outcome check
        (outcome in ('confirmed', 'refused', 'partly', 'lost', 'unsent') and (outcome is null) = (outcome_at is null)),
    constraint ck_product_pushes_sent check (sent_at is not null or outcome is null or outcome = 'unsent')
);
comment on column product_pushes.before is 'what the channel showed when it was planned; null: the product was not there';
comment on column product_pushes.wanted is 'what it was to show';
comment on column product_pushes.base_version_at is 'the channel''s time of what was planned from';
comment on column product_pushes.answered_at is 'when the channel said that it was done; then it is read back';
comment on column product_pushes.outcome is 'null while open: of what may have left nobody knows yet';
create unique index uq_product_pushes_open on product_pushes (shop_id, link_id) where outcome is null;
create index ix_product_pushes_shop_id_link_id_id on product_pushes (shop_id, link_id, id);

create function keep_push_intent() returns trigger language plpgsql as $$
begin
    if old.outcome is not null then
        raise exception 'push % is settled as %: its outcome is set once', old.id, old.outcome
            using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.id, new.connection_id, new.link_id, new.product_id, new.product_version, new.before, new.wanted,
        new.base_version_at, new.planned_at)
       is distinct from
       (old.shop_id, old.id, old.connection_id, old.link_id, old.product_id, old.product_version, old.before, old.wanted,
        old.base_version_at, old.planned_at)
    then
        raise exception 'the intent of push % is frozen', old.id using errcode = 'restrict_violation';
    end if;
    if old.sent_at is not null and new.sent_at is distinct from old.sent_at then
        raise exception 'when push % left is recorded once', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger intent_is_frozen before update on product_pushes for each row execute function keep_push_intent();
create trigger never_deleted before delete or truncate on product_pushes
    for each statement execute function refuse_change();
