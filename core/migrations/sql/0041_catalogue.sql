-- The tree of categories. A path is the names from the top, so that a list needs no recursion.
create table categories (
    shop_id bigint not null,
    id bigint generated always as identity,
    parent_id bigint,
    name text not null,
    path text not null,
    depth integer not null,
    created_at timestamptz not null,
    constraint pk_categories primary key (shop_id, id),
    constraint fk_categories_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint fk_categories_categories_shop_id_parent_id foreign key (shop_id, parent_id)
        references categories (shop_id, id),
    constraint uq_categories_shop_id_parent_id_name unique nulls not distinct (shop_id, parent_id, name),
    constraint ck_categories_name check (btrim(name) = name and name <> ''),
    constraint ck_categories_not_its_own_parent check (parent_id <> id)
);
comment on column categories.path is 'the names from the top, with > between them';
create index ix_categories_shop_id_parent_id on categories (shop_id, parent_id);
create index ix_categories_shop_id_path on categories (shop_id, path);

-- A product as it is now. What it was is in product_versions: every row here is a projection of its last document.
create table products (
    shop_id bigint not null,
    id bigint generated always as identity,
    handle text not null,
    title text not null,
    description text not null,
    vendor text,
    product_type text,
    status text not null,
    url text,
    tags text[] not null,
    options text[] not null,
    images jsonb not null,
    metafields jsonb not null,
    seo_title text,
    seo_description text,
    words tsvector not null,
    variant_count integer not null,
    version integer not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint pk_products primary key (shop_id, id),
    constraint fk_products_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint uq_products_shop_id_handle unique (shop_id, handle),
    constraint ck_products_status check (status in ('active', 'draft', 'archived')),
    constraint ck_products_named check (btrim(handle) <> '' and btrim(title) <> ''),
    constraint ck_products_version check (version > 0)
);
comment on column products.handle is 'what files and addresses call it; compared exactly';
comment on column products.url is 'its page; null: made of the shop''s address and the handle';
comment on column products.options is 'the names of what its variants differ by, in order';
comment on column products.images is 'a list of url and alt, the first is the main one';
comment on column products.metafields is 'by key, each in the form of its type';
comment on column products.words is 'what search finds it by, its variants'' codes and barcodes among it';
create index ix_products_words on products using gin (words);
create index ix_products_shop_id_title on products (shop_id, title, id);
create index ix_products_shop_id_updated_at on products (shop_id, updated_at, id);

-- What of a SKU belongs to the catalogue. A SKU without a row here is stocked and sold, but no product's.
create table variants (
    shop_id bigint not null,
    sku_id bigint not null,
    product_id bigint not null,
    position integer not null,
    option_values text[] not null,
    price_minor bigint,
    compare_at_minor bigint,
    currency text not null,
    weight_grams integer,
    requires_shipping boolean not null,
    taxable boolean not null,
    image_url text,
    metafields jsonb not null,
    constraint pk_variants primary key (shop_id, sku_id),
    constraint fk_variants_skus_shop_id_sku_id foreign key (shop_id, sku_id) references skus (shop_id, id),
    constraint fk_variants_products_shop_id_product_id foreign key (shop_id, product_id)
        references products (shop_id, id),
    constraint ck_variants_prices check (price_minor >= 0 and compare_at_minor >= 0),
    constraint ck_variants_weight_grams check (weight_grams >= 0)
);
comment on column variants.price_minor is 'in minor units of currency; null: not priced yet';
comment on column variants.compare_at_minor is 'the price before, where it is reduced';
create index ix_variants_shop_id_product_id on variants (shop_id, product_id, position);

create table product_categories (
    shop_id bigint not null,
    product_id bigint not null,
    category_id bigint not null,
    position integer not null,
    constraint pk_product_categories primary key (shop_id, product_id, category_id),
    constraint fk_product_categories_products_shop_id_product_id foreign key (shop_id, product_id)
        references products (shop_id, id),
    constraint fk_product_categories_categories_shop_id_category_id foreign key (shop_id, category_id)
        references categories (shop_id, id)
);
comment on column product_categories.position is 'the first is the main one';
create index ix_product_categories_shop_id_category_id on product_categories (shop_id, category_id);

-- Every state that a product was ever given, whole. Added, never edited; taking one back is another one.
create table product_versions (
    shop_id bigint not null,
    product_id bigint not null,
    version integer not null,
    act text not null,
    document jsonb,
    made_by text not null,
    reason text not null,
    made_at timestamptz not null,
    import_id bigint,
    undoes_version integer,
    constraint pk_product_versions primary key (shop_id, product_id, version),
    constraint fk_product_versions_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint ck_product_versions_act check (act in ('created', 'edited', 'imported', 'undone', 'read', 'removed')),
    constraint ck_product_versions_said check (btrim(made_by) <> '' and btrim(reason) <> '')
);
comment on column product_versions.document is 'the product as it was from then on; null: it was removed';
comment on column product_versions.undoes_version is 'the version whose change this one takes back';
create index ix_product_versions_import_id on product_versions (shop_id, import_id, product_id)
    where import_id is not null;
create trigger append_only before update or delete or truncate on product_versions
    for each statement execute function refuse_change();

create table metafield_definitions (
    shop_id bigint not null,
    id bigint generated always as identity,
    owner text not null,
    key text not null,
    name text not null,
    type text not null,
    description text not null,
    created_at timestamptz not null,
    constraint pk_metafield_definitions primary key (shop_id, id),
    constraint fk_metafield_definitions_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint uq_metafield_definitions_shop_id_owner_key unique (shop_id, owner, key),
    constraint ck_metafield_definitions_owner check (owner in ('product', 'variant')),
    constraint ck_metafield_definitions_type check
        (type in ('text', 'multiline', 'integer', 'decimal', 'boolean', 'date', 'money', 'url', 'colour', 'list', 'json')),
    constraint ck_metafield_definitions_named check (btrim(key) <> '' and btrim(name) <> '')
);
comment on column metafield_definitions.key is 'namespace.key';
