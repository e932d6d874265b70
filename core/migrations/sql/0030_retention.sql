-- How long what is past is kept, and the one way by which messages may be forgotten.
create table retention_policies (
    name text not null,
    keep_days integer not null,
    set_by text not null,
    reason text not null,
    set_at timestamp with time zone not null,
    constraint pk_retention_policies primary key (name),
    constraint ck_retention_policies_keep_days check (keep_days between 1 and 3650),
    constraint ck_retention_policies_named_and_reasoned check (btrim(set_by) <> '' and btrim(reason) <> '')
);
comment on table retention_policies is 'where a person wants another time than the one in core.runs.retention; no row: that one';

-- The application may not delete messages. This forgets settled ones, a batch at a time, and holds by itself what must
-- hold: nothing that waits or is parked; nothing of the last two weeks, in which a channel may deliver again; and the
-- newest thousand of each connection, which say when it was last heard and what of.
create function forget_messages(before timestamp with time zone, at_most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    gone integer;
begin
    if before > now() - interval '14 days' then
        raise exception 'messages of the last 14 days are kept: % is too late', before;
    end if;
    with old as (
        select o.shop_id, o.id
        from connections c
        cross join lateral (
            select m.received_at from inbox_messages m
            where m.shop_id = c.shop_id and m.connection_id = c.id
            order by m.received_at desc offset 999 limit 1
        ) kept
        cross join lateral (
            select m.shop_id, m.id from inbox_messages m
            where m.shop_id = c.shop_id and m.connection_id = c.id and m.received_at < least(before, kept.received_at)
                and m.state in ('handled', 'ignored', 'discarded')
            order by m.received_at limit at_most for update skip locked
        ) o
        limit at_most
    )
    delete from inbox_messages m using old where m.shop_id = old.shop_id and m.id = old.id;
    get diagnostics gone = row_count;
    return gone;
end
$$;
revoke execute on function forget_messages(timestamp with time zone, integer) from public;

create index ix_outbox_messages_settled_at on outbox_messages (settled_at) where state in ('sent', 'unheard');

create index ix_reconciliation_runs_ended_at on reconciliation_runs (ended_at) where ended_at is not null;
create index ix_discrepancies_resolved_at on discrepancies (resolved_at) where state = 'resolved';

-- A discrepancy that is forgotten takes its history along.
alter table discrepancy_events
    drop constraint fk_discrepancy_events_discrepancies_shop_id_discrepancy_id,
    add constraint fk_discrepancy_events_discrepancies_shop_id_discrepancy_id foreign key (shop_id, discrepancy_id)
        references discrepancies (shop_id, id) on delete cascade;
