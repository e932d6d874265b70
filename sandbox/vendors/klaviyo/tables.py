"""The tables behind the fake Klaviyo."""

TABLES = """
create table if not exists klaviyo_accounts (
    id integer primary key, public_key text not null unique, name text not null, timezone text not null,
    currency text not null, queued_seconds real not null, processing_seconds real not null, spread real not null,
    kept_seconds real not null
);
create table if not exists klaviyo_keys (
    key text primary key, account_id integer not null, name text not null, scopes text not null
) without rowid;

create table if not exists klaviyo_records (
    number integer primary key, account_id integer not null, kind text not null, external_id text not null,
    parent text, title text not null, sku text, published integer not null, attributes blob not null,
    created_at real not null, updated_at real not null, unique (account_id, kind, external_id)
);
create index if not exists klaviyo_records_in_order on klaviyo_records (account_id, kind, number);
create index if not exists klaviyo_records_by_parent on klaviyo_records (account_id, parent) where parent is not null;
create index if not exists klaviyo_records_by_sku on klaviyo_records (account_id, sku) where sku is not null;
create table if not exists klaviyo_links (
    account_id integer not null, item text not null, category text not null, primary key (account_id, item, category)
) without rowid;
create index if not exists klaviyo_links_by_category on klaviyo_links (account_id, category, item);

create table if not exists klaviyo_jobs (
    id integer primary key, ref text not null unique, account_id integer not null, kind text not null,
    verb text not null, status text not null, is_cancelled integer not null, stuck_seconds real not null, entries blob,
    names text not null, total integer not null, completed integer not null default 0,
    failed integer not null default 0, errors text not null default '[]', created_at real not null,
    completed_at real, expires_at real
);
create index if not exists klaviyo_jobs_in_order on klaviyo_jobs (account_id, kind, verb, id);
create index if not exists klaviyo_jobs_open on klaviyo_jobs (account_id) where status in ('queued', 'processing');
create index if not exists klaviyo_jobs_old on klaviyo_jobs (expires_at);

create table if not exists klaviyo_profiles (
    id text primary key, account_id integer not null, number integer not null, email text, phone_number text,
    external_id text, anonymous_id text, attributes text not null, created_at real not null, updated_at real not null,
    last_event_at real, merged_into text
) without rowid;
create index if not exists klaviyo_profiles_in_order on klaviyo_profiles (account_id, number);
create unique index if not exists klaviyo_profiles_email on klaviyo_profiles (account_id, email)
    where email is not null;
create unique index if not exists klaviyo_profiles_phone on klaviyo_profiles (account_id, phone_number)
    where phone_number is not null;
create unique index if not exists klaviyo_profiles_external on klaviyo_profiles (account_id, external_id)
    where external_id is not null;
create unique index if not exists klaviyo_profiles_anonymous on klaviyo_profiles (account_id, anonymous_id)
    where anonymous_id is not null;
create table if not exists klaviyo_metrics (
    id text primary key, account_id integer not null, number integer not null, name text not null,
    service text not null, created_at real not null, updated_at real not null, unique (account_id, name, service)
) without rowid;
create table if not exists klaviyo_events (
    number integer primary key, id text not null unique, account_id integer not null, metric_id text not null,
    profile_id text not null, unique_id text not null, happened_at integer not null, properties text not null,
    value real, currency text, starts_flows integer not null, unique (profile_id, metric_id, unique_id)
);
create index if not exists klaviyo_events_by_time on klaviyo_events (account_id, happened_at, number);
create table if not exists klaviyo_received (id integer primary key, account_id integer not null, event text not null);
create table if not exists klaviyo_waiting (
    account_id integer not null, variant text not null, profile_id text not null, channels text not null,
    created_at real not null, told_at real, primary key (account_id, variant, profile_id)
) without rowid;
create table if not exists klaviyo_imports (
    id integer primary key, ref text not null unique, account_id integer not null, status text not null,
    entries blob, profiles text not null, lists text not null, total integer not null,
    completed integer not null default 0,
    failed integer not null default 0, errors text not null default '[]', created_at real not null, started_at real,
    completed_at real, expires_at real
);
create index if not exists klaviyo_imports_in_order on klaviyo_imports (account_id, id);
"""

# Where each kind of number starts.
FIRST_IDS = {
    "klaviyo_account": 1,
    "klaviyo_record": 1,
    "klaviyo_job": 1,
    "klaviyo_profile": 1,
    "klaviyo_metric": 1,
    "klaviyo_event": 1,
    "klaviyo_received": 1,
    "klaviyo_import": 1,
}
