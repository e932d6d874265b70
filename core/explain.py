"""Why does a channel show this number? Each published number term by term, each term with the rows behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch
from core.errors import BadInput
from core.inventory import rules
from core.inventory.operations import skus_by_code
from core.inventory.rules import ListingRule
from core.policies import queries as policies
from core.policies.rules import Resolved


@dataclass(frozen=True, slots=True)
class Term:
    """One step of a sum: what it is, what it adds or takes, what that leaves; `rows` names where its rows are shown.

    `rows`: movements, promises, quarantine, rule:<id> of a channel rule, or part:<code> for another SKU's page; None
    when there are none.
    """

    name: str
    text: str
    units: int
    leaves: int
    rows: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One listing: from what is on hand to what it should show, and how that compares with what it shows."""

    listing_id: int
    connection_id: int
    connection: str
    location: str | None
    terms: Sequence[Term]
    should_show: int | None
    shows: int | None
    seen_at: datetime | None
    state: str
    afterwards: str
    rule: ListingRule

    @property
    def is_published(self) -> bool:
        """Whether we write this number at all."""
        return self.state != "off"


class NotListed(BadInput):
    """The channel asked for does not list this SKU."""

    def __init__(self, code: str, wanted: str, known: Sequence[str]) -> None:
        shown = f"it is listed on {', '.join(known)}" if known else "no channel lists it"
        super().__init__(f"{code} is not listed on a channel called {wanted}: {shown}")


def explain(conn: Connection, shop_id: int, code: str, channel: str | None = None) -> list[Explanation]:
    """Every listing of a SKU explained, or only those on the channel whose name contains `channel`, in any case.

    Read in one snapshot. Raises UnknownSku, NotListed.
    """
    sku_id, _ = skus_by_code(conn, shop_id, {code})[code]
    rows = _listings(conn, shop_id, sku_id)
    chosen = [row for row in rows if channel is None or channel.casefold() in row["connection"].casefold()]
    if channel is not None and not chosen:
        raise NotListed(code, channel, sorted({row["connection"] for row in rows}))
    return [
        _explain(row, _pool(conn, shop_id, row), policies.explain(conn, shop_id, row["listing_id"])) for row in chosen
    ]


def _listings(conn: Connection, shop_id: int, sku_id: int) -> Sequence[RowMapping]:
    return fetch(
        conn,
        """
        select v.listing_id, v.connection_id, v.connection, v.location, v.published_units, v.published_at, v.state,
            v.publishing_reason, v.push_problem, v.write_to, v.write_doubt, l.sku_id, l.location_id, l.desired_units,
            l.unseen_units, l.safety_stock_units, l.share_percent, l.buffer_units, l.floor_units, l.cap_units,
            l.priority, l.is_offered, l.mode, l.switch_units, s.is_bundle, exists(
                select from pool_takers t join stock_levels k on k.shop_id = t.shop_id and k.sku_id = t.sku_id
                    and k.location_id = t.location_id and k.is_escrow
                where t.shop_id = l.shop_id and t.listing_id = l.id) as is_escrow
        from sku_listings v
        join listings l on l.shop_id = v.shop_id and l.id = v.listing_id
        join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        where v.shop_id = %(shop)s and v.sku_id = %(sku)s order by v.connection, v.listing_id
        """,
        shop=shop_id,
        sku=sku_id,
    )


def _pool(conn: Connection, shop_id: int, row: RowMapping) -> list[Term]:
    """The terms from what is on hand to what is available where this listing is served from."""
    if row["location_id"] is None:
        return []
    if row["is_bundle"]:
        return _bundle_pool(conn, shop_id, row)
    found = fetch(
        conn,
        """
        select on_hand, reserved - promised as sold, promised, unavailable from stock_levels
        where shop_id = %(shop)s and sku_id = %(sku)s and location_id = %(location)s
        """,
        shop=shop_id,
        sku=row["sku_id"],
        location=row["location_id"],
    )
    if not found:
        return [Term("on_hand", f"nothing is known of it at {row['location']}", 0, 0)]
    level = found[0]
    steps = [
        ("on_hand", f"on hand at {row['location']}", level["on_hand"], "movements"),
        ("sold", "sold and not shipped", -level["sold"], "promises"),
        ("promised", "promised to checkouts and orders not yet placed", -level["promised"], "promises"),
        ("unavailable", "kept apart", -level["unavailable"], "quarantine"),
    ]
    return _running([step for step in steps if step[2] or step[0] == "on_hand"], 0)


def _bundle_pool(conn: Connection, shop_id: int, row: RowMapping) -> list[Term]:
    """What the scarcest part allows."""
    parts = fetch(
        conn,
        """
        select s.code, p.units, coalesce(k.available, 0) as available from bundle_parts p
        join skus s on s.shop_id = p.shop_id and s.id = p.part_sku_id
        left join stock_levels k on k.shop_id = p.shop_id and k.sku_id = p.part_sku_id
            and k.location_id = %(location)s
        where p.shop_id = %(shop)s and p.bundle_sku_id = %(sku)s
        order by floor(coalesce(k.available, 0)::numeric / p.units), s.code
        """,
        shop=shop_id,
        sku=row["sku_id"],
        location=row["location_id"],
    )
    scarcest = parts[0]
    units = rules.bundle_available([(scarcest["available"], scarcest["units"])])
    text = (
        f"as many as its scarcest part allows: {scarcest['available']} available of {scarcest['code']} at "
        f"{row['location']}, {scarcest['units']} in each"
    )
    return [Term("part", text, units, units, f"part:{scarcest['code']}")]


def _running(steps: Sequence[tuple[str, str, int, str | None]], begin: int) -> list[Term]:
    terms = []
    for name, text, units, where in steps:
        begin += units
        terms.append(Term(name, text, units, begin, where))
    return terms


def _explain(row: RowMapping, pool: Sequence[Term], resolved: Resolved | None) -> Explanation:
    """The rule is the one on the listing's own row: what its number was made with, and soon what the rules come to."""
    rule = ListingRule(**{name: row[name] for name in ListingRule.__dataclass_fields__})
    available = pool[-1].leaves if pool else 0
    offered = [
        (name, _RULE_WORDS[name](rule), units, _rule_of(name, rule, resolved))
        for name, units in rules.offer_terms(available, rule)
    ]
    if row["is_escrow"] and row["desired_units"] is not None:
        kept = row["desired_units"] - rules.offer(available, rule)
        offered += [
            ("escrow", "in escrow no unit is shown twice: the rest is for other channels, or sold unbooked", kept, None)
        ]
    return Explanation(
        listing_id=row["listing_id"],
        connection_id=row["connection_id"],
        connection=row["connection"],
        location=row["location"],
        terms=[*pool, *_running(offered, available)],
        should_show=row["desired_units"],
        shows=row["published_units"],
        seen_at=row["published_at"],
        state=row["state"],
        afterwards=_afterwards(row),
        rule=rule,
    )


_RULE_WORDS = {
    "none_left": lambda rule: "more is promised than there is: that shows as none",
    "safety_stock": lambda rule: f"safety stock of {rule.safety_stock_units}, never offered",
    "share": lambda rule: f"this channel's share is {rule.share_percent.normalize():f} %, rounded down",
    "buffer": lambda rule: f"buffer of {rule.buffer_units} held back from the share",
    "floor": lambda rule: f"at least {rule.floor_units}, as far as the pool goes",
    "cap": lambda rule: f"at most {rule.cap_units}",
    "off": lambda rule: "not offered on this channel",
}


_RULE_TERMS = {
    "safety_stock": "safety_stock_units",
    "share": "share_percent",
    "buffer": "buffer_units",
    "floor": "floor_units",
    "cap": "cap_units",
    "off": "is_offered",
}


def _rule_of(name: str, rule: ListingRule, resolved: Resolved | None) -> str | None:
    """The channel rule that a term is from; none where the rules have changed since and the listing follows soon."""
    field = _RULE_TERMS.get(name)
    if field is None or resolved is None or getattr(resolved.rule, field) != getattr(rule, field):
        return None
    source = resolved.sources[field]
    return None if source is None else f"rule:{source.id}"


def _afterwards(row: RowMapping) -> str:
    """What became of the number once it was worked out."""
    shows, wants, unseen = row["published_units"], row["desired_units"], row["unseen_units"]
    if row["state"] == "off":
        return f"It is not written: {row['publishing_reason']}."
    if row["write_doubt"]:
        return f"A write to {row['write_to']} has no known outcome: {row['write_doubt']}."
    if row["push_problem"]:
        return f"The channel refused it: {row['push_problem']}."
    if unseen:
        what = f"sold {-unseen}" if unseen < 0 else f"put {unseen} back"
        return f"The channel {what} by itself, and no order of ours explains it yet: nothing is written over that."
    if row["write_to"] is not None:
        return f"A write to {row['write_to']} is on its way."
    if shows is None:
        return "What the channel shows is not known yet."
    if row["state"] == "in_step":
        return "The channel shows it." if shows >= 0 else f"The channel shows {shows}: to a shopper that is none."
    return f"The channel shows {shows}; {wants} is written with the next push."
