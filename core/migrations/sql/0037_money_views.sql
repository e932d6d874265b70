-- What screens read of money. Amounts of parties are theirs: positive is what they have, whatever the ledger's signs.

-- Parties, with what keeps their money back and what waits for a second person.
create view party_list with (security_invoker = true) as
select
    p.shop_id, p.id as party_id, p.kind, p.code, p.name, p.return_window_days, p.created_at, p.ended_at,
    h.id as hold_id, h.reason as hold_reason, h.placed_by as hold_by, h.placed_at as hold_at,
    (select count(*) from adjustments a
        where a.shop_id = p.shop_id and a.party_id = p.id and a.state = 'waiting') as waiting_adjustments
from parties p
left join payout_holds h on h.shop_id = p.shop_id and h.party_id = p.id and h.lifted_at is null
where p.kind <> 'platform';

-- What each party may be paid and what is held of it, as of now, from the sums by day.
create view party_balances with (security_invoker = true) as
select
    a.shop_id, a.party_id, a.currency,
    coalesce(sum(d.credit_minor - d.debit_minor) filter (where a.kind = 'payable'), 0)::bigint as payable_minor,
    coalesce(sum(d.credit_minor - d.debit_minor) filter (where a.kind = 'refund_reserve'), 0)::bigint as held_minor,
    coalesce(sum(d.entries), 0)::bigint as entries
from ledger_accounts a
left join ledger_account_days d on d.shop_id = a.shop_id and d.account_id = a.id
where a.party_id is not null
group by a.shop_id, a.party_id, a.currency;

-- What each day changed of that.
create view party_balance_days with (security_invoker = true) as
select
    a.shop_id, a.party_id, a.currency, d.day,
    coalesce(sum(d.credit_minor - d.debit_minor) filter (where a.kind = 'payable'), 0)::bigint as payable_minor,
    coalesce(sum(d.credit_minor - d.debit_minor) filter (where a.kind = 'refund_reserve'), 0)::bigint as held_minor
from ledger_accounts a
join ledger_account_days d on d.shop_id = a.shop_id and d.account_id = a.id
where a.party_id is not null
group by a.shop_id, a.party_id, a.currency, d.day;

-- Each entry of a party's accounts, with what it was for.
create view party_statement_lines with (security_invoker = true) as
select
    a.shop_id, a.party_id, a.id as account_id, a.kind as account_kind, a.currency, t.id as transaction_id, t.kind,
    t.note, t.order_id, o.name as order_name, t.event_at, t.recorded_at, -e.amount_minor as amount_minor
from ledger_accounts a
join ledger_entries e on e.shop_id = a.shop_id and e.account_id = a.id
join ledger_transactions t on t.shop_id = e.shop_id and t.id = e.transaction_id
left join orders o on o.shop_id = t.shop_id and o.id = t.order_id
where a.party_id is not null;

-- What each day added, by what it is summed by; several rows may be alike.
create view commission_breakdown with (security_invoker = true) as
select
    c.shop_id, c.day, c.currency, c.base, c.cause, c.connection_id, c.category, c.seller_id, c.creator_id,
    c.referrer_id, c.net_minor + c.tax_minor as gross_minor, c.net_minor, c.tax_minor, c.seller_minor,
    c.platform_minor, c.creator_minor, c.referrer_minor, c.channel_minor, c.authority_minor, c.unassigned_minor,
    c.accruals
from commission_days c;

-- What each party earned on each day, as what; several rows may be alike.
create view party_earnings with (security_invoker = true) as
select c.shop_id, c.day, c.currency, c.base, c.cause, c.seller_id as party_id, 'seller' as role,
    c.seller_minor as earned_minor
from commission_days c where c.seller_id is not null
union all
select c.shop_id, c.day, c.currency, c.base, c.cause, c.creator_id, 'creator', c.creator_minor
from commission_days c where c.creator_id is not null
union all
select c.shop_id, c.day, c.currency, c.base, c.cause, c.referrer_id, 'referrer', c.referrer_minor
from commission_days c where c.referrer_id is not null;

-- Every account with its sums as of now.
create view ledger_trial_balance with (security_invoker = true) as
select
    a.shop_id, a.id as account_id, a.kind, a.currency, a.party_id, p.name as party, p.code as party_code,
    a.connection_id, c.name as connection, a.opened_at,
    s.debit_minor, s.credit_minor, s.debit_minor - s.credit_minor as balance_minor, s.entries
from ledger_accounts a
left join parties p on p.shop_id = a.shop_id and p.id = a.party_id
left join connections c on c.shop_id = a.shop_id and c.id = a.connection_id
cross join lateral (
    select coalesce(sum(d.debit_minor), 0)::bigint as debit_minor,
        coalesce(sum(d.credit_minor), 0)::bigint as credit_minor, coalesce(sum(d.entries), 0)::bigint as entries
    from ledger_account_days d where d.shop_id = a.shop_id and d.account_id = a.id
) s;

create view ledger_transaction_list with (security_invoker = true) as
select
    t.shop_id, t.id as transaction_id, t.key, t.kind, t.order_id, o.name as order_name, t.event_at, t.recorded_at,
    t.note, t.recorded_by
from ledger_transactions t
left join orders o on o.shop_id = t.shop_id and o.id = t.order_id;

create view ledger_transaction_lines with (security_invoker = true) as
select
    e.shop_id, e.transaction_id, e.account_id, e.amount_minor, e.currency, a.kind as account_kind, a.party_id,
    p.name as party, a.connection_id, c.name as connection
from ledger_entries e
join ledger_accounts a on a.shop_id = e.shop_id and a.id = e.account_id
left join parties p on p.shop_id = a.shop_id and p.id = a.party_id
left join connections c on c.shop_id = a.shop_id and c.id = a.connection_id;

-- What each line of an order came to, fact by fact, and by which terms.
create view order_split with (security_invoker = true) as
select
    a.shop_id, a.order_id, a.id as accrual_id, a.order_line_id, l.ordinal as line_ordinal, l.title as line_title,
    k.code as sku_code, a.ordinal, a.base, a.cause, a.currency, a.net_minor, a.tax_minor, a.seller_minor,
    a.platform_minor, a.creator_minor, a.referrer_minor, a.channel_minor, a.authority_minor, a.unassigned_minor,
    a.transaction_id, a.event_at, a.recorded_at, a.terms_id, a.volumes_minor, t.category, t.window_days,
    t.item_rules, t.shipping_rules, t.seller_id, s.name as seller, t.creator_id, c.name as creator, t.referrer_id,
    r.name as referrer
from commission_accruals a
left join order_lines l on l.shop_id = a.shop_id and l.id = a.order_line_id
left join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
left join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
left join parties s on s.shop_id = t.shop_id and s.id = t.seller_id
left join parties c on c.shop_id = t.shop_id and c.id = t.creator_id
left join parties r on r.shop_id = t.shop_id and r.id = t.referrer_id
where a.order_id is not null;

-- Windows that hold money: whose, how much, until when, and what they wait for.
create view held_windows with (security_invoker = true) as
select
    w.shop_id, w.order_id, w.days, o.name as order_name, w.starts_at, w.closes_at, w.waits_for, s.party_id,
    s.currency, s.amount_minor
from commission_windows w
join orders o on o.shop_id = w.shop_id and o.id = w.order_id
cross join lateral (
    select v.party_id, a.currency, sum(v.minor)::bigint as amount_minor
    from commission_accruals a
    join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id and t.window_days = w.days
    cross join lateral (values (t.seller_id, a.seller_minor), (t.creator_id, a.creator_minor),
        (t.referrer_id, a.referrer_minor)) v (party_id, minor)
    where a.shop_id = w.shop_id and a.order_id = w.order_id and v.party_id is not null
    group by v.party_id, a.currency having sum(v.minor) <> 0
) s
where w.released_at is null;

create view adjustment_list with (security_invoker = true) as
select
    a.shop_id, a.id as adjustment_id, a.party_id, p.name as party, a.currency, a.amount_minor, a.reason, a.asked_by,
    a.asked_at, a.needs_approval, a.state, a.decided_by, a.decided_reason, a.decided_at, a.transaction_id
from adjustments a join parties p on p.shop_id = a.shop_id and p.id = a.party_id;

create view payout_hold_list with (security_invoker = true) as
select
    h.shop_id, h.id as hold_id, h.party_id, p.name as party, h.order_id, o.name as order_name, h.reason, h.placed_by,
    h.placed_at, h.lifted_by, h.lifted_reason, h.lifted_at
from payout_holds h
left join parties p on p.shop_id = h.shop_id and p.id = h.party_id
left join orders o on o.shop_id = h.shop_id and o.id = h.order_id;

-- Which months a party takes part in is found by its own days, not by everybody's.
create index ix_commission_days_creator on commission_days (shop_id, creator_id, day) where creator_id is not null;
create index ix_commission_days_referrer on commission_days (shop_id, referrer_id, day) where referrer_id is not null;

create view released_windows with (security_invoker = true) as
select w.shop_id, w.transaction_id, w.order_id, o.name as order_name, w.days, w.closes_at, w.released_at
from commission_windows w join orders o on o.shop_id = w.shop_id and o.id = w.order_id
where w.released_at is not null;
