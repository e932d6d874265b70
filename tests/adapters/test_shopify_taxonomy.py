"""Shopify's own categories: the whole tree, against canned replies and against the fake Shopify."""

from __future__ import annotations

from typing import Any

import pytest

from core.adapters.base import Deps
from core.adapters.http import ServerFault
from core.adapters.registry import make_taxonomy
from core.ports import TaxonomySource
from tests.adapters.accounts import Account, amazon_account, shopify_account
from tests.adapters.canned_amazon import CannedSeller
from tests.adapters.canned_shopify import CannedShop, connection


def source(account: Account) -> TaxonomySource | None:
    return make_taxonomy(account.config, Deps(account.log.append, None, account.network, account._now, account._sleep))


def told(account: Account) -> list[tuple[str, str]]:
    found = source(account)
    assert found is not None
    return [each for page in found.categories() for each in page]


class Categories(CannedShop):
    """Two trees, told three at a time; one is archived."""

    def on_TaxonomyTop(self, v: dict[str, Any]) -> Any:
        nodes = [self.node("a", "Clothes"), self.node("b", "House"), self.node("c", "Books", is_leaf=True)]
        return {"taxonomy": {"categories": connection(nodes, 2, v["after"])}}

    def on_TaxonomyBelow(self, v: dict[str, Any]) -> Any:
        handle = v["id"].rpartition("/")[2]
        name = {"a": "Clothes", "b": "House"}[handle]
        nodes = [self.node(f"{handle}-{n}", f"{name} > Kind {n}", is_leaf=True, is_gone=n == 2) for n in range(1, 6)]
        return {"taxonomy": {"categories": connection(nodes, 3, v["after"])}}

    @staticmethod
    def node(handle: str, name: str, is_leaf: bool = False, is_gone: bool = False) -> dict[str, Any]:
        gid = f"gid://shopify/TaxonomyCategory/{handle}"
        return {"id": gid, "fullName": name, "isArchived": is_gone, "isLeaf": is_leaf}


def test_every_page_of_every_tree_is_read_and_what_is_archived_left_out() -> None:
    account = shopify_account(Categories())
    found = told(account)
    assert [path for _, path in found] == [
        "Clothes", "House", "Books",
        *[f"{name} > Kind {n}" for name in ("Clothes", "House") for n in (1, 3, 4, 5)],
    ]  # fmt: skip
    assert found[3][0] == "gid://shopify/TaxonomyCategory/a-1"
    # A token, two pages of the top, two of each tree that has something below it.
    assert [call.operation for call in account.log].count("taxonomy") == 6


def test_an_answer_that_cannot_be_read_is_no_tree() -> None:
    class Broken(Categories):
        def on_TaxonomyTop(self, v: dict[str, Any]) -> Any:
            return {"taxonomy": {"categories": connection([{"id": None}], 2, None)}}

    class Silent(Categories):
        def on_TaxonomyTop(self, v: dict[str, Any]) -> Any:
            return {"taxonomy": None}

    for canned in (Broken(), Silent()):
        with pytest.raises(ServerFault):
            told(shopify_account(canned))


def test_amazon_has_none_to_tell() -> None:
    canned: Any = CannedSeller()
    assert source(amazon_account(canned)) is None


@pytest.mark.parametrize("shop", ["sandbox"], indirect=True)
def test_the_fake_shopify_tells_a_whole_tree(shop: Account) -> None:
    found = told(shop)
    paths = {path for _, path in found}
    assert "Home & Living > Kitchen > Mugs & Cups" in paths
    assert "Retired" not in paths
    assert all(" > " not in path or path.rpartition(" > ")[0] in paths for path in paths)
    assert len({ref for ref, _ in found}) == len(found) > 40
