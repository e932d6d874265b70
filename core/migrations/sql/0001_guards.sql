-- Facts are added, never edited. A statement trigger, so that even an update of no row is refused.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are facts: add a compensating row instead of changing one', tg_table_name
        using errcode = 'restrict_violation';
end $$;

create trigger append_only before update or delete or truncate on stock_movements
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on audit_entries
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on fulfilment_lines
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on refunds
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on refund_lines
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on customer_returns
    for each statement execute function refuse_change();

-- A write's intent is what was promised before the request left: it never changes. Its outcome is set once.
create function keep_write_intent() returns trigger language plpgsql as $$
begin
    if old.outcome is not null then
        raise exception 'write % is settled as %: its outcome is set once', old.id, old.outcome
            using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.id, new.connection_id, new.listing_id, new.from_units, new.to_units,
        new.exposure_delta_units, new.idempotency_key, new.batch_position, new.planned_at, new.deadline_at,
        new.sync_run_id)
       is distinct from
       (old.shop_id, old.id, old.connection_id, old.listing_id, old.from_units, old.to_units,
        old.exposure_delta_units, old.idempotency_key, old.batch_position, old.planned_at, old.deadline_at,
        old.sync_run_id)
    then
        raise exception 'the intent of write % is frozen', old.id using errcode = 'restrict_violation';
    end if;
    if (old.sent_at is not null and new.sent_at is distinct from old.sent_at)
        or (old.accepted_at is not null and new.accepted_at is distinct from old.accepted_at)
        or (old.submission_ref is not null and new.submission_ref is distinct from old.submission_ref)
    then
        raise exception 'what happened to write % is recorded once', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;

create trigger intent_is_frozen before update on listing_writes
    for each row execute function keep_write_intent();
create trigger never_deleted before delete or truncate on listing_writes
    for each statement execute function refuse_change();

-- A claim reads the head of this table all day: keep its dead rows few.
alter table inbox_messages set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
