"""Names compared: words, and which entry of a taxonomy a category is most like. On real trees where those are there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from core.catalog.taxonomies.files import read_taxonomy
from core.catalog.taxonomies.rules import Entry, Index, suggest, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Accessories", "accessory"),
        ("Men's T-Shirts & Tops", "man tshirt top"),
        ("Women’s Shoes", "woman shoe"),
        ("Watches and Boxes", "watch box"),
        ("Glass, Canvas & Lens", "glass canvas lens"),
        ("Children's Dresses", "child dress"),
        ("Café-Möbel", "cafe mobel"),
        ("TVs", "television"),
        ("Jewellery", "jewelry"),
        ("Blu-ray", "blu ray"),
        ("Gloves & Shelves", "glove shelf"),
        ("The & of", ""),
        ("帽子 > Hats", "帽子 hat"),
    ],
)
def test_names_are_compared_without_case_accents_small_words_and_plurals(name: str, words: str) -> None:
    assert " ".join(words_of(name)) == words


def entries(*paths: str) -> list[Entry]:
    return [Entry(str(number), path) for number, path in enumerate(paths, 1)]


def test_the_same_name_comes_first_and_its_place_decides_between_two() -> None:
    index = Index(entries("Pets > Toys", "Baby > Toys", "Toys & Games", "Pets > Toys > Cat Toys"))
    found = index.suggest("Pet Supplies > Toys")
    assert [each.path for each in found[:2]] == ["Pets > Toys", "Baby > Toys"]
    assert found[0].why[0] == "the same name"
    assert "both are about “pet”" in found[0].why
    assert found[0].score > found[1].score


def test_of_two_in_as_good_a_place_none_is_sure() -> None:
    found = suggest("Toys", entries("Pets > Toys", "Baby > Toys"))
    assert {each.score for each in found} <= set(range(70))


def test_a_thing_is_not_its_accessories() -> None:
    found = suggest(
        "Coffee Makers", entries("Kitchen > Coffee Maker Accessories", "Kitchen > Espresso & Coffee Makers")
    )
    assert found[0].path == "Kitchen > Espresso & Coffee Makers"


def test_what_shares_no_word_is_not_suggested() -> None:
    assert suggest("Tango", entries("Music", "Dance")) == []
    assert suggest("Tango", []) == []
    assert suggest("&", entries("Music")) == []


# --- on real trees ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def google(shared_dir: Path) -> Index:
    """Google's own taxonomy, as it is published."""
    path = shared_dir / "data" / "catalog" / "google_product_taxonomy.en-US.txt.gz"
    with path.open("rb") as data:
        text = read_taxonomy("google", path.name, data)
    assert (text.version, len(text.entries)) == ("2021-09-21", 5_595)
    return Index(text.entries)


@pytest.fixture(scope="module")
def shop_paths(shared_dir: Path) -> list[str]:
    """The categories of a large shop."""
    path = shared_dir / "data" / "catalog" / "bestbuy_categories.json.gz"
    found = json.loads(gzip.decompress(path.read_bytes()))
    named = {tuple(step["name"] or "" for step in each["path"]) for each in found}
    return sorted(" > ".join(names) for names in named if all(names))


JUDGED = {
    "Appliances > Ranges, Cooktops & Ovens > Cooktops": "Kitchen Appliances > Cooktops",
    "Appliances > Small Kitchen Appliances > Coffee, Tea & Espresso > Espresso Machines": (
        "Coffee Makers & Espresso Machines > Espresso Machines"
    ),
    "Appliances > Washers & Dryers > Washing Machines": "Laundry Appliances > Washing Machines",
    "Audio > Headphones": "Headphones & Headsets > Headphones",
    "Cameras & Camcorders > Binoculars, Telescopes & Optics > Telescopes": "Scopes > Telescopes",
    "Cameras & Camcorders > Digital Camera Accessories > Tripods & Monopods": "Tripods & Monopods",
    "Car Electronics & GPS > GPS Navigation & Accessories > GPS Accessories": "Electronics > GPS Accessories",
    "Cell Phones > Cell Phone Accessories > SIM Cards": "Mobile Phone Pre-Paid Cards & SIM Cards > SIM Cards",
    "Computers & Tablets > Laptops": "Electronics > Computers > Laptops",
    "Computers & Tablets > Networking & Wireless > Routers > Wireless Routers": "Bridges & Routers > Wireless Routers",
    "Computers & Tablets > Software > Operating Systems": "Computer Software > Operating Systems",
    "Connected Home & Housewares > Furniture & Decor > Clocks": "Home & Garden > Decor > Clocks",
    "Connected Home & Housewares > Office & School Supplies > Pens, Pencils & Markers > Pencils": (
        "Pens & Pencils > Pencils"
    ),
    "Connected Home & Housewares > Household Essentials > Cleaning Products": "Household Cleaning Products",
    "Health, Fitness & Beauty > Personal Care & Beauty > Skin Care": "Cosmetics > Skin Care",
    "Musical Instruments > Drums & Percussion > Electronic Drums > Electronic Drum Sets": (
        "Percussion > Electronic Drums"
    ),
    "Appliances > Appliance Parts & Accessories > Range Hood Parts & Accessories": "Range Hood Accessories",
    "Appliances > Small Kitchen Appliances > Specialty Appliances > Ice Cream & Yogurt Makers": "Ice Cream Makers",
    "Name Brands > LG > LG TV & Home Theater > LG TVs > LG 4K Ultra HD TVs": "Electronics > Video > Televisions",
    "Appliances > Vacuum Cleaners & Floor Care > Handheld & Stick Vacuums": "Household Appliances > Vacuums",
    "Connected Home & Housewares > Office Furniture & Storage > Keyboard Trays": "Keyboard Trays & Platforms",
    "Name Brands > Bose > Bose Speakers > Bose iPod & MP3 Speakers": "Audio Components > Speakers",
}
"""What a person who looked at both trees would choose: how the path of the entry ends."""
LEFT_TO_A_PERSON = (
    "Geek Squad > Computer & Tablet Services > Geek Squad Protect & Support Plus Welcome",
    "Name Brands > HP > Printer Supplies > Toner",
    "Movies & Music > Music (CDs & Vinyl) > Rock > Experimental Rock",
    "Customer Service > Help > Mobile > Deposit ATT",
)
"""What names alone must not decide."""


def test_a_person_would_choose_the_same(google: Index) -> None:
    best = {path: google.suggest(path, 1) for path in JUDGED}
    missed = {path: best[path] for path, wanted in JUDGED.items() if not best[path][0].path.endswith(wanted)}
    assert missed == {}


def test_what_names_cannot_tell_is_not_sure(google: Index) -> None:
    sure = {path: found for path in LEFT_TO_A_PERSON if (found := google.suggest(path)) and found[0].score >= 80}
    assert sure == {}


def test_wherever_the_very_name_is_there_it_comes_first(google: Index, shop_paths: list[str]) -> None:
    names = {frozenset(words_of(entry.name)) for entry in google.entries}
    same = [path for path in shop_paths if frozenset(words_of(path.rpartition(" > ")[2])) in names]
    assert len(same) > 300, "the two trees have names in common"
    for path in same:
        best = google.suggest(path)[0]
        assert set(words_of(best.path.rpartition(" > ")[2])) == set(words_of(path.rpartition(" > ")[2])), path
