"""Pure: rules and assignments as one sentence, and as one would type them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from core.commissions.directory import Directory
from core.commissions.rules import Assignment, Rule
from core.money import to_major

KIND_TYPED = {
    "platform_fee": "platform fee",
    "creator_commission": "creator commission",
    "referrer_fee": "referrer fee",
    "channel_fee": "channel fee",
}
BASE_TYPED = {"item": "items", "shipping": "carriage"}
TAX_TYPED = {"net": "without taxes", "gross": "with taxes"}


def say_rule(rule: Rule, names: Directory) -> str:
    """Brand shop Oak & Ash pays 12 % of items of category Lamps, kept on refund, from 1 Dec 2026."""
    # A channel's own fee names the channel as who keeps it.
    place = None if rule.kind == "channel_fee" else rule.connection_id
    said = [f"{_who(rule, names)} {_verb(rule)} {say_fee(rule)}{_goods(place, rule.category, rule.sku_id, names)}"]
    if rule.seller_id is not None and rule.kind != "platform_fee":
        said[0] += f" sold by {_plain(rule.seller_id, names)}"
    if rule.kind != "platform_fee":
        said.append(f"paid by the {rule.borne_by}")
    if rule.form == "percentage" and rule.currency is not None:
        said.append(f"in {rule.currency} only")
    if rule.tax_basis == "gross":
        said.append("taxes included")
    if rule.on_refund == "kept":
        said.append("kept on refund")
    if rule.tax_to == "seller":
        said.append("taxes go to the seller")
    return ", ".join([*said, *_validity(rule.valid_from, rule.valid_to, names.zone)])


def _who(rule: Rule, names: Directory) -> str:
    if rule.kind == "platform_fee":
        return "Every seller" if rule.seller_id is None else names.party(rule.seller_id)
    if rule.kind == "channel_fee":
        return "Every channel" if rule.connection_id is None else names.connection(rule.connection_id)
    if rule.payee_id is not None:
        return names.party(rule.payee_id)
    return "Every creator" if rule.kind == "creator_commission" else "Every referrer"


def _verb(rule: Rule) -> str:
    return {"platform_fee": "pays", "channel_fee": "keeps"}.get(rule.kind, "earns")


def _plain(party_id: int, names: Directory) -> str:
    found = names.parties.get(party_id)
    return f"party {party_id}" if found is None else found.name


def say_fee(rule: Rule) -> str:
    """12 % of items; 0.30 GBP for each unit; 12 % of items, from 10,000 GBP a month 10 %, from 50,000 GBP 8 %."""
    of_what = BASE_TYPED[rule.base]
    if rule.form == "fixed":
        each = "unit" if rule.base == "item" else "line's carriage"
        return f"{say_money(rule.fixed_minor, rule.currency or '')} for each {each}"
    if rule.form == "percentage":
        return f"{say_percent(rule.rate_ppm)} of {of_what}"
    steps = ", ".join(
        f"{say_percent(ppm)} from {say_money(begins, rule.currency or '')}" for begins, ppm in rule.tiers[1:]
    )
    first = f"{say_percent(rule.tiers[0][1])} of {of_what}"
    return f"{first} ({steps} a month)" if steps else first


def _goods(connection: int | None, category: str | None, sku: int | None, names: Directory) -> str:
    said = ""
    if category is not None:
        said += f" of category {category}"
    if sku is not None:
        said += f" of SKU {names.sku(sku)}"
    if connection is not None:
        said += f" on {names.connection(connection)}"
    return said


def say_assignment(one: Assignment, names: Directory) -> str:
    """Brand shop Oak & Ash sells category Lamps on Shopify; Creator Maya is behind orders with the code MAYA10."""
    goods = _goods(None, one.category, one.sku_id, names).removeprefix(" of ") or "everything"
    if one.role == "seller":
        said = f"{names.party(one.party_id)} sells {goods}"
    else:
        said = f"{names.party(one.party_id)} is the {one.role} of {goods}"
    if one.connection_id is not None:
        said += f" on {names.connection(one.connection_id)}"
    if one.order_code is not None:
        said += f" in orders with the code {one.order_code}"
    if one.customer_ref is not None:
        said += f" of buyer {one.customer_ref}"
    return ", ".join([said, *_validity(one.valid_from, one.valid_to, names.zone)])


def say_percent(ppm: int) -> str:
    """12 %, 12.5 %."""
    return f"{_short(Decimal(ppm) / 10_000)} %"


def say_money(minor: int, currency: str) -> str:
    """10,000 GBP; 0.30 GBP."""
    amount = to_major(minor, currency)
    return f"{amount:,.0f} {currency}" if amount == int(amount) else f"{amount:,f} {currency}"


def _short(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _validity(begins: datetime | None, ends: datetime | None, zone: str) -> list[str]:
    said = []
    if begins is not None:
        said.append(f"from {say_moment(begins, zone)}")
    if ends is not None:
        said.append(f"until {_last(ends, zone)}")
    return said


def say_moment(at: datetime, zone: str) -> str:
    """1 Dec 2026, with the time where it is not the day's beginning in the zone."""
    here = at.astimezone(ZoneInfo(zone))
    day = f"{here.day} {here:%b %Y}"
    return day if (here.hour, here.minute) == (0, 0) else f"{day} {here:%H:%M}"


def _last(at: datetime, zone: str) -> str:
    """The last day, where it counts in full; else the moment."""
    here = at.astimezone(ZoneInfo(zone))
    if (here.hour, here.minute) != (0, 0):
        return say_moment(at, zone)
    day = here.date() - timedelta(days=1)
    return f"{day.day} {day:%b %Y}"


# --- as one would type it ---------------------------------------------------------------------------------------------


def typed_rule(rule: Rule, names: Directory) -> dict[str, str]:
    """The fields of a rule as `core.commissions.typed.read_rule` reads them; empty ones are left out."""
    found = {
        "kind": KIND_TYPED[rule.kind],
        "base": BASE_TYPED[rule.base],
        "seller": _code(rule.seller_id, names),
        "payee": _code(rule.payee_id, names),
        **_typed_goods(rule, names),
        "fee": _typed_fee(rule),
        "currency": rule.currency,
        "borne_by": rule.borne_by,
        "on_refund": rule.on_refund,
        "tax_basis": TAX_TYPED[rule.tax_basis],
        "tax_to": {"authority": "tax authority", "seller": "seller"}.get(rule.tax_to or ""),
        **_typed_validity(rule.valid_from, rule.valid_to, names.zone),
    }
    return {name: text for name, text in found.items() if text}


def typed_assignment(one: Assignment, names: Directory) -> dict[str, str]:
    """The fields of an assignment as `core.commissions.typed.read_assignment` reads them."""
    found = {
        "role": one.role,
        "party": _code(one.party_id, names),
        **_typed_goods(one, names),
        "customer": one.customer_ref,
        "code": one.order_code,
        **_typed_validity(one.valid_from, one.valid_to, names.zone),
    }
    return {name: text for name, text in found.items() if text}


def _code(party_id: int | None, names: Directory) -> str | None:
    found = names.parties.get(party_id or 0)
    return None if found is None else found.code


def _typed_goods(one: Rule | Assignment, names: Directory) -> dict[str, str | None]:
    return {
        "connection": None if one.connection_id is None else names.connection(one.connection_id),
        "category": one.category,
        "sku": None if one.sku_id is None else names.sku(one.sku_id),
    }


def _typed_fee(rule: Rule) -> str:
    if rule.form == "percentage":
        return say_percent(rule.rate_ppm)
    if rule.form == "fixed":
        return f"{to_major(rule.fixed_minor, rule.currency or '')} {rule.currency} per unit"
    return _typed_tiers(rule.tiers, rule.currency or "")


def _typed_tiers(tiers: Sequence[tuple[int, int]], currency: str) -> str:
    return ", ".join(f"{_short(to_major(begins, currency))}: {say_percent(ppm)}" for begins, ppm in tiers)


def _typed_validity(begins: datetime | None, ends: datetime | None, zone: str) -> dict[str, str | None]:
    return {
        "valid_from": None if begins is None else say_moment(begins, zone),
        "valid_to": None if ends is None else _last(ends, zone),
    }
