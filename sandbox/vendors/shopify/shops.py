"""Shops, their one app each, and their locations."""

import secrets
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from sandbox.errors import NotFound, Refused
from sandbox.store import Row, Store
from sandbox.vendors.shopify.sdl import codes

# Points restored a second and bucket size for each plan.
PLANS = {"standard": (100, 2000), "advanced": (200, 4000), "plus": (1000, 20000), "enterprise": (2000, 40000)}


def open_shop(store: Store, domain: str, name: str, currency: str, timezone: str, plan: str) -> Row:
    """Opens the shop once; the same domain again returns the shop as it is, except that the plan may be changed."""
    if plan not in PLANS:
        raise Refused("unknown_plan", f"The plan {plan!r} is none of {', '.join(PLANS)}.")
    if timezone not in available_timezones():
        raise Refused("unknown_timezone", f"No timezone {timezone!r}.")
    if currency not in codes("CurrencyCode"):
        raise Refused("unknown_currency", f"No currency {currency!r}.")
    with store.transaction():
        found = store.one("select * from shops where domain = ?", (domain,))
        if found is not None:
            store.run("update shops set plan = ? where id = ?", (plan, found["id"]))
            return find_shop(store, domain)
        shop_id = store.next_id("shop")
        store.insert(
            "shops",
            id=shop_id,
            domain=domain,
            name=name,
            currency=currency,
            timezone=str(ZoneInfo(timezone)),
            plan=plan,
            client_id=secrets.token_hex(16),
            client_secret=f"shpss_{secrets.token_hex(16)}",
        )
        store.insert("locations", id=store.next_id("location"), shop_id=shop_id, name=f"{name} warehouse")
    return find_shop(store, domain)


def find_shop(store: Store, domain: str) -> Row:
    """Raises NotFound."""
    shop = store.one("select * from shops where domain = ?", (domain,))
    if shop is None:
        raise NotFound("shop", domain)
    return shop


def locations_of(store: Store, shop_id: int) -> list[Row]:
    return store.all("select * from locations where shop_id = ? and active order by id", (shop_id,))


def home_location(store: Store, shop_id: int) -> int:
    """Where stock opens and from which orders are served."""
    return int(store.value("select min(id) from locations where shop_id = ? and active", (shop_id,)))


def gid(kind: str, number: int) -> str:
    return f"gid://shopify/{kind}/{number}"


def number_of(gid_text: str, kind: str) -> int | None:
    """The number inside a GID of that kind, or None when it is something else."""
    prefix = f"gid://shopify/{kind}/"
    rest = gid_text.removeprefix(prefix)
    if rest == gid_text or not rest.isascii() or not rest.isdigit() or len(rest) > 19:
        return None
    number = int(rest)
    # SQLite integers end at 2**63 - 1; no id of ours is beyond.
    return number if number < 2**63 else None


def shop_body(shop: Row) -> dict[str, Any]:
    """The shop itself, as its owner's app is told of its end. Nobody lives here, so there are no addresses."""
    absent = (
        "address1",
        "address2",
        "city",
        "county_taxes",
        "customer_email",
        "email",
        "google_apps_domain",
        "google_apps_login_enabled",
        "latitude",
        "longitude",
        "phone",
        "province",
        "province_code",
        "shop_owner",
        "source",
        "tax_shipping",
        "taxes_included",
        "auto_configure_tax_inclusivity",
        "created_at",
        "updated_at",
        "zip",
        "password_enabled",
    )
    return {
        **dict.fromkeys(absent),
        "id": shop["id"],
        "name": shop["name"],
        "domain": shop["domain"],
        "myshopify_domain": shop["domain"],
        "country": "GB",
        "country_code": "GB",
        "country_name": "United Kingdom",
        "currency": shop["currency"],
        "enabled_presentment_currencies": [shop["currency"]],
        "iana_timezone": shop["timezone"],
        "timezone": shop["timezone"],
        "primary_locale": "en",
        "money_format": "{{amount}}",
        "money_in_emails_format": "{{amount}}",
        "money_with_currency_format": "{{amount}}",
        "money_with_currency_in_emails_format": "{{amount}}",
        "weight_unit": "kg",
        "plan_name": shop["plan"],
        "plan_display_name": shop["plan"].capitalize(),
        "primary_location_id": None,
        **dict.fromkeys(("has_storefront", "finances", "checkout_api_supported", "eligible_for_payments"), True),
        **dict.fromkeys(("has_discounts", "has_gift_cards", "multi_location_enabled", "setup_required"), False),
        "requires_extra_payments_agreement": False,
        "pre_launch_enabled": False,
        "marketing_sms_consent_enabled_at_checkout": False,
        "transactional_sms_disabled": False,
    }
