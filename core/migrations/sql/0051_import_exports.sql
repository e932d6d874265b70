-- Categories by their path as the file names them, as they were when it was read or made: one that is renamed or moved
-- before the import is applied is followed, and never made twice.
alter table import_runs add column category_ids jsonb not null default '{}';
comment on column import_runs.category_ids is
    'by the path that the file names, the category that it was when the file was read, or that was made for it';

-- A SKU that a channel or the desk brought has a name of its own, which the product''s takes the place of.
alter table import_items add column skus_before jsonb;
comment on column import_items.skus_before is
    'by code, title and barcode of the SKUs that were no product''s before it was applied: given back by an undo';

-- Which row told of a SKU that no product has: another that finds it by its barcode in a later batch is told so.
create table import_codes (
    shop_id bigint not null,
    import_id bigint not null,
    code text not null,
    row bigint not null,
    constraint pk_import_codes primary key (shop_id, import_id, code),
    constraint fk_import_codes_import_runs_shop_id_import_id foreign key (shop_id, import_id)
        references import_runs (shop_id, id)
);
comment on table import_codes is 'SKUs that no product has and the file tells of, with the row that does';

-- The catalogue as a file: written by a worker a batch at a time, fetched by a signed link.
create table catalogue_exports (
    shop_id bigint not null,
    id bigint generated always as identity,
    state text not null,
    kind text not null,
    filters jsonb not null,
    products_total integer not null,
    products_done integer not null default 0,
    rows_done integer not null default 0,
    attempts integer not null default 0,
    document_id bigint,
    file_name text,
    problem text,
    created_by text not null,
    created_at timestamptz not null,
    worked_at timestamptz not null,
    ended_at timestamptz,
    constraint pk_catalogue_exports primary key (shop_id, id),
    constraint fk_catalogue_exports_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint ck_catalogue_exports_state check (state in ('writing', 'written', 'stopped', 'failed')),
    constraint ck_catalogue_exports_kind check (kind in ('csv', 'xlsx')),
    constraint ck_catalogue_exports_written check ((state = 'written') = (document_id is not null))
);
comment on column catalogue_exports.filters is 'which products, as on their page';
comment on column catalogue_exports.products_total is 'how many fitted when it was asked for';
comment on column catalogue_exports.attempts is 'how often somebody began to write it';
comment on column catalogue_exports.document_id is 'the file, kept for some days';
comment on column catalogue_exports.worked_at is 'the last sign of life of whoever works on it';
create index ix_catalogue_exports_at_work on catalogue_exports (shop_id, id) where state = 'writing';
