"""The product taxonomy: a small tree of the sandbox's own making, in the vendor's form."""

# graphql-core calls a method with the vendor's own names.
# ruff: noqa: N803

import base64
from functools import lru_cache
from typing import Any

from graphql import GraphQLResolveInfo

from sandbox.vendors.shopify.connections import bad_request, page_size

Category = dict[str, Any]

_TREE = """
ap Clothing & Accessories
 Clothing
  Shirts & Tops
   Blouses
   T-Shirts
  Trousers
  Dresses
  Coats & Jackets
 Shoes
  Boots
  Sandals
 Bags
 Jewellery
hl Home & Living
 Kitchen
  Mugs & Cups
  Teapots
  Coffee Makers
  Coffee Maker Accessories
  Baking Tins
 Decoration
  Candles
  Vases
  Picture Frames
  Clocks
 Lighting
  Lamps
  Fairy Lights
 Garden
  Plant Pots
  Watering Cans
pt Paper & Toys
 Stationery
  Notebooks
  Greeting Cards
  Gift Wrap
  Pencils
 Toys
  Puzzles
  Dolls
  Board Games
 Craft Supplies
  Paint
  Yarn
fd Food & Drink
 Tea
 Coffee
 Sweets
xx Retired
"""
_ARCHIVED = "xx"


@lru_cache(maxsize=1)
def categories() -> tuple[Category, ...]:
    """Every category, each below its parent."""
    found: list[Category] = []
    above: list[Category] = []
    for line in _TREE.strip().splitlines():
        name = line.strip()
        level = len(line) - len(line.lstrip())
        above = above[:level]
        if level == 0:
            handle, _, name = name.partition(" ")
        else:
            handle = f"{above[-1]['handle']}-{len(above[-1]['childrenIds']) + 1}"
        category: Category = {
            "handle": handle,
            "id": f"gid://shopify/TaxonomyCategory/{handle}",
            "name": name,
            "fullName": " > ".join([*(each["name"] for each in above), name]),
            "level": level + 1,
            "isRoot": level == 0,
            "isArchived": handle == _ARCHIVED,
            "parentId": above[-1]["id"] if above else None,
            "ancestorIds": [each["id"] for each in reversed(above)],
            "childrenIds": [],
        }
        if above:
            above[-1]["childrenIds"].append(category["id"])
        found.append(category)
        above.append(category)
    return tuple({**each, "isLeaf": not each["childrenIds"]} for each in found)


def category_of(category_id: str | None) -> Category | None:
    """The category of an id, if there is one."""
    return next((each for each in categories() if each["id"] == category_id), None)


class Taxonomy:
    """The value of the query's field `taxonomy`."""

    def categories(
        self,
        info: GraphQLResolveInfo,
        search: str | None = None,
        childrenOf: str | None = None,
        descendantsOf: str | None = None,
        siblingsOf: str | None = None,
        **page: Any,
    ) -> dict[str, Any]:
        """Without arguments the top; else those that are found, or stand below or beside the one that is named."""
        known = {each["id"]: each for each in categories()}
        for named in (childrenOf, descendantsOf, siblingsOf):
            if named is not None and named not in known:
                raise bad_request("Invalid id")
        if search is not None:
            wanted = search.casefold()
            found = [each for each in known.values() if wanted in each["fullName"].casefold()]
        elif childrenOf is not None:
            found = [each for each in known.values() if each["parentId"] == childrenOf]
        elif descendantsOf is not None:
            found = [each for each in known.values() if descendantsOf in each["ancestorIds"]]
        elif siblingsOf is not None:
            one = known[siblingsOf]
            found = [each for each in known.values() if each["parentId"] == one["parentId"] and each is not one]
        else:
            found = [each for each in known.values() if each["isRoot"]]
        return _page(found, page)


def _page(found: list[Category], arguments: dict[str, Any]) -> dict[str, Any]:
    """One page, as every connection has it; a cursor is the place in the list."""
    size = page_size(arguments)
    start, end = _place(arguments.get("after"), -1) + 1, _place(arguments.get("before"), len(found))
    if arguments.get("last") is not None:
        start = max(start, end - size)
    else:
        end = min(end, start + size)
    shown = [(base64.b64encode(str(place).encode()).decode(), found[place]) for place in range(start, max(start, end))]
    return {
        "nodes": [each for _, each in shown],
        "edges": [{"cursor": cursor, "node": each} for cursor, each in shown],
        "pageInfo": {
            "hasNextPage": end < len(found),
            "hasPreviousPage": start > 0,
            "startCursor": shown[0][0] if shown else None,
            "endCursor": shown[-1][0] if shown else None,
        },
    }


def _place(cursor: str | None, default: int) -> int:
    if cursor is None:
        return default
    try:
        return int(base64.b64decode(cursor, validate=True))
    except ValueError:
        raise bad_request("Invalid cursor for current pagination sort.") from None
