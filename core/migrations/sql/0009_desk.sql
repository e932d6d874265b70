-- A level that somebody's expectation made says nothing of our stock: a channel's number is still to be taken over.
alter table stock_levels add column is_placeholder boolean not null default false;
comment on column stock_levels.is_placeholder is 'made to be locked or expected at: its number is not ours yet';

-- What the desk writes down: one document for each act, with its lines. What was booked of a line is never changed; a
-- document is undone by another one.
create table stock_documents (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    state text not null,
    location_id bigint not null,
    to_location_id bigint,
    against_id bigint,
    undoes_id bigint,
    business_key text not null,
    reference text,
    reason text not null,
    expected_on date,
    created_by text not null,
    created_at timestamptz not null,
    sent_by text,
    sent_at timestamptz,
    done_by text,
    done_at timestamptz,
    closing_reason text,
    written_in bigint not null default (pg_current_xact_id()::text::bigint),
    constraint pk_stock_documents primary key (shop_id, id),
    constraint fk_stock_documents_locations_shop_id_location_id foreign key (shop_id, location_id)
        references locations (shop_id, id),
    constraint fk_stock_documents_locations_shop_id_to_location_id foreign key (shop_id, to_location_id)
        references locations (shop_id, id),
    constraint fk_stock_documents_stock_documents_shop_id_against_id foreign key (shop_id, against_id)
        references stock_documents (shop_id, id),
    constraint fk_stock_documents_stock_documents_shop_id_undoes_id foreign key (shop_id, undoes_id)
        references stock_documents (shop_id, id),
    constraint uq_stock_documents_shop_id_business_key unique (shop_id, business_key),
    constraint uq_stock_documents_shop_id_undoes_id unique (shop_id, undoes_id),
    constraint ck_stock_documents_kind check
        (kind in ('receipt', 'adjustment', 'count', 'transfer', 'return', 'purchase_order', 'release')),
    constraint ck_stock_documents_state check (state in ('draft', 'open', 'sent', 'done', 'cancelled')),
    constraint ck_stock_documents_state_of_kind check (case kind
        when 'transfer' then state <> 'open'
        when 'count' then state in ('open', 'done', 'cancelled')
        when 'purchase_order' then state in ('open', 'done')
        else state = 'done' end),
    constraint ck_stock_documents_transfer_goes_elsewhere check
        ((kind = 'transfer') = (to_location_id is not null) and to_location_id is distinct from location_id),
    constraint ck_stock_documents_sent check ((sent_at is null) = (sent_by is null)
        and (state <> 'sent' or sent_at is not null)),
    constraint ck_stock_documents_done check ((done_at is null) = (state in ('draft', 'open', 'sent'))
        and (done_at is null) = (done_by is null)),
    constraint ck_stock_documents_only_receipts_are_against check (against_id is null or kind = 'receipt'),
    constraint ck_stock_documents_reasoned check (btrim(reason) <> '' and btrim(created_by) <> '')
);
comment on column stock_documents.business_key is 'the form or file it came from: booked once, however often it is sent';
comment on column stock_documents.to_location_id is 'where a transfer goes';
comment on column stock_documents.against_id is 'the purchase order or transfer of which goods came';
comment on column stock_documents.undoes_id is 'the document that this one takes back';
comment on column stock_documents.reference is 'the other side''s number: delivery note, supplier, file';
comment on column stock_documents.expected_on is 'when a purchase order should come';
comment on column stock_documents.closing_reason is 'why what was outstanding is no longer expected';
comment on column stock_documents.written_in is 'the transaction that wrote it: no other adds lines to what is done';
create index ix_stock_documents_open on stock_documents (shop_id, kind, id) where done_at is null;
create index ix_stock_documents_shop_id_kind_id on stock_documents (shop_id, kind, id);
create index ix_stock_documents_against_id on stock_documents (shop_id, against_id) where against_id is not null;

create table stock_document_lines (
    shop_id bigint not null,
    document_id bigint not null,
    ordinal integer not null,
    sku_id bigint not null,
    bundle_sku_id bigint,
    units bigint,
    order_line_id bigint,
    disposition text,
    note text,
    received_units bigint not null default 0,
    dropped_units bigint not null default 0,
    count_state text,
    counted_units bigint,
    on_hand_units bigint,
    last_movement_id bigint,
    counted_by text,
    counted_at timestamptz,
    decided_by text,
    decided_at timestamptz,
    constraint pk_stock_document_lines primary key (shop_id, document_id, ordinal),
    constraint fk_stock_document_lines_stock_documents_shop_id_document_id foreign key (shop_id, document_id)
        references stock_documents (shop_id, id),
    constraint fk_stock_document_lines_skus_shop_id_sku_id foreign key (shop_id, sku_id) references skus (shop_id, id),
    constraint fk_stock_document_lines_skus_shop_id_bundle_sku_id foreign key (shop_id, bundle_sku_id)
        references skus (shop_id, id),
    constraint fk_stock_document_lines_order_lines_shop_id_order_line_id foreign key (shop_id, order_line_id)
        references order_lines (shop_id, id),
    constraint ck_stock_document_lines_disposition check (disposition in ('restock', 'quarantine', 'write_off')),
    constraint ck_stock_document_lines_count_state check (count_state in ('to_count', 'counted', 'refused', 'approved')),
    constraint ck_stock_document_lines_units check (units <> 0 or count_state is not null),
    constraint ck_stock_document_lines_counted check
        (coalesce(count_state in ('counted', 'approved'), false) = (counted_units is not null)
        and (counted_units is null) = (on_hand_units is null) and (counted_units is null) = (counted_at is null)
        and (counted_units is null) = (counted_by is null) and counted_units >= 0),
    constraint ck_stock_document_lines_approved check
        (count_state is null or (count_state = 'approved') = (units is not null)),
    constraint ck_stock_document_lines_variance check
        (count_state is null or units = counted_units - on_hand_units),
    constraint ck_stock_document_lines_known check (count_state is not null or units is not null),
    constraint ck_stock_document_lines_arrivals check (received_units >= 0 and dropped_units >= 0)
);
comment on column stock_document_lines.sku_id is 'what has the stock; for a line of an order, what was ordered';
comment on column stock_document_lines.bundle_sku_id is 'the bundle it is part of here, where a bundle was named';
comment on column stock_document_lines.units is 'what it moves or expects; a count''s variance, once approved; negative undoes';
comment on column stock_document_lines.received_units is 'of a purchase order or transfer: came so far';
comment on column stock_document_lines.dropped_units is 'of a purchase order or transfer: lost, or no longer expected';
comment on column stock_document_lines.on_hand_units is 'what was on record at the moment the count was entered';
comment on column stock_document_lines.last_movement_id is 'of its SKU, on record at the moment the count was entered; 0 for none';
create unique index uq_stock_document_lines_counted_once on stock_document_lines (shop_id, document_id, sku_id)
    where count_state is not null;
create index ix_stock_document_lines_shop_id_sku_id_document_id on stock_document_lines (shop_id, sku_id, document_id);
create index ix_stock_document_lines_order_line_id on stock_document_lines (shop_id, order_line_id)
    where order_line_id is not null;

create function keep_document_line() returns trigger language plpgsql as $$
begin
    if (new.shop_id, new.document_id, new.ordinal, new.sku_id, new.bundle_sku_id, new.order_line_id, new.disposition,
        new.note)
        is distinct from
        (old.shop_id, old.document_id, old.ordinal, old.sku_id, old.bundle_sku_id, old.order_line_id, old.disposition,
        old.note)
        or (old.units is not null and (new.units, new.counted_units, new.on_hand_units)
            is distinct from (old.units, old.counted_units, old.on_hand_units))
    then
        raise exception 'line % of document % is written down: undo the document instead of changing it',
            old.ordinal, old.document_id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger what_was_booked_is_kept before update on stock_document_lines
    for each row execute function keep_document_line();

-- How far a document has come may change; what it is, where, of whom and why, never.
create function keep_document() returns trigger language plpgsql as $$
begin
    if (new.shop_id, new.id, new.kind, new.location_id, new.to_location_id, new.against_id, new.undoes_id,
        new.business_key, new.reference, new.reason, new.expected_on, new.created_by, new.created_at, new.written_in)
        is distinct from
        (old.shop_id, old.id, old.kind, old.location_id, old.to_location_id, old.against_id, old.undoes_id,
        old.business_key, old.reference, old.reason, old.expected_on, old.created_by, old.created_at, old.written_in)
    then
        raise exception 'document % is written down: undo it instead of changing it', old.id
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger what_was_written_is_kept before update on stock_documents
    for each row execute function keep_document();

-- The lines of what is done are written with it.
create function keep_document_whole() returns trigger language plpgsql as $$
begin
    if exists (select from stock_documents d where d.shop_id = new.shop_id and d.id = new.document_id
        and d.state in ('done', 'cancelled') and d.written_in <> pg_current_xact_id()::text::bigint)
    then
        raise exception 'document % is closed: it takes no more lines', new.document_id
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger what_is_done_is_whole before insert on stock_document_lines
    for each row execute function keep_document_whole();

create trigger never_deleted before delete or truncate on stock_document_lines
    for each statement execute function refuse_change();
create trigger never_deleted before delete or truncate on stock_documents
    for each statement execute function refuse_change();

-- Every form by which a SKU was counted, so that each is entered once, also when a newer count came between.
create table count_entries (
    shop_id bigint not null,
    document_id bigint not null,
    sku_id bigint not null,
    entry_key text not null,
    constraint pk_count_entries primary key (shop_id, document_id, sku_id, entry_key),
    constraint fk_count_entries_stock_documents_shop_id_document_id foreign key (shop_id, document_id)
        references stock_documents (shop_id, id),
    constraint fk_count_entries_skus_shop_id_sku_id foreign key (shop_id, sku_id) references skus (shop_id, id)
);
create trigger append_only before update or delete or truncate on count_entries
    for each statement execute function refuse_change();

-- What is on its way: still expected of purchase orders, and of transfers that have left.
create view incoming_units with (security_invoker = true) as
select l.shop_id, l.sku_id, coalesce(d.to_location_id, d.location_id) as location_id, d.id as document_id, d.kind,
    d.reference, d.expected_on, d.sent_at, greatest(0, l.units - l.received_units - l.dropped_units) as units
from stock_documents d
join stock_document_lines l on l.shop_id = d.shop_id and l.document_id = d.id
where d.done_at is null and d.state in ('open', 'sent') and d.kind in ('purchase_order', 'transfer')
    and l.units > l.received_units + l.dropped_units;

-- Documents as people read them: where, how much, and whether they were taken back.
create view desk_documents with (security_invoker = true) as
select d.shop_id, d.id as document_id, d.kind, d.state, d.location_id, p.name as location, d.to_location_id,
    q.name as to_location, d.against_id, a.kind as against_kind, d.undoes_id, u.id as undone_by_id,
    d.reference, d.reason, d.expected_on, d.created_by, d.created_at, d.sent_by, d.sent_at, d.done_by, d.done_at,
    d.closing_reason, s.lines, s.skus, s.units, s.received_units, s.dropped_units, s.outstanding_units,
    s.to_count, s.counted, s.approved, s.differing
from stock_documents d
join locations p on p.shop_id = d.shop_id and p.id = d.location_id
left join locations q on q.shop_id = d.shop_id and q.id = d.to_location_id
left join stock_documents u on u.shop_id = d.shop_id and u.undoes_id = d.id
left join stock_documents a on a.shop_id = d.shop_id and a.id = d.against_id
cross join lateral (
    select count(*) as lines, count(distinct l.sku_id) as skus, coalesce(sum(l.units), 0)::bigint as units,
        coalesce(sum(l.received_units), 0)::bigint as received_units,
        coalesce(sum(l.dropped_units), 0)::bigint as dropped_units,
        coalesce(sum(greatest(0, l.units - l.received_units - l.dropped_units))
            filter (where d.kind in ('purchase_order', 'transfer')), 0)::bigint as outstanding_units,
        count(*) filter (where l.count_state in ('to_count', 'refused')) as to_count,
        count(*) filter (where l.count_state = 'counted') as counted,
        count(*) filter (where l.count_state = 'approved') as approved,
        count(*) filter (where l.count_state = 'counted' and l.counted_units <> l.on_hand_units) as differing
    from stock_document_lines l where l.shop_id = d.shop_id and l.document_id = d.id
) s;

create view desk_lines with (security_invoker = true) as
select l.shop_id, l.document_id, l.ordinal, l.sku_id, s.code, s.title, s.barcode, b.code as bundle_code, l.units,
    l.order_line_id, o.name as order_name, l.disposition, l.note, l.received_units, l.dropped_units,
    greatest(0, l.units - l.received_units - l.dropped_units) as outstanding_units, l.count_state, l.counted_units,
    l.on_hand_units, l.counted_units - l.on_hand_units as variance_units, l.counted_by, l.counted_at, l.decided_by,
    l.decided_at
from stock_document_lines l
join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
left join skus b on b.shop_id = l.shop_id and b.id = l.bundle_sku_id
left join order_lines ol on ol.shop_id = l.shop_id and ol.id = l.order_line_id
left join orders o on o.shop_id = ol.shop_id and o.id = ol.order_id;

-- Lines of orders that left, and how much of each can still come back over the desk.
create view returnable_lines with (security_invoker = true) as
select l.shop_id, l.id as order_line_id, l.order_id, o.name as order_name, o.connection_id, c.name as connection,
    o.placed_at, l.ordinal, l.sku_id, k.code, l.title, k.barcode, k.is_bundle, l.units, coalesce(s.units, 0)::bigint as shipped_units,
    (t.units - t.recalled) as taken_back_units,
    greatest(0, coalesce(s.units, 0) - t.units + t.recalled)::bigint as returnable_units, r.location_id,
    p.name as location
from order_lines l
join orders o on o.shop_id = l.shop_id and o.id = l.order_id
join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
join lateral (select min(x.location_id) as location_id from reservations x
    where x.shop_id = l.shop_id and x.order_line_id = l.id) r on true
left join locations p on p.shop_id = l.shop_id and p.id = r.location_id
left join lateral (
    select sum(fl.units) as units from fulfilment_lines fl
    join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id and f.is_shipped
    where fl.shop_id = l.shop_id and fl.order_line_id = l.id
) s on true
cross join lateral desk_returns(l.shop_id, l.id) t
where l.mapping = 'stocked';
create index ix_stock_levels_apart on stock_levels (shop_id, sku_id, location_id) where unavailable > 0;
create index ix_orders_shop_id_name on orders (shop_id, name);
create index ix_skus_shop_id_barcode on skus (shop_id, barcode) where barcode is not null;

-- What somebody is scanning and has not booked: kept, so that a phone that reloads its page loses nothing.
create table desk_drafts (
    shop_id bigint not null,
    person text not null,
    act text not null,
    business_key text not null,
    lines jsonb not null,
    updated_at timestamptz not null,
    constraint pk_desk_drafts primary key (shop_id, person, act),
    constraint fk_desk_drafts_shops_shop_id foreign key (shop_id) references shops (shop_id)
);
comment on column desk_drafts.business_key is 'under which it will be booked, once, from however many pages';
