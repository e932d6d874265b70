"""Every table of the sandbox. Instants are ISO text in whole UTC seconds; `due_at` is in the sandbox's own clock."""

TABLES = """
create table if not exists meta (name text primary key, value text not null) without rowid;
create table if not exists counters (kind text primary key, value integer not null) without rowid;
create table if not exists tokens (
    token text primary key, kind text not null, owner text not null, expires_at real not null
) without rowid;
create table if not exists faults (
    id integer primary key, kind text not null, match text not null, remaining integer,
    probability real not null, seconds real not null, hits integer not null default 0
);

create table if not exists shops (
    id integer primary key, domain text not null unique, name text not null, currency text not null,
    timezone text not null, plan text not null, client_id text not null, client_secret text not null,
    next_number integer not null default 1001
);
create table if not exists locations (id integer primary key, shop_id integer not null, name text not null);
create table if not exists products (
    id integer primary key, shop_id integer not null, title text not null, handle text not null, vendor text not null,
    product_type text not null, status text not null, created_at text not null, updated_at text not null
);
create index if not exists products_by_update on products (shop_id, updated_at, id);
create table if not exists variants (
    id integer primary key, shop_id integer not null, product_id integer not null, item_id integer not null unique,
    sku text not null, barcode text, price text not null, policy text not null, tracked integer not null,
    created_at text not null, updated_at text not null
);
create index if not exists variants_by_sku on variants (shop_id, sku);
create index if not exists variants_by_product on variants (product_id);
create index if not exists variants_by_update on variants (shop_id, updated_at, id);
create index if not exists variants_by_shop on variants (shop_id, id);
create table if not exists metafields (
    id integer primary key, owner text not null, owner_id integer not null, namespace text not null, key text not null,
    type text not null, value text not null, created_at text not null, updated_at text not null,
    unique (owner, owner_id, namespace, key)
);
create table if not exists levels (
    item_id integer not null, location_id integer not null, shop_id integer not null,
    available integer not null, committed integer not null, opening integer not null,
    created_at text not null, updated_at text not null, primary key (item_id, location_id)
) without rowid;
create index if not exists levels_by_shop on levels (shop_id, item_id, location_id);
create table if not exists adjustment_groups (
    id text primary key, shop_id integer not null, created_at text not null, reason text not null, reference text
) without rowid;
create table if not exists adjustments (
    group_id text not null, position integer not null, item_id integer not null, location_id integer not null,
    name text not null, delta integer not null, after integer not null, primary key (group_id, position)
) without rowid;
drop table if exists idempotency;
create table if not exists attempts (
    shop_id integer not null, client_id text not null, key text not null, operation text not null,
    digest text not null, result text, failed integer not null, created_at real not null,
    primary key (shop_id, client_id, key)
) without rowid;
create index if not exists attempts_by_age on attempts (created_at);
create table if not exists edits (
    shop_id integer not null, key text not null, answer text not null, primary key (shop_id, key)
) without rowid;

create table if not exists orders (
    id integer primary key, shop_id integer not null, key text not null, name text not null, number integer not null,
    created_at text not null, processed_at text not null, updated_at text not null, cancelled_at text,
    cancel_reason text, cancel_key text, currency text not null, customer_ref text, customer_id integer,
    country text, total text not null, location_id integer not null, unique (shop_id, key)
);
create index if not exists orders_by_update on orders (shop_id, updated_at, id);
create index if not exists orders_by_creation on orders (shop_id, created_at, id);
create index if not exists orders_by_process on orders (shop_id, processed_at, id);
create table if not exists lines (
    id integer primary key, order_id integer not null, position integer not null, variant_id integer not null,
    product_id integer not null, item_id integer not null, tracked integer not null, sku text not null,
    title text not null, vendor text not null, quantity integer not null, price text not null,
    fulfilled integer not null default 0, returned integer not null default 0, removed integer not null default 0
);
create index if not exists lines_by_order on lines (order_id, position);
create table if not exists refunds (
    id integer primary key, shop_id integer not null, order_id integer not null, key text not null,
    created_at text not null, processed_at text not null, note text, total text not null, unique (shop_id, key)
);
create index if not exists refunds_by_order on refunds (order_id, id);
create table if not exists refund_lines (
    id integer primary key, refund_id integer not null, line_id integer not null, quantity integer not null,
    restock_type text not null, location_id integer, subtotal text not null
);
create index if not exists refund_lines_by_refund on refund_lines (refund_id, id);
create table if not exists fulfillments (
    id integer primary key, shop_id integer not null, order_id integer not null, key text not null,
    ordinal integer not null, status text not null, created_at text not null, updated_at text not null,
    location_id integer not null, tracking_company text, tracking_number text, tracking_url text,
    unique (shop_id, key)
);
create index if not exists fulfillments_by_order on fulfillments (order_id, id);
create table if not exists fulfillment_lines (
    id integer primary key, fulfillment_id integer not null, line_id integer not null, quantity integer not null
);
create index if not exists fulfillment_lines_by_fulfillment on fulfillment_lines (fulfillment_id, id);

create table if not exists fulfillment_events (
    id integer primary key, fulfillment_id integer not null, status text not null, message text,
    happened_at text not null, created_at text not null
);
create index if not exists fulfillment_events_by_fulfillment on fulfillment_events (fulfillment_id, id);
create table if not exists fulfillment_orders (
    id integer primary key, shop_id integer not null, order_id integer not null, location_id integer not null,
    status text not null, created_at text not null, updated_at text not null
);
create index if not exists fulfillment_orders_by_order on fulfillment_orders (order_id, id);
create index if not exists fulfillment_orders_by_shop on fulfillment_orders (shop_id, id);
create table if not exists fulfillment_order_lines (
    id integer primary key, fulfillment_order_id integer not null, line_id integer not null,
    total integer not null, remaining integer not null
);
create index if not exists fulfillment_order_lines_by_parent on fulfillment_order_lines (fulfillment_order_id, id);
create index if not exists fulfillment_order_lines_by_line on fulfillment_order_lines (line_id, id);
create table if not exists holds (
    id integer primary key, fulfillment_order_id integer not null, reason text not null, notes text,
    handle text not null, unique (fulfillment_order_id, handle)
);
create table if not exists drafts (
    id integer primary key, shop_id integer not null, key text not null, number integer not null,
    status text not null, lines text not null, order_id integer, created_at text not null, updated_at text not null,
    completed_at text, unique (shop_id, key)
);
create table if not exists bulks (
    id integer primary key, shop_id integer not null, client_id text not null, query text not null,
    status text not null, error_code text, fate text, cursor text, objects integer not null default 0,
    roots integer not null default 0, bytes integer not null default 0, grouped integer not null,
    is_read integer not null default 0, base_url text not null,
    secret text not null, created_at text not null, completed_at text, dies_at real
);
create index if not exists bulks_by_shop on bulks (shop_id, id);

create table if not exists duties (
    id integer primary key, kind text not null, subject integer not null, due_at real not null
);
create index if not exists duties_due on duties (due_at, id);
create index if not exists duties_by_subject on duties (kind, subject);

create table if not exists subscriptions (
    id integer primary key, shop_id integer not null, topic text not null, uri text not null, format text not null,
    filter text, include_fields text not null, name text, created_at text not null, updated_at text not null,
    last_success_at real not null default 0
);
create table if not exists last_bodies (
    subscription_id integer not null, resource text not null, digest blob not null,
    primary key (subscription_id, resource)
) without rowid;
create table if not exists bodies (id integer primary key, data blob not null);
create table if not exists deliveries (
    id integer primary key, shop_id integer not null, subscription_id integer not null, topic text not null,
    uri text not null, body_id integer not null, webhook_id text not null, event_id text not null,
    triggered_at text not null, state text not null default 'queued', attempts integer not null default 0,
    due_at real not null, first_failed_at real, last_result text
);
create index if not exists deliveries_due on deliveries (due_at, id) where state = 'queued';
create index if not exists deliveries_failed on deliveries (id) where state = 'queued' and attempts > 0;
create table if not exists delivery_counts (
    topic text not null, state text not null, count integer not null, primary key (topic, state)
) without rowid;
create trigger if not exists delivery_added after insert on deliveries begin
    insert into delivery_counts values (new.topic, new.state, 1) on conflict do update set count = count + 1;
end;
create trigger if not exists delivery_moved after update of state on deliveries when old.state != new.state begin
    update delivery_counts set count = count - 1 where topic = old.topic and state = old.state;
    insert into delivery_counts values (new.topic, new.state, 1) on conflict do update set count = count + 1;
end;
create index if not exists deliveries_by_subscription on deliveries (subscription_id) where state = 'queued';

create table if not exists sellers (
    seller_id text primary key, name text not null, marketplace_id text not null, client_id text not null,
    client_secret text not null, refresh_token text not null
) without rowid;
create table if not exists listings (
    seller_id text not null, sku text not null, asin text not null, title text not null, product_type text not null,
    attributes text not null, in_force text not null, opening integer not null, created_at text not null,
    updated_at text not null, primary key (seller_id, sku)
) without rowid;
create index if not exists listings_by_asin on listings (seller_id, asin);
create table if not exists identifiers (
    seller_id text not null, kind text not null, value text not null, sku text not null,
    primary key (seller_id, kind, value, sku)
) without rowid;
create table if not exists submissions (
    id text primary key, seller_id text not null, sku text not null, availability text not null,
    due_at real not null, ordinal integer not null
) without rowid;
create index if not exists submissions_due on submissions (due_at, ordinal);
create index if not exists submissions_by_sku on submissions (seller_id, sku);
create table if not exists documents (
    id text primary key, seller_id text not null, content_type text not null, data blob, gzip integer not null,
    created_at real not null
);
create table if not exists feeds (
    id integer primary key, seller_id text not null, feed_type text not null, marketplaces text not null,
    document_id text not null, status text not null, fate text, created_at real not null, made_at real not null,
    started_at real, ended_at real, result_id text, position integer not null default 0,
    accepted integer not null default 0, invalid integer not null default 0
);
create index if not exists feeds_by_seller on feeds (seller_id, feed_type, status, id);
create table if not exists feed_issues (id integer primary key, feed_id integer not null, issue text not null);
create index if not exists feed_issues_by_feed on feed_issues (feed_id, id);
create table if not exists reports (
    id integer primary key, seller_id text not null, report_type text not null, marketplaces text not null,
    status text not null, created_at real not null, started_at real, ended_at real, document_id text
);
create table if not exists fba_items (
    seller_id text not null, sku text not null, asin text not null, fnsku text not null, name text not null,
    condition text not null, fulfillable integer not null, quantities text not null, created_at text not null,
    updated_at text not null, changed_at real not null, primary key (seller_id, sku)
) without rowid;
create table if not exists fba_additions (
    seller_id text not null, token text not null, digest text not null, primary key (seller_id, token)
) without rowid;

create table if not exists destinations (
    id text primary key, client_id text not null, name text not null, arn text not null, unique (client_id, arn)
) without rowid;
create table if not exists notice_subscriptions (
    id text primary key, seller_id text not null, client_id text not null, kind text not null,
    payload_version text not null, destination_id text not null, directive text not null,
    unique (seller_id, kind, payload_version)
) without rowid;
create table if not exists sqs_keys (
    access_key_id text primary key, secret text not null, account text not null
) without rowid;
create table if not exists sqs_queues (
    arn text primary key, account text not null, name text not null, attributes text not null,
    created_at integer not null, purged_at real not null default 0
) without rowid;
create table if not exists sqs_messages (
    id text primary key, arn text not null, body text not null, sent_at real not null, visible_at real not null,
    receives integer not null default 0, first_received_at real, receipt text, sender text not null
) without rowid;
create index if not exists sqs_messages_visible on sqs_messages (arn, visible_at);

create table if not exists amazon_orders (
    id integer primary key, seller_id text not null, key text not null, order_id text not null unique,
    marketplace_id text not null, channel text not null, fulfilled_by text not null, status text not null,
    created_at text not null, updated_at text not null, is_held integer not null, wants_cancel text,
    buyer text not null, recipient text not null, unique (seller_id, key)
);
create index if not exists amazon_orders_by_update on amazon_orders (seller_id, updated_at, id);
create index if not exists amazon_orders_by_creation on amazon_orders (seller_id, created_at, id);
create table if not exists amazon_lines (
    id integer primary key, order_id integer not null, sku text not null, asin text not null, title text not null,
    price text not null, quantity integer not null, cancelled integer not null default 0,
    put_back integer not null default 0, cancelled_by text, cancel_reason text
);
create index if not exists amazon_lines_by_order on amazon_lines (order_id);
create table if not exists amazon_packages (
    order_id integer not null, reference text not null, created_at text not null, carrier text not null,
    service text, tracking text not null, shipped_at text not null, primary key (order_id, reference)
);
create table if not exists amazon_package_lines (
    order_id integer not null, reference text not null, line_id integer not null, quantity integer not null,
    primary key (order_id, reference, line_id)
) without rowid;
create table if not exists amazon_acts (
    seller_id text not null, act text not null, key text not null, answer text not null,
    primary key (seller_id, act, key)
) without rowid;
create table if not exists order_pages (
    token text primary key, seller_id text not null, asked blob not null, until text not null,
    after_time text not null, after_id integer not null, expires_at real not null
) without rowid;
"""

# Columns that a world founded by an earlier version lacks, and how they are added.
ADDED = (
    ("submissions", "road", "text not null default 'patch'"),
    ("listings", "issues", "text not null default '[]'"),
    ("listings", "fnsku", "text"),
    ("shops", "scopes", "text"),
    ("shops", "old_secret", "text"),
    ("shops", "old_secret_until", "real"),
    ("locations", "active", "integer not null default 1"),
    ("levels", "active", "integer not null default 1"),
    ("products", "description_html", "text not null default ''"),
    ("products", "tags", "text not null default '[]'"),
    ("products", "options", "text not null default '[]'"),
    ("products", "media", "text not null default '[]'"),
    ("products", "seo_title", "text"),
    ("products", "seo_description", "text"),
    ("products", "category", "text"),
    ("variants", "compare_at", "text"),
    ("variants", "taxable", "integer not null default 1"),
    ("variants", "requires_shipping", "integer not null default 1"),
    ("variants", "weight_value", "real not null default 0"),
    ("variants", "weight_unit", "text not null default 'KILOGRAMS'"),
    ("variants", "cost", "text"),
    ("variants", "option_values", "text not null default '[]'"),
    ("variants", "position", "integer not null default 1"),
    ("variants", "media_id", "integer"),
    ("orders", "edited", "integer not null default 0"),
    ("orders", "source_name", "text not null default 'web'"),
    ("orders", "discount", "text not null default '0.00'"),
    ("lines", "location_id", "integer"),
    ("lines", "discount", "text not null default '0.00'"),
    ("orders", "taxes_included", "integer not null default 0"),
    ("orders", "codes", "text not null default '[]'"),
    ("orders", "attributes", "text not null default '[]'"),
    ("orders", "shipping", "text not null default '0.00'"),
    ("orders", "shipping_tax", "text not null default '0.00'"),
    ("orders", "shipping_rate", "text not null default '0'"),
    ("orders", "shipping_title", "text"),
    ("orders", "shipping_line_id", "integer"),
    ("lines", "tax", "text not null default '0.00'"),
    ("lines", "tax_rate", "text not null default '0'"),
    ("refunds", "shipping", "text not null default '0.00'"),
    ("refunds", "shipping_tax", "text not null default '0.00'"),
    ("refunds", "shipping_line_id", "integer"),
    ("refund_lines", "tax", "text not null default '0.00'"),
    ("fulfillment_lines", "fulfillment_order_line_id", "integer"),
    ("sellers", "access_key_id", "text"),
    ("sellers", "queue_arn", "text"),
    ("sellers", "further_marketplaces", "text not null default '[]'"),
)

# Of a world founded by an earlier version: its variants go into a table where several may have one SKU, or none.
LOOSENED = (
    "drop index if exists variants_by_product",
    "drop index if exists variants_by_update",
    "drop index if exists variants_by_shop",
    "create table loose_variants (id integer primary key, shop_id integer not null, product_id integer not null,"
    " item_id integer not null unique, sku text not null, barcode text, price text not null, policy text not null,"
    " tracked integer not null, created_at text not null, updated_at text not null)",
    "insert into loose_variants select id, shop_id, product_id, item_id, sku, barcode, price, policy, tracked,"
    " created_at, updated_at from variants",
    "drop table variants",
    "alter table loose_variants rename to variants",
)
