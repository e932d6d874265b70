-- Products of which a channel said that they were made, changed or deleted, until they are read.
create table product_calls (
    shop_id bigint not null,
    connection_id bigint not null,
    channel_ref text not null,
    told_at timestamptz not null,
    constraint pk_product_calls primary key (shop_id, connection_id, channel_ref),
    constraint fk_product_calls_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id)
);
create index ix_product_calls_told_at on product_calls (shop_id, connection_id, told_at, channel_ref);
comment on table product_calls is 'products of which a channel said that they changed, until they are read';
comment on column product_calls.told_at is 'when it was last told: what is told during the reading is read again';

alter table product_links
    add column is_unreadable boolean not null default false,
    add column blocked_by text,
    add column cause text,
    add column waits_since timestamptz,
    add constraint ck_product_links_cause check (cause is null or cause in ('unreadable', 'unclear', 'not_here',
        'removed', 'deleted', 'unfit', 'variants', 'changed_back', 'refused'));
comment on column product_links.is_unreadable is 'the channel''s answer could not be made out: nothing is written to it until it can';
comment on column product_links.blocked_by is 'the channel''s product that has its handle there and cannot be made out';
comment on column product_links.cause is 'of what a person is asked';
comment on column product_links.waits_since is 'since when it waits for a person, for this cause';

alter table product_readings
    add column writes_held_since timestamptz,
    add column writes_held_why text,
    add column category_refs jsonb not null default '{}',
    add constraint ck_product_readings_held check ((writes_held_since is null) = (writes_held_why is null));
comment on column product_readings.writes_held_since is 'since when the channel lets us write no products at all; null: it does';
comment on column product_readings.category_refs is 'by our category, the channel''s that products were judged by';

create function keep_waits_since() returns trigger language plpgsql as $$
begin
    if new.state not in ('asks', 'gone') then
        new.waits_since := null;
        new.cause := null;
    elsif tg_op = 'INSERT' or old.waits_since is null or new.cause is distinct from old.cause then
        new.waits_since := new.updated_at;
    end if;
    return new;
end $$;
create trigger waits_since before insert or update of state, cause on product_links
    for each row execute function keep_waits_since();

update product_links set waits_since = updated_at, cause = case when state = 'gone' then 'deleted' end
where state in ('asks', 'gone');
create index ix_product_links_blocked_by on product_links (shop_id, connection_id, blocked_by)
    where blocked_by is not null;
create index ix_product_links_state on product_links (shop_id, connection_id, state);
create index ix_product_links_waits on product_links (shop_id, connection_id, waits_since, id)
    where state in ('asks', 'gone');

create index ix_product_pushes_outcome_at on product_pushes (outcome_at) where outcome is not null;

-- What ended is forgotten after a while, but for the last of each product.
create function keep_needed_push() returns trigger language plpgsql as $$
begin
    if old.outcome is null or not exists (
        select from product_pushes n where n.shop_id = old.shop_id and n.link_id = old.link_id and n.id > old.id)
    then
        raise exception 'push % is open or the last of its product: it is kept', old.id
            using errcode = 'restrict_violation';
    end if;
    return old;
end $$;
drop trigger never_deleted on product_pushes;
create trigger never_truncated before truncate on product_pushes for each statement execute function refuse_change();
create trigger needed_is_kept before delete on product_pushes for each row execute function keep_needed_push();
