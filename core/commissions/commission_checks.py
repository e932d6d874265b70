"""What must hold of what lines come to, and of the ledger that it is posted to; part of `core.invariants.CHECKS`, in
the form of core.inventory.exposure_checks."""

from __future__ import annotations

_SHARES = ("seller", "platform", "creator", "referrer", "channel", "authority", "unassigned")
_KEPT = ", ".join(f"sum({name}_minor) as {name}" for name in ("net", "tax", *_SHARES))
_BY = ("connection_id", "category", "seller_id", "creator_id", "referrer_id")

_POSTED = ("receivable", "platform", "shipping", "fees", "tax", "unassigned", "parties", "weighed")

_CAUSES = "('sale', 'edit', 'refund', 'cancellation', 'chargeback', 'chargeback_won', 'mapping', 'return')"

# Days and months are counted in the zone that a shop had at the time: where it was changed, only sums over all days can
# be compared.
STEADY_ZONES = """
    select s.shop_id, s.time_zone, not exists (select from audit_entries e where e.shop_id = s.shop_id
        and e.act = 'set_up_shop' and e.details ->> 'time_zone' <> e.details -> 'before' ->> 'time_zone') as is_steady
    from shops s where s.{shop}
"""


def _by(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in _BY)


def _of_facts() -> str:
    return ", ".join(f"{'a' if name == 'connection_id' else 't'}.{name}" for name in _BY)


def _keyed() -> str:
    """What days are summed by, in a form that joins: null is a value there."""
    keys = (f"coalesce({name}, {chr(39) * 2 if name == 'category' else 0}) as {name}" for name in _BY)
    return (
        f"shop_id, coalesce(day, 'infinity') as day, {', '.join(keys)}, currency, base, cause, accruals, "
        + ", ".join(("net", "tax", *_SHARES))
    )


def _values(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in ("net", "tax", *_SHARES, "accruals"))


COMMISSION_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "accrual_is_shared_out_whole",
        "the shares of everything that a line came to sum to it, taxes included",
        f"""
        select shop_id, id as accrual_id, order_id, order_line_id, net_minor, tax_minor from commission_accruals
        where {{shop}} and net_minor + tax_minor <> {" + ".join(f"{name}_minor" for name in _SHARES)}
        """,
    ),
    (
        "order_line_is_accrued",
        "what every line came to is booked, since the shop's first was; test orders come to nothing",
        """
        select l.shop_id, l.id as order_line_id, l.order_id, l.total_minor
        from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        join (select shop_id, min(recorded_at) as since from commission_accruals where {shop} group by 1) f
            on f.shop_id = l.shop_id
        where l.{shop} and not o.is_test and o.recorded_at >= f.since
            and not exists (select from commission_accruals a where a.shop_id = l.shop_id and a.order_id = l.order_id
                and a.order_line_id = l.id)
        """,
    ),
    (
        "accruals_are_what_is_posted",
        "a ledger transaction of an order moves what its lines came to: each kind of account, and each party",
        # Parties are told apart by sums that are weighed by their ids: one row for each transaction is enough.
        f"""
        with expected as (
            select a.shop_id, a.transaction_id, a.currency, sum(a.net_minor + a.tax_minor) as receivable,
                sum(-a.platform_minor) filter (where a.base <> 'shipping') as platform,
                sum(-a.platform_minor) filter (where a.base = 'shipping') as shipping, sum(-a.channel_minor) as fees,
                sum(-a.authority_minor) as tax, sum(-a.unassigned_minor) as unassigned,
                sum(-a.seller_minor - a.creator_minor - a.referrer_minor) as parties,
                sum(-a.seller_minor::numeric * coalesce(t.seller_id, 0)
                    - a.creator_minor::numeric * coalesce(t.creator_id, 0)
                    - a.referrer_minor::numeric * coalesce(t.referrer_id, 0)) as weighed
            from commission_accruals a left join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
            where a.{{shop}} and a.transaction_id is not null group by 1, 2, 3
        ), posted as (
            select e.shop_id, e.transaction_id, e.currency,
                sum(e.amount_minor) filter (where k.kind = 'channel_receivable') as receivable,
                sum(e.amount_minor) filter (where k.kind = 'platform') as platform,
                sum(e.amount_minor) filter (where k.kind = 'shipping') as shipping,
                sum(e.amount_minor) filter (where k.kind = 'channel_fees') as fees,
                sum(e.amount_minor) filter (where k.kind = 'tax') as tax,
                sum(e.amount_minor) filter (where k.kind = 'unassigned') as unassigned,
                sum(e.amount_minor) filter (where k.party_id is not null) as parties,
                sum(e.amount_minor::numeric * coalesce(k.party_id, 0)) as weighed
            from ledger_transactions t
            join ledger_entries e on e.shop_id = t.shop_id and e.transaction_id = t.id
            join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
            where t.{{shop}} and t.kind in {_CAUSES} group by 1, 2, 3
        )
        select shop_id, transaction_id, (select t.key from ledger_transactions t
                where t.shop_id = u.shop_id and t.id = u.transaction_id) as key,
            currency, x.receivable as accrued, p.receivable as posted,
            x.parties as parties_accrued, p.parties as parties_posted
        from expected x full join posted p using (shop_id, transaction_id, currency) as u
        where ({", ".join(f"coalesce(x.{name}, 0)" for name in _POSTED)})
            <> ({", ".join(f"coalesce(p.{name}, 0)" for name in _POSTED)})
        """,
    ),
    (
        "commission_days_are_sums_of_accruals",
        "what is kept of each day is the sum of what lines came to on it",
        f"""
        with zones as ({STEADY_ZONES}), kept as (
            select d.shop_id, case when z.is_steady then d.day end as day, {_by("d")}, d.currency, d.base, d.cause,
                {_KEPT}, sum(d.accruals) as accruals
            from commission_days d join zones z on z.shop_id = d.shop_id where d.{{shop}}
            group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        ), facts as (
            select a.shop_id, case when z.is_steady then (a.event_at at time zone z.time_zone)::date end as day,
                {_of_facts()}, a.currency, a.base, a.cause, {_KEPT}, count(*) as accruals
            from commission_accruals a join zones z on z.shop_id = a.shop_id
            left join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
            where a.{{shop}} group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        )
        select shop_id, nullif(day, 'infinity') as day, nullif(connection_id, 0) as connection_id, currency, base,
            cause, k.net as kept_net, f.net, k.accruals as kept_accruals, f.accruals
        from (select {_keyed()} from kept) k full join (select {_keyed()} from facts) f
            using (shop_id, day, {", ".join(_BY)}, currency, base, cause)
        where ({_values("k")}) is distinct from ({_values("f")})
        """,
    ),
    (
        "held_is_explained_by_open_windows",
        "what is held of a party is its share of lines that the buyer may still return",
        """
        select shop_id, party_id, currency, b.held_minor, w.held_minor as explained_minor
        from (
            select k.shop_id, k.party_id, k.currency, -sum(e.amount_minor) as held_minor
            from ledger_accounts k
            join ledger_entries e on e.shop_id = k.shop_id and e.account_id = k.id
            where k.{shop} and k.kind = 'refund_reserve' group by 1, 2, 3
        ) b full join (
            select w.shop_id, p.party_id, a.currency, sum(p.minor) as held_minor
            from commission_windows w
            join commission_accruals a on a.shop_id = w.shop_id and a.order_id = w.order_id
            join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id and t.window_days = w.days
            cross join lateral (values (t.seller_id, a.seller_minor), (t.creator_id, a.creator_minor),
                (t.referrer_id, a.referrer_minor)) as p (party_id, minor)
            where w.{shop} and w.released_at is null and p.party_id is not null group by 1, 2, 3
        ) w using (shop_id, party_id, currency)
        where coalesce(b.held_minor, 0) <> coalesce(w.held_minor, 0)
        """,
    ),
    (
        "volume_is_sum_of_its_lines",
        "a month's volume, by which tiered rules go, is what lines were sold for under them",
        # Of a line that was added or mapped after refunds its fact tells what was left of it: then it is at least that.
        f"""
        with zones as ({STEADY_ZONES}), lines as (
            select a.shop_id, r.kind, a.base, case n.place when 1 then coalesce(t.seller_id, 0) when 2 then t.creator_id
                    when 3 then t.referrer_id else 0 end as party_id, a.currency,
                case when z.is_steady then date_trunc('month', o.placed_at at time zone z.time_zone)::date
                    else 'infinity' end as month,
                sum(greatest(0, a.net_minor + case r.tax_basis when 'gross' then a.tax_minor else 0 end))
                    filter (where a.cause = 'sale') as sold,
                count(*) filter (where a.cause <> 'sale') as others
            from commission_accruals a
            join zones z on z.shop_id = a.shop_id
            join orders o on o.shop_id = a.shop_id and o.id = a.order_id
            join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
            cross join lateral unnest(case a.base when 'item' then t.item_rules else t.shipping_rules end)
                with ordinality as n (rule_id, place)
            join commission_rules r on r.shop_id = a.shop_id and r.id = n.rule_id and r.form = 'tiered'
            where a.{{shop}} and a.volumes_minor is not null group by 1, 2, 3, 4, 5, 6
        ), volumes as (
            select v.shop_id, v.kind, v.base, v.party_id, v.currency,
                case when z.is_steady then v.month else 'infinity' end as month, sum(v.volume_minor) as volume_minor
            from commission_volumes v join zones z on z.shop_id = v.shop_id where v.{{shop}}
            group by 1, 2, 3, 4, 5, 6
        )
        select shop_id, kind, base, party_id, currency, nullif(month, 'infinity') as month, v.volume_minor, l.sold
        from volumes v full join lines l using (shop_id, kind, base, party_id, currency, month)
        where case when l.others > 0 then coalesce(v.volume_minor, 0) < coalesce(l.sold, 0)
            else coalesce(v.volume_minor, 0) <> coalesce(l.sold, 0) end
        """,
    ),
)
