CREATE TABLE job_runs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    job_ref TEXT NOT NULL,
    function TEXT NOT NULL,
    arguments JSONB NOT NULL,
    queue TEXT NOT NULL,
    worker TEXT,
    attempt INTEGER NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    result JSONB,
    error TEXT,
    fingerprint TEXT,
    CONSTRAINT pk_job_runs PRIMARY KEY (id),
    CONSTRAINT ck_job_runs_outcome CHECK (outcome in ('finished', 'failed', 'abandoned'))
);
comment on column job_runs.job_ref is 'RQ''s job id';
comment on column job_runs.function is 'registered name';
comment on column job_runs.outcome is 'finished, failed or abandoned; null while it runs';
comment on column job_runs.fingerprint is 'groups failures of one cause';
CREATE INDEX ix_job_runs_failed ON job_runs (started_at) WHERE outcome in ('failed', 'abandoned');
CREATE INDEX ix_job_runs_finished ON job_runs (function, started_at) WHERE outcome = 'finished';
CREATE INDEX ix_job_runs_open ON job_runs (worker) WHERE outcome is null;
CREATE INDEX ix_job_runs_started_at ON job_runs (started_at);

CREATE TABLE schedule_runs (
    name TEXT NOT NULL,
    period TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    result JSONB,
    CONSTRAINT pk_schedule_runs PRIMARY KEY (name, period),
    CONSTRAINT ck_schedule_runs_outcome CHECK (outcome in ('finished', 'failed'))
);
comment on column schedule_runs.period is 'the period this run is for: once per name and period';
CREATE INDEX ix_schedule_runs_failed ON schedule_runs (started_at) WHERE outcome = 'failed' or coalesce(result ->> 'violations', '0') <> '0';
CREATE INDEX ix_schedule_runs_name_started_at ON schedule_runs (name, started_at);
CREATE INDEX ix_schedule_runs_started_at ON schedule_runs (started_at);

CREATE TABLE schedules (
    name TEXT NOT NULL,
    is_paused BOOLEAN DEFAULT 'false' NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_schedules PRIMARY KEY (name)
);

CREATE TABLE shops (
    shop_id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    currency TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_shops PRIMARY KEY (shop_id),
    CONSTRAINT uq_shops_name UNIQUE (name)
);
comment on column shops.time_zone is 'IANA name; business days are counted in it';

CREATE TABLE audit_entries (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    acted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    details JSONB NOT NULL,
    CONSTRAINT pk_audit_entries PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_audit_entries_shops_shop_id FOREIGN KEY(shop_id) REFERENCES shops (shop_id),
    CONSTRAINT ck_audit_entries_named_and_reasoned CHECK (btrim(actor) <> '' and btrim(reason) <> '')
);
comment on column audit_entries.subject is 'kind and id, such as sku:17';
CREATE INDEX ix_audit_entries_shop_id_acted_at ON audit_entries (shop_id, acted_at);
CREATE INDEX ix_audit_entries_shop_id_subject ON audit_entries (shop_id, subject);

CREATE TABLE connections (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    vendor TEXT NOT NULL,
    name TEXT NOT NULL,
    base_url TEXT NOT NULL,
    account_ref TEXT NOT NULL,
    settings JSONB DEFAULT '{}' NOT NULL,
    guarantee_class TEXT NOT NULL,
    state TEXT DEFAULT 'active' NOT NULL,
    orders_polled_to TIMESTAMP WITH TIME ZONE,
    orders_polled_at TIMESTAMP WITH TIME ZONE,
    catalogue_read_at TIMESTAMP WITH TIME ZONE,
    last_error TEXT,
    last_error_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_connections PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_connections_shops_shop_id FOREIGN KEY(shop_id) REFERENCES shops (shop_id),
    CONSTRAINT uq_connections_shop_id_name UNIQUE (shop_id, name),
    CONSTRAINT ck_connections_guarantee_class CHECK (guarantee_class in ('A', 'B', 'C', 'D')),
    CONSTRAINT ck_connections_state CHECK (state in ('active', 'paused'))
);
comment on column connections.account_ref is 'the vendor''s name for the account: shop domain, seller id';
comment on column connections.orders_polled_to is 'vendor''s time from which the next poll reads';
comment on column connections.orders_polled_at is 'when the last complete poll began, by our clock';

CREATE TABLE locations (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_locations PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_locations_shops_shop_id FOREIGN KEY(shop_id) REFERENCES shops (shop_id),
    CONSTRAINT uq_locations_shop_id_name UNIQUE (shop_id, name)
);

CREATE TABLE outbox_messages (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    payload JSONB NOT NULL,
    state TEXT DEFAULT 'waiting' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    settled_at TIMESTAMP WITH TIME ZONE,
    last_error TEXT,
    CONSTRAINT pk_outbox_messages PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_outbox_messages_shops_shop_id FOREIGN KEY(shop_id) REFERENCES shops (shop_id),
    CONSTRAINT uq_outbox_messages_shop_id_kind_dedupe_key UNIQUE (shop_id, kind, dedupe_key),
    CONSTRAINT ck_outbox_messages_state CHECK (state in ('waiting', 'sent', 'dead'))
);
comment on column outbox_messages.dedupe_key is 'the same words are said once';
CREATE INDEX ix_outbox_messages_next_attempt_at_id ON outbox_messages (next_attempt_at, id) WHERE state = 'waiting';

CREATE TABLE skus (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    code TEXT NOT NULL,
    title TEXT NOT NULL,
    barcode TEXT,
    is_stocked BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_skus PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_skus_shops_shop_id FOREIGN KEY(shop_id) REFERENCES shops (shop_id),
    CONSTRAINT uq_skus_shop_id_code UNIQUE (shop_id, code)
);
comment on column skus.code is 'compared exactly: codes that differ by case are different SKUs';
comment on column skus.is_stocked is 'false for services, vouchers and other things without stock';

CREATE TABLE api_calls (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    connection_id BIGINT NOT NULL,
    operation TEXT NOT NULL,
    method TEXT NOT NULL,
    status INTEGER,
    outcome TEXT NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    quota_left TEXT,
    api_version TEXT,
    deprecation TEXT,
    error TEXT,
    sync_run_id BIGINT,
    called_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_api_calls PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_api_calls_connections_shop_id_connection_id FOREIGN KEY(shop_id, connection_id) REFERENCES connections (shop_id, id)
);
comment on column api_calls.status is 'HTTP status; null when no answer came';
comment on column api_calls.outcome is 'ok, throttled, refused, error, unknown';
CREATE INDEX ix_api_calls_shop_id_connection_id_called_at ON api_calls (shop_id, connection_id, called_at);

CREATE TABLE connection_secrets (
    shop_id BIGINT NOT NULL,
    connection_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_connection_secrets PRIMARY KEY (shop_id, connection_id, name),
    CONSTRAINT fk_connection_secrets_connections_shop_id_connection_id FOREIGN KEY(shop_id, connection_id) REFERENCES connections (shop_id, id)
);
comment on column connection_secrets.sealed is 'Fernet token; the keys are in SWITCHYARD_SECRET_KEYS';

CREATE TABLE customer_returns (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    business_key TEXT NOT NULL,
    sku_id BIGINT NOT NULL,
    location_id BIGINT,
    units BIGINT NOT NULL,
    unit_price NUMERIC(24, 8) NOT NULL,
    total_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    customer_ref TEXT,
    disposition TEXT NOT NULL,
    returned_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_customer_returns PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_customer_returns_skus_shop_id_sku_id FOREIGN KEY(shop_id, sku_id) REFERENCES skus (shop_id, id),
    CONSTRAINT fk_customer_returns_locations_shop_id_location_id FOREIGN KEY(shop_id, location_id) REFERENCES locations (shop_id, id),
    CONSTRAINT uq_customer_returns_shop_id_business_key UNIQUE (shop_id, business_key),
    CONSTRAINT ck_customer_returns_units CHECK (units >= 0),
    CONSTRAINT ck_customer_returns_disposition CHECK (disposition in ('restock', 'none'))
);
comment on column customer_returns.total_minor is 'money given back, positive';
comment on column customer_returns.disposition is 'restock, or none (nothing physical came back)';

CREATE TABLE inbox_messages (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    connection_id BIGINT NOT NULL,
    delivery_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    road TEXT NOT NULL,
    event_ref TEXT,
    body BYTEA NOT NULL,
    triggered_at TIMESTAMP WITH TIME ZONE,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT DEFAULT 'received' NOT NULL,
    waiting_for TEXT,
    waits_until TIMESTAMP WITH TIME ZONE,
    cause TEXT,
    detail TEXT,
    attempts INTEGER DEFAULT '0' NOT NULL,
    settled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_inbox_messages PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_inbox_messages_connections_shop_id_connection_id FOREIGN KEY(shop_id, connection_id) REFERENCES connections (shop_id, id),
    CONSTRAINT uq_inbox_messages_shop_id_connection_id_delivery_id UNIQUE (shop_id, connection_id, delivery_id),
    CONSTRAINT ck_inbox_messages_state CHECK (state in ('received', 'handled', 'waiting', 'ignored', 'parked')),
    CONSTRAINT ck_inbox_messages_parked_has_cause CHECK (state <> 'parked' or cause is not null),
    CONSTRAINT ck_inbox_messages_waiting_ends CHECK (state <> 'waiting' or (waiting_for is not null and waits_until is not null)),
    CONSTRAINT ck_inbox_messages_road CHECK (road in ('webhook', 'poll'))
);
comment on column inbox_messages.delivery_id is 'the vendor''s id of this delivery, or resource and version';
comment on column inbox_messages.road is 'webhook or poll';
comment on column inbox_messages.event_ref is 'the vendor''s id of the action behind the delivery; shared by topics';
comment on column inbox_messages.body is 'verbatim';
comment on column inbox_messages.triggered_at is 'when the vendor says it happened';
comment on column inbox_messages.waiting_for is 'what releases it, such as order:123';
comment on column inbox_messages.waits_until is 'parked when nothing released it by then';
comment on column inbox_messages.cause is 'why it is parked or ignored: a short stable word';
comment on column inbox_messages.detail is 'the cause in a sentence, without personal data';
comment on column inbox_messages.settled_at is 'when it was handled, ignored or parked';
CREATE INDEX ix_inbox_messages_parked ON inbox_messages (shop_id, connection_id, id) WHERE state = 'parked';
CREATE INDEX ix_inbox_messages_received_at ON inbox_messages (shop_id, connection_id, received_at);
CREATE INDEX ix_inbox_messages_shop_id_connection_id_id ON inbox_messages (shop_id, connection_id, id) WHERE state = 'received';
CREATE INDEX ix_inbox_messages_waiting ON inbox_messages (shop_id, connection_id, waiting_for) WHERE state = 'waiting';

CREATE TABLE listings (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    connection_id BIGINT NOT NULL,
    channel_ref TEXT NOT NULL,
    channel_location_ref TEXT DEFAULT '' NOT NULL,
    inventory_ref TEXT,
    product_ref TEXT,
    channel_code TEXT,
    title TEXT NOT NULL,
    sku_id BIGINT,
    location_id BIGINT,
    is_tracked BOOLEAN NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    version_at TIMESTAMP WITH TIME ZONE,
    publishing TEXT DEFAULT 'off' NOT NULL,
    publishing_reason TEXT NOT NULL,
    desired_units INTEGER,
    short_units INTEGER DEFAULT '0' NOT NULL,
    published_units INTEGER,
    published_at TIMESTAMP WITH TIME ZONE,
    unseen_units INTEGER DEFAULT '0' NOT NULL,
    unseen_since TIMESTAMP WITH TIME ZONE,
    followed_at TIMESTAMP WITH TIME ZONE,
    baseline_at TIMESTAMP WITH TIME ZONE,
    exposed_units INTEGER,
    next_push_at TIMESTAMP WITH TIME ZONE,
    push_failures INTEGER DEFAULT '0' NOT NULL,
    push_problem TEXT,
    CONSTRAINT pk_listings PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_listings_connections_shop_id_connection_id FOREIGN KEY(shop_id, connection_id) REFERENCES connections (shop_id, id),
    CONSTRAINT fk_listings_skus_shop_id_sku_id FOREIGN KEY(shop_id, sku_id) REFERENCES skus (shop_id, id),
    CONSTRAINT fk_listings_locations_shop_id_location_id FOREIGN KEY(shop_id, location_id) REFERENCES locations (shop_id, id),
    CONSTRAINT uq_listings_shop_id_connection_id_channel_ref_channel_l_7e12 UNIQUE (shop_id, connection_id, channel_ref, channel_location_ref),
    CONSTRAINT ck_listings_publishing CHECK (publishing in ('on', 'off')),
    CONSTRAINT ck_listings_published_is_mapped CHECK (publishing = 'off' or (sku_id is not null and location_id is not null))
);
comment on column listings.channel_ref is 'variant id, seller SKU: what order lines name';
comment on column listings.channel_location_ref is 'the channel''s location, if it has any';
comment on column listings.inventory_ref is 'what quantities are written to, where the channel tells it apart';
comment on column listings.channel_code is 'the SKU code as the channel spells it';
comment on column listings.sku_id is 'null while unmapped';
comment on column listings.location_id is 'ours, whose stock the listing shows';
comment on column listings.is_tracked is 'whether the channel counts its stock';
comment on column listings.version_at is 'the channel''s time of these facts';
comment on column listings.publishing is 'whether we write its quantity';
comment on column listings.desired_units is 'what it should show';
comment on column listings.short_units is 'how many more are promised than there are; desired is then 0';
comment on column listings.published_units is 'what we last knew it to show';
comment on column listings.published_at is 'the channel''s time of that knowledge';
comment on column listings.unseen_units is 'what the channel changed by itself and no booked order or refund explains yet; negative: sold';
comment on column listings.unseen_since is 'since when, by our clock';
comment on column listings.followed_at is 'the latest sale or restock taken into published_units';
comment on column listings.baseline_at is 'the channel''s time at which its number was taken over';
comment on column listings.exposed_units is 'the most it may still sell unbooked; kept once exposure is on';
comment on column listings.next_push_at is 'not before then: set after a refusal';
comment on column listings.push_problem is 'why the last write did not take';
CREATE INDEX ix_listings_channel_code ON listings (shop_id, connection_id, channel_code);
CREATE INDEX ix_listings_inventory_ref ON listings (shop_id, connection_id, inventory_ref, channel_location_ref);
CREATE INDEX ix_listings_publishing_off ON listings (shop_id, connection_id) WHERE publishing = 'off';
CREATE INDEX ix_listings_push_problem ON listings (shop_id, connection_id) WHERE push_problem is not null;
CREATE INDEX ix_listings_shop_id_sku_id ON listings (shop_id, sku_id);
CREATE INDEX ix_listings_to_push ON listings (shop_id, connection_id, id) WHERE publishing = 'on' and (listing_differs(desired_units - short_units, published_units) or unseen_units <> 0);

CREATE TABLE orders (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    connection_id BIGINT NOT NULL,
    channel_ref TEXT NOT NULL,
    name TEXT NOT NULL,
    source_ref TEXT,
    placed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    channel_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    version_at TIMESTAMP WITH TIME ZONE NOT NULL,
    cancelled_at TIMESTAMP WITH TIME ZONE,
    cancel_reason TEXT,
    financial_status TEXT,
    currency TEXT NOT NULL,
    total_minor BIGINT NOT NULL,
    customer_ref TEXT,
    country_code TEXT,
    is_test BOOLEAN DEFAULT 'false' NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_orders PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_orders_connections_shop_id_connection_id FOREIGN KEY(shop_id, connection_id) REFERENCES connections (shop_id, id),
    CONSTRAINT uq_orders_shop_id_connection_id_channel_ref UNIQUE (shop_id, connection_id, channel_ref)
);
comment on column orders.name is 'as people call it: #1042';
comment on column orders.source_ref is 'the selling system''s own number, if the order came through the channel from one';
comment on column orders.placed_at is 'when the buyer bought';
comment on column orders.channel_created_at is 'when the channel recorded it';
comment on column orders.version_at is 'the channel''s time of these facts';
CREATE INDEX ix_orders_shop_id_placed_at ON orders (shop_id, placed_at);
CREATE INDEX ix_orders_shop_id_recorded_at ON orders (shop_id, recorded_at);

CREATE TABLE stock_levels (
    shop_id BIGINT NOT NULL,
    sku_id BIGINT NOT NULL,
    location_id BIGINT NOT NULL,
    on_hand BIGINT DEFAULT '0' NOT NULL,
    reserved BIGINT DEFAULT '0' NOT NULL,
    unavailable BIGINT DEFAULT '0' NOT NULL,
    incoming BIGINT DEFAULT '0' NOT NULL,
    available BIGINT GENERATED ALWAYS AS (on_hand - reserved - unavailable) STORED,
    CONSTRAINT pk_stock_levels PRIMARY KEY (shop_id, sku_id, location_id),
    CONSTRAINT fk_stock_levels_skus_shop_id_sku_id FOREIGN KEY(shop_id, sku_id) REFERENCES skus (shop_id, id),
    CONSTRAINT fk_stock_levels_locations_shop_id_location_id FOREIGN KEY(shop_id, location_id) REFERENCES locations (shop_id, id),
    CONSTRAINT ck_stock_levels_reserved CHECK (reserved >= 0),
    CONSTRAINT ck_stock_levels_unavailable CHECK (unavailable >= 0),
    CONSTRAINT ck_stock_levels_incoming CHECK (incoming >= 0)
)
 WITH (fillfactor = 50);
comment on column stock_levels.on_hand is 'the sum of movements';
comment on column stock_levels.reserved is 'the sum of held reservations';

CREATE TABLE sync_runs (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    connection_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    trigger TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT DEFAULT 'queued' NOT NULL,
    step TEXT,
    done INTEGER DEFAULT '0' NOT NULL,
    total INTEGER,
    counts JSONB DEFAULT '{}' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    heartbeat_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    error TEXT,
    CONSTRAINT pk_sync_runs PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_sync_runs_connections_shop_id_connection_id FOREIGN KEY(shop_id, connection_id) REFERENCES connections (shop_id, id),
    CONSTRAINT ck_sync_runs_trigger CHECK (trigger in ('schedule', 'click', 'event')),
    CONSTRAINT ck_sync_runs_state CHECK (state in ('queued', 'running', 'done', 'failed'))
);
comment on column sync_runs.kind is 'sync_connection, poll_orders, ...';
comment on column sync_runs.step is 'what it is doing now, as people read it';
CREATE INDEX ix_sync_runs_shop_id_connection_id_id ON sync_runs (shop_id, connection_id, id);
CREATE UNIQUE INDEX uq_sync_runs_open ON sync_runs (shop_id, connection_id, kind) WHERE state in ('queued', 'running');

CREATE TABLE fulfilments (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    order_id BIGINT NOT NULL,
    channel_ref TEXT NOT NULL,
    status TEXT NOT NULL,
    is_shipped BOOLEAN NOT NULL,
    fulfilled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    version_at TIMESTAMP WITH TIME ZONE NOT NULL,
    tracking_company TEXT,
    tracking_numbers TEXT[] DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_fulfilments PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_fulfilments_orders_shop_id_order_id FOREIGN KEY(shop_id, order_id) REFERENCES orders (shop_id, id),
    CONSTRAINT uq_fulfilments_shop_id_order_id_channel_ref UNIQUE (shop_id, order_id, channel_ref)
);
comment on column fulfilments.status is 'the channel''s word';
comment on column fulfilments.is_shipped is 'whether that word means the goods have left';

CREATE TABLE listing_writes (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    connection_id BIGINT NOT NULL,
    listing_id BIGINT NOT NULL,
    from_units INTEGER,
    to_units INTEGER NOT NULL,
    exposure_delta_units INTEGER,
    idempotency_key TEXT NOT NULL,
    batch_position INTEGER NOT NULL,
    planned_at TIMESTAMP WITH TIME ZONE NOT NULL,
    deadline_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sync_run_id BIGINT,
    sent_at TIMESTAMP WITH TIME ZONE,
    accepted_at TIMESTAMP WITH TIME ZONE,
    submission_ref TEXT,
    outcome TEXT,
    outcome_at TIMESTAMP WITH TIME ZONE,
    outcome_code TEXT,
    outcome_detail TEXT,
    observed_units INTEGER,
    doubt TEXT,
    attempts INTEGER DEFAULT '0' NOT NULL,
    next_check_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_listing_writes PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_listing_writes_listings_shop_id_listing_id FOREIGN KEY(shop_id, listing_id) REFERENCES listings (shop_id, id),
    CONSTRAINT fk_listing_writes_connections_shop_id_connection_id FOREIGN KEY(shop_id, connection_id) REFERENCES connections (shop_id, id),
    CONSTRAINT uq_listing_writes_shop_id_connection_id_idempotency_key_07b7 UNIQUE (shop_id, connection_id, idempotency_key, batch_position),
    CONSTRAINT ck_listing_writes_to_units CHECK (to_units >= 0),
    CONSTRAINT ck_listing_writes_outcome CHECK (outcome in ('confirmed', 'refused', 'stale', 'withdrawn')),
    CONSTRAINT ck_listing_writes_outcome_at CHECK ((outcome is null) = (outcome_at is null)),
    CONSTRAINT ck_listing_writes_withdrawn_was_not_sent CHECK (outcome <> 'withdrawn' or sent_at is null),
    CONSTRAINT ck_listing_writes_answered_was_sent CHECK (outcome is null or outcome = 'withdrawn' or sent_at is not null)
);
comment on column listing_writes.from_units is 'what the channel must still show; null for an absolute set';
comment on column listing_writes.exposure_delta_units is 'what it may add to exposure; kept once exposure is on';
comment on column listing_writes.idempotency_key is 'shared by the writes that leave in one call';
comment on column listing_writes.batch_position is 'place within that call';
comment on column listing_writes.deadline_at is 'a sender that is later than this must not send';
comment on column listing_writes.accepted_at is 'queued by a channel that applies later';
comment on column listing_writes.outcome is 'null while open';
comment on column listing_writes.observed_units is 'what the channel showed when it answered';
comment on column listing_writes.doubt is 'why the outcome is not known';
CREATE INDEX ix_listing_writes_confirmed ON listing_writes (shop_id, connection_id, outcome_at) WHERE outcome = 'confirmed';
CREATE INDEX ix_listing_writes_open ON listing_writes (shop_id, connection_id, id) WHERE outcome is null;
CREATE INDEX ix_listing_writes_shop_id_listing_id_id ON listing_writes (shop_id, listing_id, id);
CREATE UNIQUE INDEX uq_listing_writes_open ON listing_writes (shop_id, listing_id) WHERE outcome is null;

CREATE TABLE order_lines (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    order_id BIGINT NOT NULL,
    channel_ref TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    variant_ref TEXT,
    code TEXT,
    title TEXT NOT NULL,
    units BIGINT NOT NULL,
    unit_price NUMERIC(24, 8) NOT NULL,
    discount_minor BIGINT NOT NULL,
    total_minor BIGINT NOT NULL,
    mapping TEXT NOT NULL,
    mapping_reason TEXT,
    listing_id BIGINT,
    sku_id BIGINT,
    CONSTRAINT pk_order_lines PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_order_lines_orders_shop_id_order_id FOREIGN KEY(shop_id, order_id) REFERENCES orders (shop_id, id),
    CONSTRAINT fk_order_lines_skus_shop_id_sku_id FOREIGN KEY(shop_id, sku_id) REFERENCES skus (shop_id, id),
    CONSTRAINT uq_order_lines_shop_id_order_id_channel_ref UNIQUE (shop_id, order_id, channel_ref),
    CONSTRAINT ck_order_lines_units CHECK (units >= 0),
    CONSTRAINT ck_order_lines_mapping CHECK (mapping in ('stocked', 'unstocked', 'unmapped')),
    CONSTRAINT ck_order_lines_unmapped_has_reason CHECK ((mapping = 'unmapped') = (mapping_reason is not null)),
    CONSTRAINT ck_order_lines_stocked_has_sku CHECK (mapping <> 'stocked' or sku_id is not null)
);
comment on column order_lines.ordinal is 'position in the order, from 1';
comment on column order_lines.code is 'the SKU code as the channel spells it';
comment on column order_lines.unit_price is 'major units; may be finer than a minor unit';
comment on column order_lines.total_minor is 'units times unit price, rounded once, less discount';
comment on column order_lines.mapping is 'stocked, unstocked (no stock by nature) or unmapped (parked)';
CREATE INDEX ix_order_lines_shop_id_sku_id_id ON order_lines (shop_id, sku_id, id);
CREATE INDEX ix_order_lines_unmapped ON order_lines (shop_id, id) WHERE mapping = 'unmapped';

CREATE TABLE refunds (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    order_id BIGINT NOT NULL,
    channel_ref TEXT NOT NULL,
    refunded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    channel_created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    CONSTRAINT pk_refunds PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_refunds_orders_shop_id_order_id FOREIGN KEY(shop_id, order_id) REFERENCES orders (shop_id, id),
    CONSTRAINT uq_refunds_shop_id_order_id_channel_ref UNIQUE (shop_id, order_id, channel_ref)
);
comment on column refunds.refunded_at is 'the business time';
comment on column refunds.channel_created_at is 'when the channel recorded it';
comment on column refunds.amount_minor is 'money given back, as the channel says';

CREATE TABLE reservations (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    sku_id BIGINT NOT NULL,
    location_id BIGINT NOT NULL,
    order_line_id BIGINT NOT NULL,
    units BIGINT NOT NULL,
    held_units BIGINT NOT NULL,
    consumed_units BIGINT DEFAULT '0' NOT NULL,
    returned_units BIGINT DEFAULT '0' NOT NULL,
    written_off_units BIGINT DEFAULT '0' NOT NULL,
    opening_units BIGINT DEFAULT '0' NOT NULL,
    state TEXT GENERATED ALWAYS AS (case when held_units > 0 then 'held' when consumed_units > 0 then 'consumed' else 'released' end) STORED,
    revision INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_reservations PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_reservations_stock_levels_shop_id_sku_id_location_id FOREIGN KEY(shop_id, sku_id, location_id) REFERENCES stock_levels (shop_id, sku_id, location_id),
    CONSTRAINT uq_reservations_shop_id_order_line_id UNIQUE (shop_id, order_line_id),
    CONSTRAINT ck_reservations_units CHECK (units >= 0 and held_units >= 0 and consumed_units >= 0),
    CONSTRAINT ck_reservations_back CHECK (returned_units >= 0 and written_off_units >= 0 and opening_units >= 0),
    CONSTRAINT ck_reservations_held_within_promise CHECK (held_units <= units)
)
 WITH (fillfactor = 70);
comment on column reservations.units is 'what was promised';
comment on column reservations.held_units is 'still to be shipped';
comment on column reservations.consumed_units is 'shipped';
comment on column reservations.returned_units is 'came back and were restocked';
comment on column reservations.written_off_units is 'refunded unshipped, not restocked';
comment on column reservations.opening_units is 'sold before the baseline, so not in it';
comment on column reservations.revision is 'grows with each change; names its movements';
CREATE INDEX ix_reservations_shop_id_sku_id_location_id ON reservations (shop_id, sku_id, location_id) WHERE held_units > 0;

CREATE TABLE stock_movements (
    shop_id BIGINT NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    sku_id BIGINT NOT NULL,
    location_id BIGINT NOT NULL,
    delta_units BIGINT NOT NULL,
    reason TEXT NOT NULL,
    business_key TEXT NOT NULL,
    order_line_id BIGINT,
    note TEXT,
    recorded_by TEXT NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_stock_movements PRIMARY KEY (shop_id, id),
    CONSTRAINT fk_stock_movements_stock_levels_shop_id_sku_id_location_id FOREIGN KEY(shop_id, sku_id, location_id) REFERENCES stock_levels (shop_id, sku_id, location_id),
    CONSTRAINT uq_stock_movements_shop_id_business_key UNIQUE (shop_id, business_key),
    CONSTRAINT ck_stock_movements_reason CHECK (reason in ('receipt', 'shipment', 'customer_return', 'adjustment', 'count', 'relocation', 'write_off')),
    CONSTRAINT ck_stock_movements_moves_something CHECK (delta_units <> 0)
);
comment on column stock_movements.business_key is 'the fact it stands for: booked once, whatever arrives again';
CREATE INDEX ix_stock_movements_order_line ON stock_movements (shop_id, order_line_id) WHERE order_line_id is not null;
CREATE INDEX ix_stock_movements_shop_id_sku_id_id ON stock_movements (shop_id, sku_id, id);

CREATE TABLE fulfilment_lines (
    shop_id BIGINT NOT NULL,
    fulfilment_id BIGINT NOT NULL,
    order_line_id BIGINT NOT NULL,
    units BIGINT NOT NULL,
    CONSTRAINT pk_fulfilment_lines PRIMARY KEY (shop_id, fulfilment_id, order_line_id),
    CONSTRAINT fk_fulfilment_lines_fulfilments_shop_id_fulfilment_id FOREIGN KEY(shop_id, fulfilment_id) REFERENCES fulfilments (shop_id, id),
    CONSTRAINT fk_fulfilment_lines_order_lines_shop_id_order_line_id FOREIGN KEY(shop_id, order_line_id) REFERENCES order_lines (shop_id, id),
    CONSTRAINT ck_fulfilment_lines_units CHECK (units > 0)
);
CREATE INDEX ix_fulfilment_lines_shop_id_order_line_id ON fulfilment_lines (shop_id, order_line_id);

CREATE TABLE refund_lines (
    shop_id BIGINT NOT NULL,
    refund_id BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    order_line_id BIGINT NOT NULL,
    units BIGINT NOT NULL,
    restock TEXT NOT NULL,
    subtotal_minor BIGINT NOT NULL,
    CONSTRAINT pk_refund_lines PRIMARY KEY (shop_id, refund_id, ordinal),
    CONSTRAINT fk_refund_lines_refunds_shop_id_refund_id FOREIGN KEY(shop_id, refund_id) REFERENCES refunds (shop_id, id),
    CONSTRAINT fk_refund_lines_order_lines_shop_id_order_line_id FOREIGN KEY(shop_id, order_line_id) REFERENCES order_lines (shop_id, id),
    CONSTRAINT ck_refund_lines_units CHECK (units >= 0),
    CONSTRAINT ck_refund_lines_restock CHECK (restock in ('return', 'cancel', 'legacy_restock', 'no_restock'))
);
CREATE INDEX ix_refund_lines_shop_id_order_line_id ON refund_lines (shop_id, order_line_id);
