-- One file of products on its way into the catalogue. What step it is at lives here: a page may be closed and opened.
create table import_runs (
    shop_id bigint not null,
    id bigint generated always as identity,
    document_id bigint not null,
    file_name text not null,
    state text not null,
    generation integer not null default 0,
    settings jsonb not null,
    form text,
    problem text,
    stop_asked_by text,
    rows_read bigint not null default 0,
    rows_total bigint,
    items integer not null default 0,
    created integer not null default 0,
    updated integer not null default 0,
    unchanged integer not null default 0,
    rejected integer not null default 0,
    warnings integer not null default 0,
    applied integer not null default 0,
    refused integer not null default 0,
    undone integer not null default 0,
    kept integer not null default 0,
    applied_to integer,
    undone_to integer,
    stock_undone_to bigint,
    stock_kept text[] not null default '{}',
    new_categories text[] not null default '{}',
    new_metafields jsonb not null default '[]',
    created_by text not null,
    reason text not null,
    created_at timestamptz not null,
    worked_at timestamptz not null,
    read_at timestamptz,
    applied_by text,
    applied_at timestamptz,
    undone_by text,
    undone_at timestamptz,
    constraint pk_import_runs primary key (shop_id, id),
    constraint fk_import_runs_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint ck_import_runs_state check (state in
        ('reading', 'read', 'applying', 'applied', 'stopped', 'undoing', 'undone', 'discarded', 'failed')),
    constraint ck_import_runs_said check (btrim(created_by) <> '' and btrim(reason) <> '')
);
comment on column import_runs.document_id is 'the uploaded file';
comment on column import_runs.generation is 'how often it was begun to be read: what belongs to an earlier reading is not noted';
comment on column import_runs.settings is 'how it is read: mapping, currency, codes, what becomes of stock';
comment on column import_runs.stop_asked_by is 'who wants it to stop at the next batch';
comment on column import_runs.worked_at is 'the last sign of life of whoever works on it';
comment on column import_runs.refused is 'items that were not applied because the catalogue changed since they were read';
comment on column import_runs.kept is 'items that were not undone: changed since, or no product could be as it was';
comment on column import_runs.applied_to is 'the position up to which items are applied';
comment on column import_runs.undone_to is 'the position down to which items are taken back';
comment on column import_runs.stock_undone_to is 'the document of stock down to which they are taken back; 0: all of them';
comment on column import_runs.stock_kept is 'of each document of stock that was not taken back, why';
create index ix_import_runs_created_at on import_runs (shop_id, created_at desc, id desc);
create index ix_import_runs_at_work on import_runs (shop_id, id) where state in ('reading', 'applying', 'undoing');

-- One product of the file, or rows that are none: what was read, what it would change, and what became of it.
create table import_items (
    shop_id bigint not null,
    import_id bigint not null,
    position integer not null,
    first_row bigint not null,
    action text not null,
    handle text not null,
    title text not null,
    product_id bigint,
    base_version integer,
    document jsonb,
    category_paths jsonb,
    differences integer not null,
    units jsonb,
    problems jsonb not null,
    has_warnings boolean not null,
    rows jsonb,
    fate text,
    detail text,
    version integer,
    undo_fate text,
    undo_detail text,
    constraint pk_import_items primary key (shop_id, import_id, position),
    constraint fk_import_items_import_runs_shop_id_import_id foreign key (shop_id, import_id)
        references import_runs (shop_id, id),
    constraint ck_import_items_action check (action in ('create', 'update', 'unchanged', 'reject')),
    constraint ck_import_items_fate check (fate in
        ('done', 'stale', 'handle_taken', 'code_taken', 'failed', 'unbooked')),
    constraint ck_import_items_undo_fate check (undo_fate in ('done', 'changed', 'barred'))
);
comment on column import_items.document is 'the product as it is to be; null where it is rejected';
comment on column import_items.category_paths is 'the categories by name, made when it is applied; null: as they are';
comment on column import_items.units is 'stock on hand by code, as the file says';
comment on column import_items.rows is 'of what is rejected: its rows as the file has them';
comment on column import_items.undo_detail is 'why it is barred from being as it was';
create index ix_import_items_to_apply on import_items (shop_id, import_id, position)
    where fate is null and action in ('create', 'update');
create index ix_import_items_to_count on import_items (shop_id, import_id, position)
    where fate is null and action = 'unchanged' and units is not null;
create index ix_import_items_to_undo on import_items (shop_id, import_id, position)
    where fate in ('done', 'unbooked') and version is not null and undo_fate is null;
create index ix_import_items_action on import_items (shop_id, import_id, action, position);
create index ix_import_items_product on import_items (shop_id, import_id, product_id) where product_id is not null;

-- How files of some heads were mapped last: the next one of the same heads is read the same way. The key is a hash of
-- the heads: of some hundred columns they are longer than a row of an index may be.
create table import_mappings (
    shop_id bigint not null,
    id bigint generated always as identity,
    heads_key text not null,
    mapping jsonb not null,
    saved_by text not null,
    saved_at timestamptz not null,
    constraint pk_import_mappings primary key (shop_id, id),
    constraint fk_import_mappings_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint uq_import_mappings_shop_id_heads_key unique (shop_id, heads_key)
);
