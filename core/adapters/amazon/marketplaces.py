"""Amazon's regions and marketplaces: where each is spoken to, and in which currency it sells.

The table is where one begins: what a seller takes part in, and in which currency, the seller's account answers
(`getMarketplaceParticipations`), and that decides.

Sources: developer-docs.amazon.com/sp-api/docs/sp-api-endpoints, .../amazon-shipping/docs/marketplace-ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.errors import BadInput


@dataclass(frozen=True, slots=True)
class Region:
    """One of the three installations of the Selling Partner API. Tokens, sellers and stock are a region's own."""

    code: str
    name: str
    host: str
    aws_region: str
    """Where a queue for its notifications is best kept."""
    selling: str
    """Where sellers sign in."""

    @property
    def base_url(self) -> str:
        return f"https://{self.host}"

    @property
    def test_url(self) -> str:
        """Its sandbox: the same host with a word in front."""
        return f"https://sandbox.{self.host}"


@dataclass(frozen=True, slots=True)
class Marketplace:
    """Where buyers look: one country's shop."""

    ref: str
    country: str
    region: str
    currency: str

    @property
    def aws_region(self) -> str:
        """Where a queue for its notifications is best kept."""
        return REGIONS[self.region].aws_region

    def address(self, given: str | None = None) -> str:
        """Where it is spoken to: `given`, or its region's. Raises BadInput where that is another region of Amazon's."""
        region = REGIONS[self.region]
        if not given:
            return region.base_url
        other = region_at(given)
        if other is not None and other != region:
            raise BadInput(
                f"{given} is {other.name}, and {self.ref} is in {region.name}: leave the address out, or give"
                f" {region.base_url}"
            )
        return given.rstrip("/")


REGIONS: Mapping[str, Region] = {
    region.code: region
    for region in (
        Region("na", "North America", "sellingpartnerapi-na.amazon.com", "us-east-1", "sellercentral.amazon.com"),
        Region("eu", "Europe", "sellingpartnerapi-eu.amazon.com", "eu-west-1", "sellercentral-europe.amazon.com"),
        Region("fe", "Far East", "sellingpartnerapi-fe.amazon.com", "us-west-2", "sellercentral.amazon.co.jp"),
    )
}

MARKETPLACES: Mapping[str, Marketplace] = {
    ref: Marketplace(ref, country, region, currency)
    for ref, country, region, currency in (
        ("ATVPDKIKX0DER", "US", "na", "USD"),
        ("A2EUQ1WTGCTBG2", "CA", "na", "CAD"),
        ("A1AM78C64UM0Y8", "MX", "na", "MXN"),
        ("A2Q3Y263D00KWC", "BR", "na", "BRL"),
        ("A1F83G8C2ARO7P", "GB", "eu", "GBP"),
        ("A1PA6795UKMFR9", "DE", "eu", "EUR"),
        ("A13V1IB3VIYZZH", "FR", "eu", "EUR"),
        ("A1RKKUPIHCS9HS", "ES", "eu", "EUR"),
        ("APJ6JRA9NG5V4", "IT", "eu", "EUR"),
        ("A1805IZSGTT6HS", "NL", "eu", "EUR"),
        ("AMEN7PMS3EDWL", "BE", "eu", "EUR"),
        ("A28R8C7NBKEWEA", "IE", "eu", "EUR"),
        ("A2NODRKZP88ZB9", "SE", "eu", "SEK"),
        ("A1C3SOZRARQ6R3", "PL", "eu", "PLN"),
        ("A33AVAJ2PDY3EV", "TR", "eu", "TRY"),
        ("A17E79C6D8DWNP", "SA", "eu", "SAR"),
        ("A2VIGQ35RCS4UG", "AE", "eu", "AED"),
        ("ARBP9OOSHTCHU", "EG", "eu", "EGP"),
        ("AE08WJ6YKNBMC", "ZA", "eu", "ZAR"),
        ("A21TJRUUN4KGV", "IN", "eu", "INR"),
        ("A1VC38T7YXB528", "JP", "fe", "JPY"),
        ("A39IBJ37TRP1C6", "AU", "fe", "AUD"),
        ("A19VAU5U5O7RUS", "SG", "fe", "SGD"),
    )
}

_OTHER_NAMES = {"UK": "GB"}
_ID_LENGTH_MIN = 12


class UnknownMarketplace(BadInput):
    """What was said names no marketplace that we know."""

    def __init__(self, said: str) -> None:
        countries = ", ".join(sorted({place.country for place in MARKETPLACES.values()}))
        super().__init__(
            f"{said or 'nothing'} is no marketplace of Amazon's that we know: give its id, such as A1F83G8C2ARO7P, or"
            f" its country, one of {countries}; of a marketplace that is new give the id, and --region"
        )


def find(said: str, region: str | None = None) -> Marketplace:
    """The marketplace of an id or a country, however it is written; an id that is not known needs its `region`.

    Raises UnknownMarketplace, or BadInput for one that is in another region.
    """
    cleaned = said.strip().upper()
    country = _OTHER_NAMES.get(cleaned, cleaned)
    place = next((each for each in MARKETPLACES.values() if cleaned == each.ref or country == each.country), None)
    if place is None and region in REGIONS and len(cleaned) >= _ID_LENGTH_MIN and cleaned.isalnum():
        return Marketplace(cleaned, "", str(region), "")
    if place is None:
        raise UnknownMarketplace(said.strip())
    if region not in (None, place.region):
        raise BadInput(
            f"{place.ref} ({place.country}) is in the region {place.region}, not {region}: leave --region out"
        )
    return place


def region_at(base_url: str) -> Region | None:
    """The region that an address speaks for; None for one that is not Amazon's own, such as a sandbox's."""
    host = (urlsplit(base_url).hostname or "").removeprefix("sandbox.")
    return next((region for region in REGIONS.values() if region.host == host), None)
