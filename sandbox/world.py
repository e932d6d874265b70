"""The seeded first day: one shop, one seller and about a hundred invented products."""

import random
from typing import Any

from sandbox.store import Store
from sandbox.vendors.amazon import marketplaces
from sandbox.vendors.amazon.listings import Listings, open_seller
from sandbox.vendors.amazon.sqs_queues import describe_queue
from sandbox.vendors.klaviyo.accounts import every_account, open_account
from sandbox.vendors.shopify.catalogue import Sample, shelve
from sandbox.vendors.shopify.shops import gid, locations_of, open_shop

DEMO_SHOP = "demo.myshopify.com"
DEMO_SELLER = "A2DEMO7GOODS1"
DEMO_ACCOUNT = "Demo Goods"
LISTED_ON_AMAZON = 90
# GS1 prefix 200 to 299 is for use inside a company, so none of these can be somebody's real article.
BARCODE_PREFIX = "290"

# Per range of goods: code, maker, price span in pence and the things themselves.
RANGES: dict[str, tuple[str, str, tuple[int, int], tuple[str, ...]]] = {
    "Kitchen": (
        "KIT",
        "Larkfield",
        (350, 4200),
        (
            "Enamel Mug",
            "Oak Chopping Board",
            "Linen Tea Towel",
            "Stoneware Bowl",
            "Copper Whisk",
            "Glass Storage Jar",
            "Cast Iron Skillet",
            "Olive Wood Spoon",
            "Butter Dish",
            "Loaf Tin",
            "Pepper Mill",
            "Measuring Jug",
        ),
    ),
    "Garden": (
        "GAR",
        "Thistle & Fern",
        (280, 3900),
        (
            "Terracotta Pot",
            "Hand Trowel",
            "Seed Tin",
            "Watering Can",
            "Bird Feeder",
            "Garden Twine",
            "Pruning Shears",
            "Bamboo Canes",
            "Potting Scoop",
            "Wire Basket",
            "Rain Gauge",
            "Kneeling Pad",
        ),
    ),
    "Stationery": (
        "STA",
        "Inkwell Lane",
        (120, 2400),
        (
            "Dotted Notebook",
            "Brass Ruler",
            "Fountain Pen",
            "Wax Seal Kit",
            "Desk Calendar",
            "Kraft Envelopes",
            "Letter Opener",
            "Pencil Roll",
            "Index Cards",
            "Ink Bottle",
            "Cork Board",
            "Washi Tape",
        ),
    ),
    "Home": (
        "HOM",
        "Harbour Row",
        (450, 8900),
        (
            "Wool Throw",
            "Soy Candle",
            "Rattan Tray",
            "Linen Cushion",
            "Door Stop",
            "Wall Hook",
            "Storage Basket",
            "Table Lamp",
            "Photo Frame",
            "Door Mat",
            "Glass Vase",
            "Mantel Clock",
        ),
    ),
    "Play": (
        "PLA",
        "Merry Badger",
        (220, 3600),
        (
            "Wooden Train",
            "Alphabet Blocks",
            "Paper Kite",
            "Skipping Rope",
            "Jigsaw Puzzle",
            "Spinning Top",
            "Finger Puppets",
            "Marble Run",
            "Tin Robot",
            "Card Game",
            "Plush Otter",
            "Stacking Rings",
        ),
    ),
}
FINISHES = (("Moss", "MOS"), ("Slate", "SLA"))


def barcode(number: int) -> str:
    """A GTIN-13: weights 1 and 3 in turn, the last digit brings the sum to a multiple of ten."""
    digits = f"{BARCODE_PREFIX}{number:09d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def samples(seed: int) -> list[Sample]:
    """The demo catalogue: the same seed gives the same goods, prices and opening stock."""
    chance = random.Random(f"world-{seed}")
    found: list[Sample] = []
    for product_type, (code, vendor, span, things) in RANGES.items():
        for index, thing in enumerate(things, 1):
            pence = chance.randint(*span) // 5 * 5
            for finish, short in FINISHES:
                found.append(
                    Sample(
                        title=f"{thing}, {finish}",
                        sku=f"{code}-{index:02d}-{short}",
                        price=f"{pence // 100}.{pence % 100:02d}",
                        barcode=barcode(100_000 + len(found)),
                        tracked=True,
                        policy="DENY",
                        available=_stock(chance),
                        vendor=vendor,
                        product_type=product_type,
                    )
                )
    return found


def _stock(chance: random.Random) -> int:
    """Most goods are plentiful, one in six is scarce, a few are sold out."""
    roll = chance.random()
    if roll < 0.03:
        return 0
    return chance.randint(1, 6) if roll < 0.2 else chance.randint(20, 300)


def found_world(store: Store, listings: Listings, seed: int) -> None:
    """Fills an empty store once; in a store that has a world only the account at Klaviyo is opened if it lacks."""
    open_account(store, DEMO_ACCOUNT)
    if store.meta("founded"):
        return
    with store.transaction():
        shop = open_shop(store, DEMO_SHOP, "Demo Goods", "GBP", "Europe/London", "standard")
        goods = samples(seed)
        shelve(store, shop, goods)
        seller = open_seller(store, DEMO_SELLER, "Demo Goods", "A1F83G8C2ARO7P")
        chosen = random.Random(f"listed-{seed}").sample(goods, LISTED_ON_AMAZON)
        listings.add(
            seller,
            [
                {
                    "sku": good.sku,
                    "title": good.title,
                    "quantity": good.available,
                    "price": good.price,
                    "barcodes": [{"type": "ean", "value": good.barcode}],
                }
                for good in sorted(chosen, key=lambda good: good.sku)
            ],
        )
        store.set_meta("founded", "yes")


def described(store: Store, clock_factor: float) -> dict[str, Any]:
    """Everything a test needs to talk to the world, secrets included."""
    shops = [describe_shop(store, row["domain"]) for row in store.all("select domain from shops order by id")]
    sellers = [
        describe_seller(store, row["seller_id"])
        for row in store.all("select seller_id from sellers order by seller_id")
    ]
    return {"clock_factor": clock_factor, "shops": shops, "sellers": sellers, "klaviyo": every_account(store)}


def describe_shop(store: Store, domain: str) -> dict[str, Any]:
    row = store.one("select * from shops where domain = ?", (domain,))
    assert row is not None
    names = ("domain", "name", "client_id", "client_secret", "currency", "timezone", "plan")
    places = [{"id": gid("Location", place["id"]), "name": place["name"]} for place in locations_of(store, row["id"])]
    return {**{name: row[name] for name in names}, "locations": places}


def describe_seller(store: Store, seller_id: str) -> dict[str, Any]:
    row = store.one("select * from sellers where seller_id = ?", (seller_id,))
    assert row is not None
    names = ("seller_id", "name", "client_id", "client_secret", "refresh_token")
    return {
        **{name: row[name] for name in names},
        "marketplace_ids": marketplaces.of_seller(row),
        "queue": describe_queue(store, row),
    }
