"""Pure: from what a person types to rules and assignments, with what is wrong of each field and how to put it right."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

from core.commissions.directory import KIND_WORDS, ROLE_KINDS, Directory, Party
from core.commissions.rules import MILLION, SELLER_KINDS, Assignment, Form, Kind, Role, Rule
from core.errors import BadInput
from core.money import CURRENCIES, exponent, to_minor

TEXT_MAX = 200
TIERS_MAX = 20
AMOUNT_MAX = Decimal(10) ** 12

RULE_FIELDS = (
    *("kind", "base", "seller", "payee", "connection", "category", "sku", "fee", "currency"),
    *("borne_by", "on_refund", "tax_basis", "tax_to", "valid_from", "valid_to"),
)
ASSIGNMENT_FIELDS = (*("role", "party", "connection", "category", "sku", "customer", "code", "valid_from", "valid_to"),)
LABELS: Mapping[str, str] = {
    "base": "taken of",
    "payee": "creator or referrer",
    "connection": "channel",
    "sku": "SKU",
    "borne_by": "borne by",
    "on_refund": "on refund",
    "tax_basis": "taxes",
    "tax_to": "taxes go to",
    "valid_from": "first day",
    "valid_to": "last day",
}
KINDS_TYPED: Mapping[str, Kind] = {
    "platform fee": "platform_fee",
    "creator commission": "creator_commission",
    "referrer fee": "referrer_fee",
    "channel fee": "channel_fee",
}
PAYEE_ROLES: Mapping[str, Role] = {"creator_commission": "creator", "referrer_fee": "referrer"}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one thing that was typed; `field` is empty for the whole."""

    field: str
    what: str


class BadRule(BadInput):
    """What was typed cannot be a rule or an assignment: of each field what is wrong, and how to put it right."""

    def __init__(self, problems: Iterable[Problem], where: str = "") -> None:
        self.problems = tuple(problems)
        said = "; ".join(f"{LABELS.get(one.field, one.field)}: {one.what}" if one.field else one.what
                         for one in self.problems)  # fmt: skip
        super().__init__(f"{where}: {said}" if where else said)


class _Wrong(Exception):
    """One field cannot be read: the sentence that is said of it."""


Value = TypeVar("Value")


@dataclass(slots=True)
class _Form:
    """What was typed, read field by field; problems are gathered so that all are said at once."""

    given: Mapping[str, str]
    names: Directory
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def of(cls, given: Mapping[str, object], fields: Collection[str], names: Directory) -> _Form:
        form = cls({name: str(value).strip() for name, value in given.items() if value is not None}, names)
        for name in sorted(form.given.keys() - set(fields)):
            form.problems.append(Problem("", f"there is no field “{name}”: the fields are {', '.join(fields)}"))
        for name, text in form.given.items():
            # A list of tiers may be long; names are not.
            if len(text) > TEXT_MAX * (5 if name == "fee" else 1) or not text.replace("\n", "").isprintable():
                form.problems.append(
                    Problem(name, f"longer than {TEXT_MAX} characters, or with some that cannot be printed")
                )
        return form

    def text(self, name: str) -> str | None:
        return self.given.get(name) or None

    def read(self, name: str, how: Callable[[str], Value]) -> Value | None:
        """A field that may be empty."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return how(text)
        except _Wrong as wrong:
            self.problems.append(Problem(name, str(wrong)))
            return None

    def wrong(self, name: str, what: str) -> None:
        self.problems.append(Problem(name, what))

    def choose(self, name: str, choices: Mapping[str, Value], default: str | None = None) -> Value | None:
        """One of some words; what they are stored as is understood too."""

        def how(text: str) -> Value:
            asked = text.lower().replace("_", " ")
            for word, value in choices.items():
                if asked in (word, str(value).replace("_", " ")):
                    return value
            raise _Wrong(f"“{text[:40]}” is not one of them: write {_or(choices)}")

        if self.text(name) is None:
            if default is None:
                self.wrong(name, f"is missing: write {_or(choices)}")
                return None
            return choices[default]
        return self.read(name, how)

    def refuse(self, where: str) -> None:
        if self.problems:
            raise BadRule(self.problems, where)

    # Names.

    def connection(self) -> int | None:
        known = {name: number for number, name in self.names.connections.items()}
        return self.read("connection", lambda text: _known(text, known, "channel", "leave it empty for every channel"))

    def category(self) -> str | None:
        known = {name: name for name in self.names.categories}
        return self.read("category", lambda text: _known(text, known, "category", "the catalogue's word, exactly"))

    def sku(self) -> int | None:
        known = {code: number for number, (code, _) in self.names.skus.items()}

        def how(text: str) -> int:
            if text not in known:
                raise _Wrong(_unknown(text, self.names.alike.get(text, ()), "SKU", "upper and lower case differ"))
            return known[text]

        return self.read("sku", how)

    def party(self, name: str, kinds: Collection[str], what: str) -> int | None:
        by_code = {party.code: party for party in self.names.parties.values()}

        def how(text: str) -> int:
            found: Party = _known(text, by_code, "party", "its code, as under Parties")
            if found.ended_at is not None:
                raise _Wrong(f"{found.name} has ended and takes part in nothing new: choose another one")
            if found.kind not in kinds:
                raise _Wrong(f"{found.name} is a {KIND_WORDS[found.kind]}, and {what} is {_a(kinds)}")
            return found.id

        return self.read(name, how)

    def goods(self) -> tuple[int | None, str | None, int | None]:
        """(channel, category, SKU)."""
        found = self.connection(), self.category(), self.sku()
        if self.text("category") and self.text("sku"):
            self.wrong("category", "it is for a category or for a SKU, not both: leave one empty")
        return found

    def validity(self) -> tuple[datetime | None, datetime | None]:
        """(from, before). A last day counts in full."""
        zone = ZoneInfo(self.names.zone)
        begins = self.read("valid_from", lambda text: _moment(text, zone, is_last=False))
        ends = self.read("valid_to", lambda text: _moment(text, zone, is_last=True))
        if begins is not None and ends is not None and begins >= ends:
            self.wrong("valid_to", "lies before the first day: write a later one, or nothing")
        return begins, ends


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _a(kinds: Iterable[str]) -> str:
    words = [KIND_WORDS[kind] for kind in kinds]
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {_or(words)}"


def _known(text: str, known: Mapping[str, Value], what: str, how: str) -> Value:
    if text in known:
        return known[text]
    folded = [name for name in known if name.lower() == text.lower()]
    raise _Wrong(_unknown(text, folded or get_close_matches(text, list(known), 3, 0.5) or sorted(known)[:5], what, how))


def _unknown(text: str, alike: Sequence[str], what: str, how: str) -> str:
    meant = f". Did you mean {_or(alike)}?" if alike else ""
    return f"there is no {what} “{text[:60]}” ({how}){meant}"


# --- rules and assignments --------------------------------------------------------------------------------------------


def read_rule(given: Mapping[str, object], names: Directory, where: str = "") -> Rule:
    """The rule that was typed, field by field of RULE_FIELDS; its id is 0. `names` has the SKU that it names.

    Raises BadRule with every problem; `where` names the place in it.
    """
    form = _Form.of(given, RULE_FIELDS, names)
    kind = form.choose("kind", KINDS_TYPED)
    base = form.choose("base", {"items": "item", "carriage": "shipping"}, "items")
    seller = form.party("seller", SELLER_KINDS, "who sells")
    payee = _payee(form, kind)
    connection, category, sku = form.goods()
    fee = form.read("fee", lambda text: _fee(text, form.text("currency")))
    if form.text("fee") is None:
        form.wrong("fee", f"is missing: write {FEE_HOW}")
    currency = form.read("currency", _currency) or (fee.currency if fee else None)
    borne_by = form.choose("borne_by", {"seller": "seller", "platform": "platform"}, "seller")
    if kind == "platform_fee" and borne_by == "platform":
        form.wrong("borne_by", "the platform's own fee is paid by the seller: write seller, or nothing")
    on_refund = form.choose("on_refund", {"returned": "returned", "kept": "kept"}, "returned")
    tax_basis = form.choose("tax_basis", {"without taxes": "net", "with taxes": "gross"}, "without taxes")
    tax_to = form.choose("tax_to", {"tax authority": "authority", "seller": "seller"}, "tax authority")
    is_of_platform = kind == "platform_fee" and base == "item"
    if form.text("tax_to") and not is_of_platform:
        form.wrong("tax_to", "is said by platform fees of items only, for all of a line: leave it empty")
    begins, ends = form.validity()
    form.refuse(where)
    values: dict[str, Any] = {"borne_by": borne_by, "on_refund": on_refund, "tax_basis": tax_basis}
    assert fee is not None
    return Rule(
        0,
        cast(Kind, kind),
        cast(Any, base),
        fee.form,
        seller,
        payee,
        connection,
        category,
        sku,
        rate_ppm=fee.rate_ppm,
        fixed_minor=fee.fixed_minor,
        tiers=fee.tiers,
        currency=currency,
        tax_to=cast(Any, tax_to) if is_of_platform else None,
        valid_from=begins,
        valid_to=ends,
        **values,
    )


def _payee(form: _Form, kind: str | None) -> int | None:
    role = PAYEE_ROLES.get(kind or "")
    if role is not None:
        return form.party("payee", ROLE_KINDS[role], f"who earns a {(kind or '').replace('_', ' ')}")
    if kind is not None and form.text("payee"):
        form.wrong("payee", "is for creator commissions and referrer fees only: leave it empty")
    return None


def read_assignment(given: Mapping[str, object], names: Directory, where: str = "") -> Assignment:
    """The assignment that was typed, field by field of ASSIGNMENT_FIELDS; its id is 0. Raises BadRule."""
    form = _Form.of(given, ASSIGNMENT_FIELDS, names)
    role = form.choose("role", {role: role for role in ROLE_KINDS})
    kinds = ROLE_KINDS[role] if role else tuple(KIND_WORDS)
    party = form.party("party", kinds, f"a {role}")
    if form.text("party") is None:
        form.wrong("party", "is missing: write the party's code")
    connection, category, sku = form.goods()
    begins, ends = form.validity()
    form.refuse(where)
    code = form.text("code")
    return Assignment(
        0,
        cast(Role, role),
        cast(int, party),
        connection,
        category,
        sku,
        form.text("customer"),
        code.upper() if code else None,
        begins,
        ends,
    )


# --- fees -------------------------------------------------------------------------------------------------------------

FEE_HOW = "12.5 %, or 0.30 GBP per unit, or tiers of a month's volume: 0: 12 %, 10000: 10 %, 50000: 8 %"


@dataclass(frozen=True, slots=True)
class _Fee:
    form: Form
    rate_ppm: int = 0
    fixed_minor: int = 0
    tiers: tuple[tuple[int, int], ...] = ()
    currency: str | None = None


_PERCENT = re.compile(r"(\S+)\s*%")
_FIXED = re.compile(r"([A-Za-z]{3})?\s*([-\d.,]+)\s*([A-Za-z]{3})?(\s+(per|for each|a|each)(\s+(unit|line))?)?")


def _fee(text: str, currency: str | None) -> _Fee:
    if ":" in text:
        return _tiers(text, currency)
    if found := _PERCENT.fullmatch(text):
        return _Fee("percentage", rate_ppm=_ppm(found[1]))
    found = _FIXED.fullmatch(text)
    if found is None:
        raise _Wrong(f"“{text[:40]}” is no fee: write {FEE_HOW}")
    said = (found[1] or found[3] or "").upper() or None
    its = _agreed(said, currency)
    if its is None:
        raise _Wrong(f"“{text[:40]}” could be percent or money: write {found[2]} % or {found[2]} GBP per unit")
    return _Fee("fixed", fixed_minor=_minor(found[2], its), currency=its)


def _agreed(said: str | None, asked: str | None) -> str | None:
    if said is not None:
        _currency(said)
        if asked is not None and asked.upper() != said:
            raise _Wrong(f"is in {said}, while the currency says {asked}: leave one of them out")
    # What is wrong with the currency's own field is said there.
    return said or (asked.upper() if asked and asked.upper() in CURRENCIES else None)


def _tiers(text: str, currency: str | None) -> _Fee:
    parts = [part for piece in re.split(r"%", text) if (part := piece.strip().lstrip(",;").strip())]
    said = {found.upper() for found in re.findall(r"[A-Za-z]{3}\b", text)}
    if len(said) > 1:
        raise _Wrong(f"tiers of one rule are in one currency: there are {_or(sorted(said))}")
    its = _agreed(next(iter(said), None), currency)
    if its is None:
        raise _Wrong("tiers are amounts of money: choose the currency, or write it: 0 GBP: 12 %, 10000 GBP: 10 %")
    if len(parts) > TIERS_MAX:
        raise _Wrong(f"{len(parts)} tiers are more than {TIERS_MAX}, the most there may be")
    tiers = []
    for part in parts:
        amount, colon, rate = part.partition(":")
        if not colon:
            raise _Wrong(f"“{part[:40]}” is no tier: write from which volume on which rate holds, such as 10000: 10 %")
        amount = re.sub(rf"(?i)\b{its}\b", "", amount).strip()
        tiers.append((_minor(amount, its), _ppm(rate.strip())))
    if tiers[0][0] != 0:
        raise _Wrong("the first tier begins at 0: write its rate first, such as 0: 12 %")
    for (low, _), (high, _) in pairwise(tiers):
        if high <= low:
            raise _Wrong("each tier begins above the one before: put them in order, each once")
    return _Fee("tiered", tiers=tuple(tiers), currency=its)


def _number(text: str, hint: str) -> Decimal:
    plain = text.replace("\N{MINUS SIGN}", "-").replace(" ", "")
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", plain):
        plain = plain.replace(",", "")
    try:
        # Decimal reads "1_0", "1e3" and "inf" too: nobody types those on purpose.
        return Decimal(plain) if re.fullmatch(r"[+-]?[\d.]+", plain) and plain.isascii() else Decimal(plain + "x")
    except InvalidOperation:
        raise _Wrong(f"“{text[:40]}” is not a number: write digits with a point, such as {hint}") from None


def _ppm(text: str) -> int:
    number = _number(text, "12.5 %")
    if not 0 <= number <= 100:
        raise _Wrong(f"{text} % is not from 0 to 100 %")
    ppm = number * MILLION / 100
    if ppm != int(ppm):
        raise _Wrong(f"{text} % is finer than four decimals: write {round(number, 4)} %")
    return int(ppm)


def _minor(text: str, currency: str) -> int:
    number = _number(text, f"0.30 {currency}")
    if not 0 <= number <= AMOUNT_MAX:
        raise _Wrong(f"{text} {currency} is below zero, or more than there is: write 0 or more")
    places = exponent(currency)
    if number != round(number, places):
        raise _Wrong(f"{text} is finer than {currency} has decimals: write {round(number, places)}")
    return to_minor(number, currency)


def _currency(text: str) -> str:
    code = text.upper()
    if code not in CURRENCIES:
        raise _Wrong(f"“{text[:10]}” is no currency: write its code, such as GBP or EUR")
    return code


# --- days -------------------------------------------------------------------------------------------------------------

_DAYS = ("%Y-%m-%d", "%d %b %Y", "%d %B %Y", "%d.%m.%Y", "%d/%m/%Y")
_MOMENTS = ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%d %b %Y %H:%M", "%d %b %Y, %H:%M")


def _moment(text: str, zone: ZoneInfo, *, is_last: bool) -> datetime:
    """The beginning of a day in the shop's zone; of a last day its end."""
    for form in (*_DAYS, *_MOMENTS):
        try:
            here = datetime.strptime(text, form).replace(tzinfo=zone)
        except ValueError:
            continue
        # By the calendar, not by 24 hours: a day on which clocks change has another length.
        return (here + timedelta(days=is_last and form in _DAYS)).astimezone(UTC)
    raise _Wrong(f"“{text[:40]}” is no day: write it as 2026-12-01 or 1 Dec 2026, with a time if it matters")
