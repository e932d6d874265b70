"""Where sellers sell: the vendor's marketplaces, and which of them a seller takes part in.

Sources: developer-docs.amazon.com/amazon-shipping/docs/marketplace-ids and /sp-api/docs/sp-api-endpoints.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.errors import Refused
from sandbox.store import Row


@dataclass(frozen=True)
class Marketplace:
    """`region` names the host that serves it: na, eu or fe."""

    region: str
    name: str
    country: str
    currency: str
    language: str
    domain: str

    @property
    def fba_channel(self) -> str:
        """The code of the stock that Amazon ships there from."""
        return "AMAZON_JP" if self.country == "JP" else f"AMAZON_{'NA' if self.region == 'na' else 'EU'}"


def _named(region: str, country: str, currency: str, language: str, ending: str) -> Marketplace:
    return Marketplace(region, f"Amazon.{ending}", country, currency, language, f"www.amazon.{ending}")


MARKETPLACES = {
    "ATVPDKIKX0DER": _named("na", "US", "USD", "en_US", "com"),
    "A2EUQ1WTGCTBG2": _named("na", "CA", "CAD", "en_CA", "ca"),
    "A1AM78C64UM0Y8": _named("na", "MX", "MXN", "es_MX", "com.mx"),
    "A2Q3Y263D00KWC": _named("na", "BR", "BRL", "pt_BR", "com.br"),
    "A1F83G8C2ARO7P": _named("eu", "GB", "GBP", "en_GB", "co.uk"),
    "A1PA6795UKMFR9": _named("eu", "DE", "EUR", "de_DE", "de"),
    "A13V1IB3VIYZZH": _named("eu", "FR", "EUR", "fr_FR", "fr"),
    "A1RKKUPIHCS9HS": _named("eu", "ES", "EUR", "es_ES", "es"),
    "APJ6JRA9NG5V4": _named("eu", "IT", "EUR", "it_IT", "it"),
    "A1805IZSGTT6HS": _named("eu", "NL", "EUR", "nl_NL", "nl"),
    "AMEN7PMS3EDWL": _named("eu", "BE", "EUR", "fr_BE", "com.be"),
    "A28R8C7NBKEWEA": _named("eu", "IE", "EUR", "en_IE", "ie"),
    "A2NODRKZP88ZB9": _named("eu", "SE", "SEK", "sv_SE", "se"),
    "A1C3SOZRARQ6R3": _named("eu", "PL", "PLN", "pl_PL", "pl"),
    "A33AVAJ2PDY3EV": _named("eu", "TR", "TRY", "tr_TR", "com.tr"),
    "A2VIGQ35RCS4UG": _named("eu", "AE", "AED", "en_AE", "ae"),
    "A17E79C6D8DWNP": _named("eu", "SA", "SAR", "ar_AE", "sa"),
    "ARBP9OOSHTCHU": _named("eu", "EG", "EGP", "ar_AE", "eg"),
    "AE08WJ6YKNBMC": _named("eu", "ZA", "ZAR", "en_ZA", "co.za"),
    "A21TJRUUN4KGV": _named("eu", "IN", "INR", "en_IN", "in"),
    "A1VC38T7YXB528": _named("fe", "JP", "JPY", "ja_JP", "co.jp"),
    "A39IBJ37TRP1C6": _named("fe", "AU", "AUD", "en_AU", "com.au"),
    "A19VAU5U5O7RUS": _named("fe", "SG", "SGD", "en_SG", "sg"),
}


def check(marketplace_ids: list[str]) -> None:
    """Raises Refused for one that does not exist, and for marketplaces of more than one region: each region is an
    account of its own."""
    for marketplace_id in marketplace_ids:
        if marketplace_id not in MARKETPLACES:
            raise Refused(
                "unknown_marketplace", f"The marketplace {marketplace_id!r} is none of {', '.join(MARKETPLACES)}."
            )
    if len({MARKETPLACES[marketplace_id].region for marketplace_id in marketplace_ids}) > 1:
        raise Refused("several_regions", "The marketplaces of a seller are all in one region.")


def of_seller(seller: Row) -> list[str]:
    """Every marketplace a seller takes part in, the one of his listings first."""
    further: list[str] = orjson.loads(seller["further_marketplaces"])
    return [seller["marketplace_id"], *further]


def participation(seller: Row, marketplace_id: str) -> dict[str, Any]:
    """An entry of getMarketplaceParticipations."""
    found = MARKETPLACES[marketplace_id]
    return {
        "marketplace": {
            "id": marketplace_id,
            "name": found.name,
            "countryCode": found.country,
            "defaultCurrencyCode": found.currency,
            "defaultLanguageCode": found.language,
            "domainName": found.domain,
        },
        "participation": {"isParticipating": True, "hasSuspendedListings": False},
        "storeName": seller["name"],
    }
