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
    entries_summed bigint;
begin
    with sums as materialized (
        select shop_id, transaction_id, currency, sum(amount_minor) as minor, min(account_id) as account_id
        from added group by 1, 2, 3
    )
    select s.transaction_id, s.currency, s.minor, t.id is null as is_missing into wrong
    from sums s
    -- Each by its key: the planner, who cannot know how many were added, would rather read whole tables.
    left join lateral (
        select t.id, t.xmin as written_by, t.cmin as written_in from ledger_transactions t
        where t.shop_id = s.shop_id and t.id = s.transaction_id offset 0
    ) t on true
    -- What one statement wrote bears one transaction id and one command number: an entry that has others than its
    -- transaction came later. One of each is enough, since those of this statement have all the same.
    left join lateral (
        select e.xmin as written_by, e.cmin as written_in from ledger_entries e
        where e.shop_id = s.shop_id and e.transaction_id = s.transaction_id and e.account_id = s.account_id offset 0
    ) e on true
    where s.minor <> 0 or (e.written_by, e.written_in) is distinct from (t.written_by, t.written_in)
    order by s.minor = 0 limit 1;
    if found and wrong.minor <> 0 then
        raise exception 'ledger transaction % is not balanced: its % entries sum to %', wrong.transaction_id,
            wrong.currency, wrong.minor using errcode = 'check_violation', constraint = 'ledger_balanced';
    elsif found then
        raise exception 'ledger transaction % %', wrong.transaction_id,
            case when wrong.is_missing then 'is not there' else 'is posted: post another one instead of adding to it' end
            using errcode = 'restrict_violation', constraint = 'ledger_posted_once';
    end if;
    with told as materialized (
        select t.shop_id, t.id, (t.recorded_at at time zone s.time_zone)::date as day
        from (select distinct shop_id, transaction_id from added) a
        cross join lateral (
            select t.shop_id, t.id, t.recorded_at from ledger_transactions t
            where t.shop_id = a.shop_id and t.id = a.transaction_id offset 0
        ) t
        join shops s on s.shop_id = a.shop_id
    ), summed as (
        select a.shop_id, a.account_id, a.currency, told.day, sum(greatest(a.amount_minor, 0)) as debit_minor,
            sum(greatest(-a.amount_minor, 0)) as credit_minor, count(*) as entries
        from added a join told on told.shop_id = a.shop_id and told.id = a.transaction_id
        group by 1, 2, 3, 4
    ), written as (
        insert into ledger_account_days (shop_id, account_id, day, debit_minor, credit_minor, entries)
        select s.shop_id, s.account_id, s.day, s.debit_minor, s.credit_minor, s.entries
        from summed s join ledger_accounts k
            on k.shop_id = s.shop_id and k.id = s.account_id and k.currency = s.currency
        returning entries
    )
    select coalesce(sum(entries), 0) into entries_summed from written;
    if entries_summed is distinct from (select count(*) from added) then
        select a.transaction_id, a.account_id into wrong
        from added a left join ledger_accounts k on k.shop_id = a.shop_id and k.id = a.account_id
        where k.currency is distinct from a.currency limit 1;
        raise exception 'ledger transaction % names account %, which is not there or has another currency',
            wrong.transaction_id, wrong.account_id
            using errcode = 'foreign_key_violation', constraint = 'ledger_account';
    end if;
    return null;
end $$;

create trigger whole_and_balanced after insert on ledger_entries
    referencing new table as added for each statement execute function check_ledger_entries();

create function check_ledger_transactions() returns trigger language plpgsql as $$
declare
    wrong record;
begin
    select a.id into wrong from added a
    left join lateral (
        select e.transaction_id from ledger_entries e
        where e.shop_id = a.shop_id and e.transaction_id = a.id limit 1
    ) e on true
    where e.transaction_id is null limit 1;
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
    select * into wrong from (
        select 'order line' as what, a.order_line_id as id from added a
        left join lateral (
            select l.order_id from order_lines l where l.shop_id = a.shop_id and l.id = a.order_line_id offset 0
        ) l on true
        where a.order_line_id is not null and l.order_id is distinct from a.order_id
        union all
        select 'order', a.order_id from (select distinct shop_id, order_id, connection_id from added) a
        left join lateral (
            select o.connection_id from orders o where o.shop_id = a.shop_id and o.id = a.order_id offset 0
        ) o on true
        where a.order_id is not null and o.connection_id is distinct from a.connection_id
        union all
        select 'terms', a.terms_id from (select distinct shop_id, terms_id from added) a
        where a.terms_id is not null
            and not exists (select from commission_terms t where t.shop_id = a.shop_id and t.id = a.terms_id)
        union all
        select 'transaction', a.transaction_id from (select distinct shop_id, transaction_id from added) a
        left join lateral (
            select x.id from ledger_transactions x where x.shop_id = a.shop_id and x.id = a.transaction_id offset 0
        ) x on true
        where a.transaction_id is not null and x.id is null
        union all
        select 'return', a.customer_return_id from added a
        where a.customer_return_id is not null and not exists (select from customer_returns r
            where r.shop_id = a.shop_id and r.id = a.customer_return_id)
    ) found limit 1;
    if found then
        raise exception 'what a line came to names % %, which is not there or of another order', wrong.what, wrong.id
            using errcode = 'foreign_key_violation', constraint = 'accrual_refers';
    end if;
    with told as materialized (
        -- A zone is looked up once for each moment, not for each line.
        select a.shop_id, a.event_at, (a.event_at at time zone s.time_zone)::date as day
        from (select distinct shop_id, event_at from added) a join shops s on s.shop_id = a.shop_id
    ), terms as materialized (
        select t.* from (select distinct shop_id, terms_id from added) a
        cross join lateral (
            select t.shop_id, t.id, t.category, t.seller_id, t.creator_id, t.referrer_id from commission_terms t
            where t.shop_id = a.shop_id and t.id = a.terms_id offset 0
        ) t
    )
    insert into commission_days (shop_id, day, connection_id, category, seller_id, creator_id, referrer_id, currency,
        base, cause, net_minor, tax_minor, seller_minor, platform_minor, creator_minor, referrer_minor, channel_minor,
        authority_minor, unassigned_minor, accruals)
    select a.shop_id, told.day, a.connection_id, t.category, t.seller_id, t.creator_id, t.referrer_id, a.currency,
        a.base, a.cause, sum(a.net_minor), sum(a.tax_minor), sum(a.seller_minor), sum(a.platform_minor),
        sum(a.creator_minor), sum(a.referrer_minor), sum(a.channel_minor), sum(a.authority_minor),
        sum(a.unassigned_minor), count(*)
    from added a join told on told.shop_id = a.shop_id and told.event_at = a.event_at
    left join terms t on t.shop_id = a.shop_id and t.id = a.terms_id
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
