"""What must hold of the ledger; part of `core.invariants.CHECKS`, in the form of core.inventory.exposure_checks. The
sealed chain itself is recomputed by core.ledger.verifying."""

from __future__ import annotations

LEDGER_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "ledger_transaction_is_balanced",
        "the entries of every ledger transaction sum to zero in each currency",
        """
        select e.shop_id, e.transaction_id, t.key, e.currency, e.sum_minor
        from (select shop_id, transaction_id, currency, sum(amount_minor) as sum_minor from ledger_entries
            where {shop} group by 1, 2, 3 having sum(amount_minor) <> 0) e
        left join ledger_transactions t on t.shop_id = e.shop_id and t.id = e.transaction_id
        """,
    ),
    (
        "ledger_transaction_is_whole",
        "every ledger transaction has entries, and every entry its transaction",
        """
        select coalesce(t.shop_id, e.shop_id) as shop_id, coalesce(t.id, e.transaction_id) as transaction_id, t.key,
            e.entries
        from (select shop_id, id, key from ledger_transactions where {shop}) t
        full join (select shop_id, transaction_id, count(*) as entries from ledger_entries where {shop} group by 1, 2) e
            on e.shop_id = t.shop_id and e.transaction_id = t.id
        where t.id is null or e.transaction_id is null
        """,
    ),
    (
        "ledger_entry_is_in_its_accounts_currency",
        "the account of every entry is there and has the entry's currency",
        """
        select e.shop_id, e.transaction_id, e.account_id, e.currency, k.currency as account_currency
        from ledger_entries e left join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
        where e.{shop} and k.currency is distinct from e.currency
        """,
    ),
    (
        "ledger_days_are_sums_of_entries",
        "what is kept of each account by day is the sum of its entries",
        # Days are of the zone that a shop had at the time: where it was changed, only sums over all days are compared.
        """
        with zones as (
            select s.shop_id, s.time_zone, not exists (select from audit_entries e where e.shop_id = s.shop_id
                and e.act = 'set_up_shop' and e.details ->> 'time_zone' <> e.details -> 'before' ->> 'time_zone')
                as is_steady
            from shops s where s.{shop}
        ), kept as (
            select d.shop_id, d.account_id, case when z.is_steady then d.day else 'infinity' end as day,
                sum(d.debit_minor) as debit, sum(d.credit_minor) as credit, sum(d.entries) as entries
            from ledger_account_days d join zones z on z.shop_id = d.shop_id where d.{shop} group by 1, 2, 3
        ), facts as (
            select e.shop_id, e.account_id,
                case when z.is_steady then (t.recorded_at at time zone z.time_zone)::date else 'infinity' end as day,
                coalesce(sum(e.amount_minor) filter (where e.amount_minor > 0), 0) as debit,
                coalesce(-sum(e.amount_minor) filter (where e.amount_minor < 0), 0) as credit, count(*) as entries
            from ledger_entries e join ledger_transactions t on t.shop_id = e.shop_id and t.id = e.transaction_id
            join zones z on z.shop_id = e.shop_id where e.{shop} group by 1, 2, 3
        )
        select shop_id, account_id, nullif(day, 'infinity') as day, k.debit as kept_debit, f.debit,
            k.credit as kept_credit, f.credit, k.entries as kept_entries, f.entries
        from kept k full join facts f using (shop_id, account_id, day)
        where (k.debit, k.credit, k.entries) is distinct from (f.debit, f.credit, f.entries)
        """,
    ),
    (
        "ledger_transaction_is_sealed",
        "every ledger transaction is sealed within two hours; a minute or two is usual",
        """
        select t.shop_id, t.id as transaction_id, t.key, t.recorded_at
        from ledger_transactions t
        where t.{shop} and t.recorded_at < %(now)s - interval '2 hours' and not exists (
            select from (
                select s.shop_id, ('x' || encode(substr(s.members, n * 40 + 1, 8), 'hex'))::bit(64)::int8 as id
                from ledger_seals s cross join generate_series(0, s.transactions - 1) as n where s.{shop}
            ) m where m.shop_id = t.shop_id and m.id = t.id)
        """,
    ),
)
