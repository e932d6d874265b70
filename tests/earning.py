"""Who earns what in tests: parties and rules of a small company, and what must hold of its money whatever happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from core.commissions import editing
from core.commissions.rules import Assignment, Rule
from core.db import fetch
from tests.factories import ACTOR, BASELINE, World


@dataclass(frozen=True)
class Company:
    """The parties' ids, by code."""

    parties: Mapping[str, int]

    def code(self, party_id: int) -> str:
        return next(code for code, number in self.parties.items() if number == party_id)


KINDS: Mapping[str, editing.PartyKind] = {
    "OAK": "brand_shop",
    "TEA": "affiliate_retailer",
    "SOC": "social_seller",
    "MAYA": "creator",
    "REF": "referrer",
}


def make_company(conn: Connection, world: World, *more: Rule, sellers: Mapping[str, str] | None = None) -> Company:
    """OAK sells MUG, TEA sells CUP (or as `sellers` says, by code of SKU); MAYA and REF are named by codes of orders.

    12 % of items and 5 % of carriage are the platform's, 10 % MAYA's, 2 % of the platform's share are REF's.
    """
    ids = {
        code: editing.add_party(conn, world.shop_id, kind, code, code.title(), ACTOR, BASELINE)
        for code, kind in KINDS.items()
    }
    rows = fetch(conn, "select code, id from skus where shop_id = %(s)s", s=world.shop_id)
    skus = {row["code"]: row["id"] for row in rows}
    sellers = {"MUG": "OAK", "CUP": "TEA"} if sellers is None else sellers
    editing.save(
        conn,
        world.shop_id,
        ACTOR,
        BASELINE,
        rules=[
            Rule(0, "platform_fee", "item", "percentage", rate_ppm=120_000),
            Rule(0, "platform_fee", "shipping", "percentage", rate_ppm=50_000),
            Rule(0, "creator_commission", "item", "percentage", rate_ppm=100_000),
            Rule(0, "referrer_fee", "item", "percentage", rate_ppm=20_000, borne_by="platform"),
            *more,
        ],
        assignments=[
            *(
                Assignment(0, "seller", ids[party], sku_id=skus[code])
                for code, party in sellers.items()
                if code in skus
            ),
            Assignment(0, "creator", ids["MAYA"], order_code="MAYA10"),
            Assignment(0, "referrer", ids["REF"], order_code="FRIEND"),
        ],
    )
    return Company(ids)


def balances(conn: Connection, shop_id: int) -> dict[tuple[str, int | None, str], int]:
    """What each account has, credits positive, by (kind, party, currency); summed afresh from entries."""
    rows = fetch(
        conn,
        """
        select k.kind, k.party_id, k.currency, -sum(e.amount_minor)::int8 as minor
        from ledger_entries e join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
        where e.shop_id = %(s)s group by 1, 2, 3 having sum(e.amount_minor) <> 0
        """,
        s=shop_id,
    )
    return {(row["kind"], row["party_id"], row["currency"]): row["minor"] for row in rows}


def unexplained(conn: Connection, shop_id: int) -> list[str]:
    """Everything about a shop's money that is not as it must be, in words; summed from the facts alone."""
    found = []
    for name, sql in _MUST_BE_EMPTY.items():
        found += [f"{name}: {dict(row)}" for row in fetch(conn, sql, s=shop_id)]
    return found


_PARTS = """
    select a.id, a.order_id, a.transaction_id, a.currency, a.terms_id, p.kind, p.party_id, p.minor
    from commission_accruals a left join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
    cross join lateral (values ('party', t.seller_id, a.seller_minor), ('party', t.creator_id, a.creator_minor),
        ('party', t.referrer_id, a.referrer_minor),
        (case when a.base = 'shipping' then 'shipping' else 'platform' end, null, a.platform_minor),
        ('channel_fees', null, a.channel_minor), ('tax', null, a.authority_minor),
        ('unassigned', null, a.unassigned_minor), ('channel_receivable', null, -a.net_minor - a.tax_minor))
        as p (kind, party_id, minor)
    where a.shop_id = %(s)s and p.minor <> 0
"""

_MUST_BE_EMPTY = {
    "a transaction is not balanced": """
        select transaction_id, currency, sum(amount_minor) from ledger_entries where shop_id = %(s)s
        group by 1, 2 having sum(amount_minor) <> 0
    """,
    "shares do not sum to an amount": """
        select id from commission_accruals where shop_id = %(s)s and net_minor + tax_minor <> seller_minor
            + platform_minor + creator_minor + referrer_minor + channel_minor + authority_minor + unassigned_minor
    """,
    "a transaction is not what its lines came to": f"""
        select * from (
            select transaction_id, kind, party_id, currency, sum(minor) as minor from ({_PARTS}) parts
            where transaction_id is not null group by 1, 2, 3, 4 having sum(minor) <> 0
        ) a full join (
            select e.transaction_id, case when k.party_id is null then k.kind else 'party' end as kind, k.party_id,
                e.currency, -sum(e.amount_minor) as minor
            from ledger_entries e join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
            join ledger_transactions x on x.shop_id = e.shop_id and x.id = e.transaction_id
            where e.shop_id = %(s)s and x.kind not in ('release', 'adjustment', 'payout')
            group by 1, 2, 3, 4 having sum(e.amount_minor) <> 0
        ) l on l.transaction_id = a.transaction_id and l.kind = a.kind and l.currency = a.currency
            and l.party_id is not distinct from a.party_id
        where a.minor is distinct from l.minor
    """,
    "what moved between no accounts is something": f"""
        select order_id, kind, party_id, sum(minor) from ({_PARTS}) parts where transaction_id is null
        group by 1, 2, 3 having sum(minor) <> 0
    """,
    "what is held is not what open windows explain": f"""
        select * from (
            select p.party_id, p.currency, sum(p.minor) as minor from ({_PARTS}) p
            join commission_terms t on t.shop_id = %(s)s and t.id = p.terms_id
            join commission_windows w on w.shop_id = %(s)s and w.order_id = p.order_id and w.days = t.window_days
                and w.released_at is null
            where p.kind = 'party' and p.party_id is not null group by 1, 2 having sum(p.minor) <> 0
        ) a full join (
            select k.party_id, k.currency, -sum(e.amount_minor) as minor
            from ledger_entries e join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
            where e.shop_id = %(s)s and k.kind = 'refund_reserve' group by 1, 2 having sum(e.amount_minor) <> 0
        ) l using (party_id, currency) where a.minor is distinct from l.minor
    """,
    "a day of an account is not the sum of its entries": """
        select * from (
            select account_id, sum(debit_minor - credit_minor) as minor, sum(entries) as entries
            from ledger_account_days where shop_id = %(s)s group by 1
        ) d full join (
            select account_id, sum(amount_minor) as minor, count(*) as entries from ledger_entries
            where shop_id = %(s)s group by 1
        ) e using (account_id) where (d.minor, d.entries) is distinct from (e.minor, e.entries)
    """,
    "a day of commissions is not the sum of its lines": """
        select * from (
            select cause, base, currency, sum(seller_minor) as seller, sum(net_minor + tax_minor) as minor,
                sum(accruals) as accruals
            from commission_days where shop_id = %(s)s group by 1, 2, 3
        ) d full join (
            select cause, base, currency, sum(seller_minor) as seller, sum(net_minor + tax_minor) as minor,
                count(*) as accruals
            from commission_accruals where shop_id = %(s)s group by 1, 2, 3
        ) a using (cause, base, currency)
        where (d.seller, d.minor, d.accruals) is distinct from (a.seller, a.minor, a.accruals)
    """,
}
