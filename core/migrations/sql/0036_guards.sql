-- Facts of money are added, never edited.
create trigger append_only before update or delete or truncate on ledger_transactions
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on ledger_entries
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on ledger_seals
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on ledger_anchors
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on ledger_accounts
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on commission_accruals
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on commission_terms
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on commission_versions
    for each statement execute function refuse_change();

-- Digests do not compress; uncompressed, a part of them is read without the rest.
alter table ledger_seals alter column members set storage external;

-- Whole transactions come by one statement, and nothing is ever added to one. Once for all rows of the statement: what a
-- row refers to is looked up here in sets, where foreign keys would ask for each row by itself.
create function check_ledger_entries() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    -- By account first, whatever the transactions: accounts are few, and a pair with each transaction is as much as all
    -- rows.
    select a.transaction_id, a.account_id into wrong
    from (select shop_id, account_id, currency, min(transaction_id) as transaction_id from added group by 1, 2, 3) a
    left join ledger_accounts k on k.shop_id = a.shop_id and k.id = a.account_id
    where k.currency is distinct from a.currency limit 1;
    if found then
        raise exception 'ledger transaction % names account %, which is not there or has another currency',
            wrong.transaction_id, wrong.account_id
            using errcode = 'foreign_key_violation', constraint = 'ledger_account';
    end if;
    select a.transaction_id, a.currency, a.minor, t.id is null as is_missing into wrong
    from (
        select shop_id, transaction_id, sum(entries) as entries, max(currency) filter (where minor <> 0) as currency,
            max(minor) filter (where minor <> 0) as minor
        from (select shop_id, transaction_id, currency, sum(amount_minor) as minor, count(*) as entries
            from added group by 1, 2, 3) sums
        group by 1, 2
    ) a
    left join ledger_transactions t on t.shop_id = a.shop_id and t.id = a.transaction_id
    cross join lateral (
        select count(*) as entries from ledger_entries e
        where e.shop_id = a.shop_id and e.transaction_id = a.transaction_id
    ) e
    where a.minor is not null or t.id is null or e.entries <> a.entries limit 1;
    if wrong.minor is not null then
        raise exception 'ledger transaction % is not balanced: its % entries sum to %', wrong.transaction_id,
            wrong.currency, wrong.minor using errcode = 'check_violation', constraint = 'ledger_balanced';
    elsif found then
        raise exception 'ledger transaction % %', wrong.transaction_id,
            case when wrong.is_missing then 'is not there' else 'is posted: post another one instead of adding to it' end
            using errcode = 'restrict_violation', constraint = 'ledger_posted_once';
    end if;
    -- By instant first, which is one for all that is posted at once: days are asked of the zone for each sum, not each
    -- entry.
    insert into ledger_account_days (shop_id, account_id, day, debit_minor, credit_minor, entries)
    select a.shop_id, a.account_id, (a.recorded_at at time zone s.time_zone)::date, a.debit, a.credit, a.entries
    from (
        select a.shop_id, a.account_id, t.recorded_at,
            coalesce(sum(a.amount_minor) filter (where a.amount_minor > 0), 0) as debit,
            coalesce(-sum(a.amount_minor) filter (where a.amount_minor < 0), 0) as credit, count(*) as entries
        from added a join ledger_transactions t on t.shop_id = a.shop_id and t.id = a.transaction_id
        group by 1, 2, 3
    ) a
    join shops s on s.shop_id = a.shop_id;
    return null;
end $$;

create trigger whole_and_balanced after insert on ledger_entries
    referencing new table as added for each statement execute function check_ledger_entries();

create function check_ledger_transactions() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select a.id into wrong from added a
    where not exists (select from ledger_entries e where e.shop_id = a.shop_id and e.transaction_id = a.id) limit 1;
    if found then
        raise exception 'ledger transaction % has no entries: they come by the same statement', wrong.id
            using errcode = 'check_violation', constraint = 'ledger_has_entries';
    end if;
    return null;
end $$;

create trigger has_entries after insert on ledger_transactions
    referencing new table as added for each statement execute function check_ledger_transactions();

-- The same for what lines come to, with the sums by day that screens show.
create function check_accruals() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select a.order_line_id, a.order_id, a.terms_id, a.transaction_id into wrong from added a
    left join order_lines l on l.shop_id = a.shop_id and l.id = a.order_line_id
    left join orders o on o.shop_id = a.shop_id and o.id = a.order_id
    left join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
    left join ledger_transactions x on x.shop_id = a.shop_id and x.id = a.transaction_id
    where a.order_line_id is not null and l.order_id is distinct from a.order_id
        or a.order_id is not null and o.connection_id is distinct from a.connection_id
        or a.terms_id is not null and t.id is null or a.transaction_id is not null and x.id is null
        or a.customer_return_id is not null and not exists (select from customer_returns r
            where r.shop_id = a.shop_id and r.id = a.customer_return_id)
    limit 1;
    if found then
        raise exception 'what line % of order % came to names what is not there: terms %, transaction %',
            wrong.order_line_id, wrong.order_id, wrong.terms_id, wrong.transaction_id
            using errcode = 'foreign_key_violation', constraint = 'accrual_refers';
    end if;
    insert into commission_days (shop_id, day, connection_id, category, seller_id, creator_id, referrer_id, currency,
        base, cause, net_minor, tax_minor, seller_minor, platform_minor, creator_minor, referrer_minor, channel_minor,
        authority_minor, unassigned_minor, accruals)
    select a.shop_id, (a.event_at at time zone s.time_zone)::date, a.connection_id, t.category, t.seller_id,
        t.creator_id, t.referrer_id, a.currency, a.base, a.cause, sum(a.net_minor), sum(a.tax_minor),
        sum(a.seller_minor), sum(a.platform_minor), sum(a.creator_minor), sum(a.referrer_minor),
        sum(a.channel_minor), sum(a.authority_minor), sum(a.unassigned_minor), count(*)
    from added a join shops s on s.shop_id = a.shop_id
    left join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
    return null;
end $$;

create trigger refers_and_sums after insert on commission_accruals
    referencing new table as added for each statement execute function check_accruals();

-- A rule, or an assignment, is what it was begun as; it only ends.
create function keep_versioned() returns trigger language plpgsql as $$
begin
    if old.ended_id is not null or new.ended_id is null
        or to_jsonb(new) - 'ended_id' is distinct from to_jsonb(old) - 'ended_id' then
        raise exception 'row % of % is frozen: end it and begin another', old.id, tg_table_name
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;

create trigger is_frozen before update on commission_rules for each row execute function keep_versioned();
create trigger never_deleted before delete or truncate on commission_rules
    for each statement execute function refuse_change();
create trigger is_frozen before update on party_assignments for each row execute function keep_versioned();
create trigger never_deleted before delete or truncate on party_assignments
    for each statement execute function refuse_change();

-- What was asked for stays; it is decided once.
create function decide_once() returns trigger language plpgsql as $$
declare
    decided text[] := case tg_table_name
        when 'adjustments' then array['state', 'decided_by', 'decided_reason', 'decided_at', 'transaction_id']
        when 'chargebacks' then array['state', 'decided_at']
        else array['lifted_by', 'lifted_reason', 'lifted_at'] end;
    was_decided boolean := case tg_table_name
        when 'adjustments' then to_jsonb(old) ->> 'state' <> 'waiting'
        when 'chargebacks' then to_jsonb(old) ->> 'state' <> 'open'
        else to_jsonb(old) ->> 'lifted_at' is not null end;
begin
    if was_decided or to_jsonb(new) - decided is distinct from to_jsonb(old) - decided then
        raise exception 'row % of % is decided, or something else than its decision was to be changed', old.id,
            tg_table_name using errcode = 'restrict_violation';
    end if;
    return new;
end $$;

create trigger decided_once before update on adjustments for each row execute function decide_once();
create trigger never_deleted before delete or truncate on adjustments
    for each statement execute function refuse_change();
create trigger decided_once before update on chargebacks for each row execute function decide_once();
create trigger never_deleted before delete or truncate on chargebacks
    for each statement execute function refuse_change();
create trigger decided_once before update on payout_holds for each row execute function decide_once();
create trigger never_deleted before delete or truncate on payout_holds
    for each statement execute function refuse_change();
create trigger never_deleted before delete or truncate on parties
    for each statement execute function refuse_change();
