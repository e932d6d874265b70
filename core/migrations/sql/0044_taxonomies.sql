-- What others call our categories. Each load is a row; the newest that was not taken back counts, and the one before it
-- is kept with its entries, so that a load can be taken back.
create table taxonomies (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    connection_id bigint,
    name text not null,
    version text not null,
    digest text not null,
    entries integer not null,
    loaded_by text not null,
    reason text not null,
    loaded_at timestamptz not null,
    replaced_at timestamptz,
    constraint pk_taxonomies primary key (shop_id, id),
    constraint fk_taxonomies_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint fk_taxonomies_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_taxonomies_kind check (kind in ('google', 'shopify', 'klaviyo')),
    constraint ck_taxonomies_whose check ((kind = 'klaviyo') = (connection_id is not null)),
    constraint ck_taxonomies_said check (btrim(loaded_by) <> '' and btrim(reason) <> '')
);
comment on column taxonomies.connection_id is 'whose categories they are, where each account has its own';
comment on column taxonomies.name is 'the file or the connection that it came from';
comment on column taxonomies.replaced_at is 'null: the one that counts';
create unique index uq_taxonomies_living on taxonomies (shop_id, kind, connection_id) nulls not distinct
    where replaced_at is null;

create table taxonomy_entries (
    shop_id bigint not null,
    taxonomy_id bigint not null,
    ref text not null,
    path text not null,
    name text not null,
    parent_ref text,
    is_leaf boolean not null,
    words text[] not null,
    constraint pk_taxonomy_entries primary key (shop_id, taxonomy_id, ref),
    constraint fk_taxonomy_entries_taxonomies_shop_id_taxonomy_id foreign key (shop_id, taxonomy_id)
        references taxonomies (shop_id, id)
);
comment on column taxonomy_entries.ref is 'the id that the taxonomy itself gives it';
comment on column taxonomy_entries.path is 'the names from the top, with > between them';
comment on column taxonomy_entries.words is 'of its path, as names are compared';

-- No key to categories or entries: an answer outlives both, and what is gone is told as such.
create table category_mappings (
    shop_id bigint not null,
    id bigint generated always as identity,
    category_id bigint not null,
    category_path text not null,
    kind text not null,
    connection_id bigint,
    answer text not null,
    entry_ref text,
    entry_path text,
    source text not null,
    score integer,
    batch_id bigint,
    replaces_id bigint,
    mapped_by text not null,
    reason text not null,
    mapped_at timestamptz not null,
    ended_by text,
    end_reason text,
    ended_at timestamptz,
    constraint pk_category_mappings primary key (shop_id, id),
    constraint fk_category_mappings_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint fk_category_mappings_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint ck_category_mappings_kind check (kind in ('google', 'shopify', 'klaviyo')),
    constraint ck_category_mappings_whose check ((kind = 'klaviyo') = (connection_id is not null)),
    constraint ck_category_mappings_answer check (
        answer in ('entry', 'left_out', 'own') and (answer = 'entry') = (entry_ref is not null)
        and (entry_ref is null) = (entry_path is null) and (answer <> 'own' or kind = 'klaviyo')
    ),
    constraint ck_category_mappings_source check (source in ('person', 'suggestion')),
    constraint ck_category_mappings_said check (btrim(mapped_by) <> '' and btrim(reason) <> ''),
    constraint ck_category_mappings_ended check (
        (ended_at is null) = (ended_by is null) and (ended_at is null) = (end_reason is null)
    )
);
comment on table category_mappings is 'which entry of a taxonomy a category is; ended ones are its history';
comment on column category_mappings.category_path is 'the category as it was called then';
comment on column category_mappings.answer is 'entry: that entry of the taxonomy; left_out: none; own: one of its own, whatever those above it are';
comment on column category_mappings.entry_path is 'the entry as it was called then';
comment on column category_mappings.score is 'of the suggestion that was accepted, in percent';
comment on column category_mappings.batch_id is 'the audit entry of the act that accepted many';
comment on column category_mappings.replaces_id is 'the answer that this one took the place of';
create unique index uq_category_mappings_living on category_mappings (shop_id, kind, connection_id, category_id)
    nulls not distinct where ended_at is null;
create index ix_category_mappings_history on category_mappings (shop_id, kind, connection_id, id);
create index ix_category_mappings_batch_id on category_mappings (shop_id, batch_id) where batch_id is not null;
create index ix_category_mappings_category_id on category_mappings (shop_id, category_id);

-- What was answered is a fact; only that it ended is added, once.
create function keep_category_mapping() returns trigger language plpgsql as $$
begin
    if old.ended_at is not null
        or (to_jsonb(new) - array['ended_at', 'ended_by', 'end_reason'])
            is distinct from (to_jsonb(old) - array['ended_at', 'ended_by', 'end_reason']) then
        raise exception 'mapping % is a fact: only that it ended is added', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger only_ends before update on category_mappings for each row execute function keep_category_mapping();
create trigger never_deleted before delete or truncate on category_mappings
    for each statement execute function refuse_change();

-- Whatever removes a category ends what was answered for it: nobody can be asked about it any more.
create function end_mappings_of_category() returns trigger language plpgsql as $$
begin
    update category_mappings set ended_at = greatest(now(), mapped_at), ended_by = 'switchyard',
        end_reason = 'the category was removed'
    where shop_id = old.shop_id and category_id = old.id and ended_at is null;
    return old;
end $$;
create trigger ends_mappings after delete on categories for each row execute function end_mappings_of_category();
