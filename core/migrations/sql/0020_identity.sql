-- Whose SKU a channel's identifier is: barcodes as they are compared, what was answered, and files of answers.

-- core.catalog.barcodes.gtin_of, written as SQL; a property test holds them together.
create function gtin_of(word text) returns text language plpgsql immutable strict parallel safe as $$
declare
    digits text := translate(word, E' -\t\u00a0', '');
    total integer := 0;
    signs bytea;
begin
    if digits ~ '^[0-9]{9}[0-9Xx]$' then
        for place in 1..10 loop
            total := total + (11 - place)
                * case when upper(substr(digits, place, 1)) = 'X' then 10 else substr(digits, place, 1)::integer end;
        end loop;
        if total % 11 <> 0 then
            return null;
        end if;
        digits := '978' || left(digits, 9);
        total := 0;
        for place in 1..12 loop
            total := total + substr(digits, place, 1)::integer * case when place % 2 = 0 then 3 else 1 end;
        end loop;
        digits := digits || (10 - total % 10) % 10;
    elsif digits !~ '^([0-9]{8}|[0-9]{12,14})$' then
        return null;
    end if;
    digits := lpad(digits, 14, '0');
    signs := digits::bytea;
    -- Written out: a catalogue that is read works it out for every row. 28 weights of the sign 0, which is 48.
    total := 3 * (get_byte(signs, 0) + get_byte(signs, 2) + get_byte(signs, 4) + get_byte(signs, 6) + get_byte(signs, 8)
            + get_byte(signs, 10) + get_byte(signs, 12))
        + get_byte(signs, 1) + get_byte(signs, 3) + get_byte(signs, 5) + get_byte(signs, 7) + get_byte(signs, 9)
        + get_byte(signs, 11) + get_byte(signs, 13) - 28 * 48;
    if total % 10 <> 0
        or (case when digits like '000000%' then substr(digits, 7, 1) in ('0', '2')
            else substr(digits, 2, 2) in ('02', '04') or substr(digits, 2, 1) = '2' end) then
        return null;
    end if;
    return digits;
end $$;

alter table skus
    add column gtin text generated always as (gtin_of(barcode)) stored,
    add column code_key text generated always as (lower(replace(code, ' ', ''))) stored;
comment on column skus.gtin is 'the barcode as it is compared: 14 digits; null where it is none, or some company''s own number';
comment on column skus.code_key is 'the code but for case and spaces: what is alike and not equal is only suggested';
create index ix_skus_shop_id_gtin on skus (shop_id, gtin) where gtin is not null;
create index ix_skus_shop_id_code_key on skus (shop_id, code_key);

alter table listings
    add column barcode text,
    add column label_ref text,
    add column gtin text generated always as (gtin_of(barcode)) stored;
comment on column listings.barcode is 'as the channel tells it';
comment on column listings.label_ref is 'what the channel''s warehouse labels the goods with: Amazon''s FNSKU';
comment on column listings.gtin is 'the barcode as it is compared: 14 digits; null where it is none, or some company''s own number';
create index ix_listings_gtin on listings (shop_id, connection_id, gtin) where gtin is not null;
create index ix_listings_product_ref on listings (shop_id, product_ref) where product_ref is not null;
create index ix_listings_label_ref on listings (shop_id, connection_id, label_ref) where label_ref is not null;
create index ix_listings_unmapped on listings (shop_id, connection_id, channel_ref) where sku_id is null;

create table sku_identifiers (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint not null,
    kind text not null,
    value text not null,
    sku_id bigint,
    source text not null,
    mapped_by text not null,
    reason text not null,
    mapped_at timestamptz not null,
    ended_by text,
    end_reason text,
    ended_at timestamptz,
    constraint pk_sku_identifiers primary key (shop_id, id),
    constraint fk_sku_identifiers_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint fk_sku_identifiers_skus_shop_id_sku_id foreign key (shop_id, sku_id) references skus (shop_id, id),
    constraint ck_sku_identifiers_kind check (kind in ('variant', 'seller_sku', 'fnsku', 'barcode', 'asin')),
    constraint ck_sku_identifiers_source check (source in ('automatic', 'person', 'file')),
    constraint ck_sku_identifiers_said check (btrim(value) <> '' and btrim(mapped_by) <> '' and btrim(reason) <> ''),
    -- Nothing is set aside, and nothing but a listing itself is mapped, without somebody's word.
    constraint ck_sku_identifiers_automatic check (source <> 'automatic' or (kind = 'variant' and sku_id is not null)),
    constraint ck_sku_identifiers_ended check (
        (ended_at is null) = (ended_by is null) and (ended_at is null) = (end_reason is null)
    )
);
comment on table sku_identifiers is 'which SKU an identifier of one connection stands for; ended ones are its history';
comment on column sku_identifiers.kind is 'variant: the channel''s own id of a listing; seller_sku: the code it has there; fnsku: its label; asin: its product';
comment on column sku_identifiers.value is 'as the channel spells it; of a barcode the 14 digits where it has them';
comment on column sku_identifiers.sku_id is 'null: not ours, set aside by somebody';
comment on column sku_identifiers.source is 'what a person or a file says goes before what was found by itself';
create unique index uq_sku_identifiers_living on sku_identifiers (shop_id, connection_id, kind, value)
    where ended_at is null;
create index ix_sku_identifiers_history on sku_identifiers (shop_id, connection_id, kind, value, id);
create index ix_sku_identifiers_answers on sku_identifiers (shop_id, connection_id, value)
    where ended_at is null and source <> 'automatic';
create index ix_sku_identifiers_shop_id_sku_id on sku_identifiers (shop_id, sku_id);

-- What was answered is a fact; only that it ended is added, once.
create function keep_identifier() returns trigger language plpgsql as $$
begin
    if old.ended_at is not null
        or (to_jsonb(new) - array['ended_at', 'ended_by', 'end_reason'])
            is distinct from (to_jsonb(old) - array['ended_at', 'ended_by', 'end_reason']) then
        raise exception 'mapping % is a fact: only that it ended is added', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger only_ends before update on sku_identifiers for each row execute function keep_identifier();
create trigger never_deleted before delete or truncate on sku_identifiers
    for each statement execute function refuse_change();

create table identifier_files (
    shop_id bigint not null,
    id bigint generated always as identity,
    digest text not null,
    name text not null,
    rows integer not null,
    mapped integer not null,
    remapped integer not null,
    set_aside integer not null,
    loaded_by text not null,
    reason text not null,
    loaded_at timestamptz not null,
    constraint pk_identifier_files primary key (shop_id, id),
    constraint fk_identifier_files_shop_id_shops foreign key (shop_id) references shops (shop_id),
    constraint uq_identifier_files_shop_id_digest unique (shop_id, digest)
);
comment on table identifier_files is 'files of mappings that were loaded, each once';
create trigger append_only before update or delete or truncate on identifier_files
    for each statement execute function refuse_change();

-- A promise whose line turned out to be another SKU's is ended and kept; what its line takes now begins after it.
alter table reservations drop constraint ck_reservations_holder_kind;
alter table reservations add constraint ck_reservations_holder_kind
    check (holder_kind in ('order_line', 'checkout', 'channel_order', 'vendor_order', 'remapped_line'));
alter table order_lines add column promise_revision integer not null default 0;
comment on column order_lines.promise_revision is 'revisions of its promise begin after it: as another SKU it had so many';

create index ix_order_lines_set_aside on order_lines (shop_id, id)
    where mapping = 'unstocked' and sku_id is null and coalesce(variant_ref, code) is not null;

-- What is mapped already was found by its code.
insert into sku_identifiers (shop_id, connection_id, kind, value, sku_id, source, mapped_by, reason, mapped_at)
select shop_id, connection_id, 'variant', channel_ref, min(sku_id), 'automatic', 'matching', 'mapped before reasons were kept',
    now()
from listings where sku_id is not null group by shop_id, connection_id, channel_ref having count(distinct sku_id) = 1;

-- What is answered for each listing: somebody's word before what was found, then the narrowest identifier.
create view listing_answers with (security_invoker = true) as
select l.shop_id, l.connection_id, l.id as listing_id, a.identifier_id, a.kind, a.value, a.source, a.sku_id
from listings l
join lateral (
    select i.id as identifier_id, i.kind, i.value, i.source, i.sku_id
    from (values
        ('variant', l.channel_ref, 1), ('seller_sku', l.channel_code, 2), ('fnsku', l.label_ref, 3),
        ('barcode', coalesce(l.gtin, btrim(l.barcode, E' \t\u00a0')), 4), ('asin', l.product_ref, 5))
        k (kind, value, rank)
    join sku_identifiers i on i.shop_id = l.shop_id and i.connection_id = l.connection_id and i.kind = k.kind
        and i.value = k.value and i.ended_at is null
    order by i.source = 'automatic', k.rank limit 1
) a on true;

-- The mapping table as people read it, history included (`is_living`).
create view identifier_list with (security_invoker = true) as
select
    i.shop_id, i.id as identifier_id, i.connection_id, c.name as connection, i.kind, i.value, i.sku_id, s.code,
    s.title, i.sku_id is not null as is_ours, i.source, i.mapped_by, i.reason, i.mapped_at, i.ended_by, i.end_reason,
    i.ended_at, i.ended_at is null as is_living
from sku_identifiers i
join connections c on c.shop_id = i.shop_id and c.id = i.connection_id
left join skus s on s.shop_id = i.shop_id and s.id = i.sku_id;

-- What nobody knows whose it is: listings without a SKU, and names in order lines that answer to none. One row for each
-- identifier of a connection, with what hangs on it. Set aside ones are not among them.
create view unmapped_identifiers with (security_invoker = true) as
with told as (
    select l.shop_id, l.connection_id, 'variant' as kind, l.channel_ref as value, max(l.channel_code) as code,
        max(l.title) as title, max(l.product_ref) as product_ref, max(l.label_ref) as label_ref,
        max(l.barcode) as barcode, max(l.gtin) as gtin, count(*) as listings,
        bool_or(l.is_tracked and l.status <> 'deleted') as would_publish,
        bool_or(l.publishing_reason like 'ambiguous%') as is_ambiguous, max(l.publishing_reason) as reason,
        min(l.version_at) as listed_at, min(l.id) as listing_id
    from listings l
    where l.sku_id is null and not exists (
        select from listing_answers a where a.shop_id = l.shop_id and a.listing_id = l.id and a.sku_id is null)
    group by l.shop_id, l.connection_id, l.channel_ref
), parked as (
    select l.shop_id, o.connection_id, case when l.variant_ref is null then 'seller_sku' else 'variant' end as kind,
        coalesce(l.variant_ref, l.code) as value, max(l.code) as code, max(l.title) as title, count(*) as lines,
        count(distinct l.order_id) as orders, sum(l.units)::bigint as units, min(o.placed_at) as since,
        bool_or(l.mapping_reason like '%more than one SKU%') as is_ambiguous, max(l.mapping_reason) as reason
    from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
    where l.mapping = 'unmapped' and coalesce(l.variant_ref, l.code) is not null
    group by 1, 2, 3, 4
)
select
    shop_id, connection_id, c.name as connection, c.guarantee_class, kind, value, coalesce(t.code, p.code) as code,
    coalesce(t.title, p.title) as title, t.product_ref, t.label_ref, t.barcode, t.gtin,
    case when coalesce(t.is_ambiguous, false) or coalesce(p.is_ambiguous, false) then 'ambiguous' else 'unmapped' end
        as state,
    coalesce(t.reason, p.reason) as reason, coalesce(t.listings, 0) as listings, t.listing_id,
    coalesce(p.lines, 0) as parked_lines, coalesce(p.orders, 0) as parked_orders,
    coalesce(p.units, 0)::bigint as parked_units, least(p.since, t.listed_at) as since, p.since as parked_since,
    coalesce(t.would_publish, false) as would_publish
from told t full join parked p using (shop_id, connection_id, kind, value)
join connections c using (shop_id) where c.id = connection_id;

-- Grows with a catalogue that is read: counted with it.
create or replace function count_catalogue() returns void language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare
    grown text;
begin
    set local lock_timeout = '100ms';
    foreach grown in array array['skus', 'listings', 'sku_identifiers', 'stock_levels', 'stock_movements'] loop
        begin
            execute format('analyze public.%I', grown);
        exception when lock_not_available then
            null;  -- autovacuum is at it
        end;
    end loop;
end $$;
