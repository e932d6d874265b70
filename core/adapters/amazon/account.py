"""Whose account it is, where it sells, and what the app's roles allow there.

Amazon tells no roles: each thing that is needed is asked for once, with something that changes nothing. What is refused
to a token that was just given is a role that is missing (`core.adapters.amazon.roles`).

Source: models/sellers-api-model (v1) of github.com/amzn/selling-partner-api-models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from core.adapters.amazon.client import API_VERSION, SellingPartner
from core.adapters.amazon.marketplaces import MARKETPLACES
from core.adapters.amazon.models import OrEmpty, Part
from core.adapters.amazon.roles import FULFILMENT, GRANT_STEP, LISTING, ORDERS, RoleMissing
from core.adapters.http import Refused, ServerFault
from core.ports import ChannelAccount, ChannelMarket

_NOBODYS_ORDER = "000-0000000-0000000"
"""No order has this number: that it is not found shows that orders may be asked for."""

_NOT_THE_SELLER = (
    ". Where the seller takes part was answered: this seller ID is not the one that authorised the app, or the role is"
    " missing"
)
_CHECK_THE_SELLER = (
    "compare the seller ID with the merchant token of Seller Central, Settings, Account Info; only where they are the"
    " same, "
)


class _Marketplace(Part):
    id: str
    name: str = ""
    default_currency_code: str = ""
    domain_name: str = ""


class _Participation(Part):
    is_participating: bool = False
    has_suspended_listings: bool = False


class _Taken(Part):
    marketplace: _Marketplace
    participation: _Participation
    store_name: str = ""


class _Answer(Part):
    payload: Annotated[tuple[_Taken, ...], OrEmpty] = ()


@dataclass(frozen=True, slots=True)
class _Look:
    """Something harmless to ask for, to see whether a role allows it."""

    role: str
    why: str
    operation: str
    at: Mapping[str, str]
    params: Mapping[str, str]
    is_needed: bool = True


def about(partner: SellingPartner, seller: str, marketplace: str) -> ChannelAccount:
    """The seller's own answer. Raises what core.adapters.amazon.client.SellingPartner.run raises.

    A missing role is part of the answer, unless nothing at all is allowed: then the credentials are of elsewhere.
    """
    lacking: dict[str, _Look] = {}
    refusal: RoleMissing | None = None
    taken: tuple[_Taken, ...] = ()
    looks = _looks(seller, marketplace)
    try:
        taken = _participations(partner)
    except RoleMissing as error:
        refusal = error
    for look in looks:
        try:
            partner.run(look.operation, look.at, look.params, asks_whether=True)
        except RoleMissing as error:
            lacking[look.operation] = look
            refusal = refusal or error
        except Refused:
            # It was read and found wanting: it may be asked.
            continue
    if refusal is not None and not taken and len(lacking) == len(looks):
        raise refusal
    here = next((each for each in taken if each.marketplace.id == marketplace), None)
    missing = {look.role: f"{look.why} ({look.operation})" for look in lacking.values() if look.is_needed}
    needed = {name for name, look in lacking.items() if look.is_needed}
    is_of_another = bool(taken) and needed == {"searchListingsItems"}
    if is_of_another:
        # The participations are of whoever authorised the app, and need the same role.
        missing[LISTING] += _NOT_THE_SELLER
    if refusal is not None and refusal.operation == "getMarketplaceParticipations":
        missing.setdefault(LISTING, "to see where the seller takes part (getMarketplaceParticipations)")
    return ChannelAccount(
        ref=seller,
        name=(here.store_name if here else "") or seller,
        currency=(here.marketplace.default_currency_code if here else "") or None,
        time_zone=None,
        plan=None,
        granted=frozenset(look.role for look in looks if look.operation not in lacking),
        missing=missing,
        advised={look.role: look.why for look in lacking.values() if not look.is_needed and look.role not in missing},
        api_version=API_VERSION,
        supported_until=None,
        right="role",
        grant_step=_CHECK_THE_SELLER + GRANT_STEP if is_of_another else GRANT_STEP,
        market_ref=marketplace,
        markets=tuple(_market(each) for each in taken),
        sells_in=_sells_in(taken),
    )


def sells_in(partner: SellingPartner) -> tuple[str, ...]:
    """The marketplaces in which the seller takes part now. Raises what SellingPartner.run raises."""
    return _sells_in(_participations(partner))


def _sells_in(taken: tuple[_Taken, ...]) -> tuple[str, ...]:
    """Where buyers order. What Amazon lists besides, of sales that it only ships and for tests, has no such address."""
    return tuple(
        each.marketplace.id
        for each in taken
        if each.participation.is_participating
        and (each.marketplace.id in MARKETPLACES or each.marketplace.domain_name.startswith("www.amazon."))
    )


def _participations(partner: SellingPartner) -> tuple[_Taken, ...]:
    # Asked rarely, and whoever asks waits for it: nothing is to be left for others.
    answer = _Answer.read(partner.run("getMarketplaceParticipations", urgency="urgent"))
    if answer is None:
        raise ServerFault("getMarketplaceParticipations", "an answer that cannot be read")
    taken: tuple[_Taken, ...] = answer.payload
    return taken


def _looks(seller: str, marketplace: str) -> tuple[_Look, ...]:
    here = {"marketplaceIds": marketplace}
    everywhere = {"details": "true", "granularityType": "Marketplace", "granularityId": marketplace, **here}
    return (
        _Look(LISTING, "to read what is listed and to set what it shows", "searchListingsItems", {"seller": seller},
              {**here, "includedData": "summaries", "pageSize": "1"}),
        _Look(ORDERS, "to know what it sold", "getOrder", {"order": _NOBODYS_ORDER}, {}),
        _Look(FULFILMENT, "to see what lies in Amazon's warehouses", "getInventorySummaries", {}, everywhere, False),
    )  # fmt: skip


def _market(taken: _Taken) -> ChannelMarket:
    place, part = taken.marketplace, taken.participation
    name, currency = place.name or place.id, place.default_currency_code
    return ChannelMarket(place.id, name, currency, part.is_participating, part.has_suspended_listings)
