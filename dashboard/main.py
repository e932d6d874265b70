"""The router: who is looking, at which shop, the navigation of their role, the page frame, and nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import (
    alert_queries,
    components,
    failure_queries,
    formats,
    mapping_queries,
    people,
    publication_queries,
    queries,
    reconciliation_queries,
    stops,
    theme,
)

log = logging.getLogger("dashboard")

BUDGET_MS = 100
SCREENS = Path(__file__).parent / "screens"


def pages_for(role: str) -> dict[str, list[st.Page]]:
    """Pages of a role by section; one that is not here cannot be reached by its address either."""
    overview = st.Page(
        SCREENS / "overview.py", title="Overview", icon=":material/dashboard:", url_path="overview", default=True
    )
    oversell = st.Page(
        SCREENS / "oversell.py", title="Oversell risk", icon=":material/trending_down:", url_path="oversell"
    )
    failures = st.Page(SCREENS / "failures.py", title="Failures", icon=":material/error:", url_path="failures")
    alerts = st.Page(SCREENS / "alerts.py", title="Alerts", icon=":material/notifications:", url_path="alerts")
    runs = st.Page(SCREENS / "runs.py", title="Runs", icon=":material/sync:", url_path="runs")
    reconciliation = st.Page(
        SCREENS / "reconciliation.py", title="Reconciliation", icon=":material/balance:", url_path="reconciliation"
    )
    schedules = st.Page(SCREENS / "schedules.py", title="Schedules", icon=":material/schedule:", url_path="schedules")
    reports = st.Page(SCREENS / "reports.py", title="Reports", icon=":material/bar_chart:", url_path="reports")
    skus = st.Page(SCREENS / "skus.py", title="SKUs", icon=":material/inventory_2:", url_path="skus")
    calls = st.Page(SCREENS / "calls.py", title="API calls", icon=":material/swap_horiz:", url_path="calls")
    connections = st.Page(
        SCREENS / "connections.py", title="Connections", icon=":material/cable:", url_path="connections"
    )
    mapping = st.Page(SCREENS / "mapping.py", title="Mapping", icon=":material/link:", url_path="mapping")
    jobs = st.Page(SCREENS / "jobs.py", title="Jobs", icon=":material/conveyor_belt:", url_path="jobs")
    desk = st.Page(SCREENS / "desk.py", title="Desk", icon=":material/warehouse:", url_path="desk")
    rules = st.Page(SCREENS / "rules.py", title="Channel rules", icon=":material/rule:", url_path="rules")
    commission_rules = st.Page(
        SCREENS / "commission_rules.py",
        title="Commission rules",
        icon=":material/percent:",
        url_path="commission-rules",
    )
    imports = st.Page(SCREENS / "imports.py", title="Import", icon=":material/upload_file:", url_path="import")
    products = st.Page(SCREENS / "products.py", title="Products", icon=":material/sell:", url_path="products")
    categories = st.Page(
        SCREENS / "categories.py", title="Categories", icon=":material/category:", url_path="categories"
    )
    setup = st.Page(SCREENS / "setup.py", title="Set-up", icon=":material/settings:", url_path="setup")
    orders = st.Page(SCREENS / "orders.py", title="Orders", icon=":material/receipt_long:", url_path="orders")
    commissions = st.Page(
        SCREENS / "commissions.py", title="Commissions", icon=":material/donut_small:", url_path="commissions"
    )
    sellers = st.Page(SCREENS / "sellers.py", title="Sellers", icon=":material/storefront:", url_path="sellers")
    ledger = st.Page(SCREENS / "ledger.py", title="Ledger", icon=":material/menu_book:", url_path="ledger")
    categories_mapping = st.Page(
        SCREENS / "categories_mapping.py",
        title="Category mapping",
        icon=":material/schema:",
        url_path="categories-mapping",
    )
    shopify = st.Page(SCREENS / "shopify.py", title="Shopify", icon=":material/shopping_bag:", url_path="shopify")
    klaviyo = st.Page(SCREENS / "klaviyo.py", title="Klaviyo", icon=":material/mail:", url_path="klaviyo")
    return {
        "Now": [overview, oversell, failures, alerts],
        "Sync": [connections, mapping, runs, reconciliation, schedules, jobs, calls],
        "Stock": [skus, desk, rules],
        "Orders": [orders],
        "Catalogue": [products, imports, categories, categories_mapping, shopify, klaviyo],
        "Money": [commissions, sellers, ledger, commission_rules],
        "Shop": [reports, setup],
    }


def viewer_of(person: people.Person, shops: list[dict[str, Any]]) -> people.Viewer | None:
    """This person at the shop that the address names, else at the first; None when there is no shop."""
    if not shops:
        return None
    wanted = st.query_params.get("shop")
    row = next((s for s in shops if str(s["shop_id"]) == wanted), shops[0])
    shop = people.Shop(row["shop_id"], row["name"], row["time_zone"], row["currency"])
    return people.Viewer(person, shop, has_other_shops=len(shops) > 1)


def draw_sidebar(sections: dict[str, list[st.Page]], shops: list[dict[str, Any]], viewer: people.Viewer | None) -> None:
    """The shop, and the pages by section."""
    with st.sidebar, st.container(gap=None, key="nav"):
        if viewer and viewer.has_other_shops:
            _pick_shop(shops, viewer.shop)
        for head, pages in sections.items():
            st.caption(head)
            for page in pages:
                st.page_link(
                    page, label=_label(page, viewer), width="stretch", query_params=viewer.where() if viewer else None
                )


# How much waits on a page, by its address: each counts for a shop and scope, and no further than BADGE_MAX + 1.
_WAITING: Mapping[str, Callable[[int, str], int]] = {
    "alerts": alert_queries.unowned,
    "failures": failure_queries.open_groups,
    "mapping": mapping_queries.waiting,
    "reconciliation": reconciliation_queries.waiting,
    "shopify": publication_queries.number_waiting,
}
_URGENT = frozenset({"failures"})


def _label(page: st.Page, viewer: people.Viewer | None) -> str:
    """A page's name, and beside it how much waits there, where something does."""
    if viewer is None or page.url_path not in _WAITING:
        return page.title
    try:
        waiting = _WAITING[page.url_path](viewer.shop.id, viewer.person.scope)
    except queries.Unreadable as error:
        # The page itself says that it cannot be read; the way to it stays.
        log.warning("how much waits on %s cannot be read: %s", page.url_path, error)
        return page.title
    most = mapping_queries.BADGE_MAX
    many = f"{most}+" if waiting > most else formats.count(waiting)
    colour = "red" if page.url_path in _URGENT else "orange"
    return f"{page.title} :{colour}-badge[{many}]" if waiting else page.title


def _pick_shop(shops: list[dict[str, Any]], shop: people.Shop) -> None:
    names = {s["shop_id"]: s["name"] for s in shops}

    def go() -> None:
        st.query_params.clear()
        st.query_params["shop"] = str(st.session_state["shop-picker"])

    st.selectbox(
        "Shop",
        list(names),
        index=list(names).index(shop.id),
        format_func=names.__getitem__,
        key="shop-picker",
        on_change=go,
    )


def draw_top(is_disabled: bool) -> None:
    """The search box: a code goes straight to its SKU, anything else to the list."""

    def find() -> None:
        st.session_state["wanted"] = st.session_state["find"].strip()
        st.session_state["find"] = ""

    with st.container(key="topbar", horizontal=True):
        st.text_input(
            "Find a SKU",
            type="search",
            key="find",
            placeholder="Find a SKU by code or barcode",
            icon=":material/search:",
            label_visibility="collapsed",
            width=380,
            on_change=find,
            disabled=is_disabled,
        )


def follow_search(page: st.Page, viewer: people.Viewer) -> None:
    """Go where the search box pointed."""
    wanted = st.session_state.pop("wanted", "")
    if not wanted:
        return
    codes = queries.find_sku(viewer.shop.id, wanted)
    where = {"sku": codes[0]} if len(codes) == 1 else {"q": wanted}
    st.switch_page(page, query_params=viewer.where(**where))


def welcome() -> None:
    """Nothing is set up yet: say what comes first."""
    components.title("Welcome to Switchyard")
    components.empty(
        "There is no shop yet",
        "Fill a demonstration with “switchyard seed”: this page shows it at once.",
    )


def draw(sections: dict[str, list[st.Page]], nav: st.Page) -> None:
    """The frame, then the screen; when the shops cannot be read, the frame and the reason."""
    person = people.operator()
    try:
        shops = queries.shops(person.scope)
    except queries.Unreadable as error:
        draw_sidebar(sections, [], None)
        draw_top(is_disabled=True)
        components.failed(error, "page")
        return
    viewer = viewer_of(person, shops)
    draw_sidebar(sections, shops, viewer)
    draw_top(is_disabled=viewer is None)
    said = components.say()
    if viewer is None:
        welcome()
        components.has_arrived(said)
        return
    people.look_at(viewer)
    stops.banner()
    with components.panel("search"):
        follow_search(sections["Stock"][0], viewer)
    nav.run()
    components.open_waiting_dialog()
    components.has_arrived(said)


def run() -> None:
    """One script run, timed."""
    began = time.perf_counter()
    st.set_page_config(page_title="Switchyard", page_icon=str(theme.STATIC / "fav.svg"), layout="wide")
    st.logo(str(theme.STATIC / "logo.svg"), size="medium")
    components.html(theme.style())
    sections = pages_for(people.operator().role)
    nav = st.navigation([page for pages in sections.values() for page in pages], position="hidden")
    try:
        draw(sections, nav)
    finally:
        spent = (time.perf_counter() - began) * 1000
        log.log(logging.WARNING if spent > BUDGET_MS else logging.INFO, "page %s took %.0f ms", nav.title, spent)


run()
