"""The Channel rules screen in a browser: every look of it, and from a wish to what channels show, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, create_engine

from core import bootstrap, embedded
from core.adapters.rq import queue_named
from core.clock import utc_now
from core.db import execute, fetch, unit_of_work
from core.policies import operations as policies
from core.policies import queries
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from tests import factories
from tests.dashboard import browsing, seed
from tests.factories import ACTOR, World, make_channel_listing, make_connection, set_row, take_in
from workers.jobs import policies as jobs

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

GOODS = {
    "Candles": ("SOY-1", "SOY-2", "WAX-9"),
    "Kitchen": ("MUG-1", "BOWL-3", "JUG-7"),
    "Stationery": ("PEN-2", "INK-5"),
}


def shop_with_goods(engine: Engine) -> tuple[World, int]:
    """Two channels with eight SKUs of three categories; returns the world of the first, and the second connection."""
    stock = {code: 10 + 15 * number for number, code in enumerate(sorted(c for codes in GOODS.values() for c in codes))}
    with unit_of_work(engine) as conn:
        world = factories.make_world(conn, stock)
        amazon = make_connection(conn, world.shop_id, name="Amazon", vendor="amazon", is_sku_source=False)
        set_row(conn, "connections", world.connection.id, name="Shopify")
        take_in(conn, amazon, [make_channel_listing(code, units) for code, units in stock.items()])
        execute(
            conn,
            """
            update listings l set publishing = 'on', desired_units = s.desired_units from listings s
            where l.connection_id = %(amazon)s and s.connection_id = %(shopify)s and s.sku_id = l.sku_id
            """,
            amazon=amazon.id,
            shopify=world.connection.id,
        )
        for category, codes in GOODS.items():
            for code in codes:
                set_row(conn, "skus", world.skus[code], category=category)
        return world, amazon.id


@dataclass(frozen=True)
class Sites:
    """Servers with rules, on an empty shop, and with a database that is away."""

    full: str
    empty: str
    away: str


@pytest.fixture(scope="module")
def sites(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    found = {
        name: embedded.create_database(home, f"rules_{name}", template=template_database.name)
        for name in ("full", "empty", "away")
    }
    engine = create_engine(found["full"].url)
    world, amazon = shop_with_goods(engine)
    with unit_of_work(engine) as conn:
        for scope, terms in (
            (Scope(), Terms(safety_stock_units=2)),
            (Scope(amazon), Terms(share_percent=Decimal(60))),
            (Scope(amazon, "Candles"), Terms(share_percent=Decimal(20), buffer_units=2)),
            (Scope(sku_id=world.skus["INK-5"]), Terms(is_offered=False)),
        ):
            version_id = policies.save(conn, world.shop_id, [Change(scope, terms)], ACTOR, utc_now())
            if terms.is_offered is None:
                ids = queries.listings_of_version(conn, world.shop_id, version_id, 0)
                policies.begin_replan(conn, world.shop_id, version_id, len(ids), utc_now())
                policies.replan(conn, world.shop_id, version_id, ids, True, utc_now())
    engine.dispose()
    for name in ("empty", "away"):
        engine = create_engine(found[name].url)
        with engine.begin() as conn:
            seed.shop(conn)
        engine.dispose()
    engine = create_engine(found["away"].superuser_url)
    with engine.begin() as conn:
        execute(conn, "alter table policy_versions rename to policy_versions_gone")
    engine.dispose()
    folder = tmp_path_factory.mktemp("rules")
    for name in found:
        (folder / name).mkdir()
    with (
        browsing.serve(found["full"].url, bell, folder / "full") as full,
        browsing.serve(found["empty"].url, bell, folder / "empty") as empty,
        browsing.serve(found["away"].url, bell, folder / "away") as away,
    ):
        yield Sites(full, empty, away)
    for database in found.values():
        embedded.drop_database(home, database.name)


PAGES = {
    "rules": ("full", "/rules"),
    "rules-empty": ("empty", "/rules"),
    "rules-new": ("full", "/rules?edit=new"),
    "rules-preview": ("full", "/rules?edit=new&see=yes&connection=Amazon&category=Kitchen&share_percent=20"),
    "rules-refused": ("full", "/rules?edit=new&see=yes&category=Kichen&buffer_units=two"),
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_look_of_the_screen_is_sound(
    sites: Sites, browser: Browser, pictures: Path, name: str, phone: bool
) -> None:
    site, path = PAGES[name]
    with browsing.visit(browser, getattr(sites, site) + path, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_what_cannot_be_read_is_said_in_its_place(sites: Sites, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, sites.away + "/rules") as seen:
        expect(seen.page.get_by_text("The database did not answer within 5 s.")).to_be_visible()
        expect(seen.page.get_by_role("button", name="Try again")).to_be_visible()
        seen.picture(pictures / "rules-error.png")
        browsing.assert_sound(seen)


class Desk:
    """A shop of its own behind a dashboard of its own, and a worker that runs when told."""

    def __init__(self, address: str, engine: Engine, redis_url: str, world: World) -> None:
        self.address, self.engine, self.redis_url, self.world = address, engine, redis_url, world

    def work(self) -> dict[str, object]:
        """Take the ring, and do what it rings for; pushes are rung for afterwards."""
        assert self.rung()[-1] == "policies.replan"
        done = jobs.replan_shop(shop_id=self.world.shop_id)
        assert "stock.push" in self.rung()
        return done

    def hold_up_redis(self, milliseconds: int) -> None:
        """As a machine does that is busy: it answers nobody for so long, and then everybody."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.client_pause(milliseconds)

    def rung(self) -> list[str]:
        with redis.Redis.from_url(self.redis_url) as client:
            return [job.func_name for job in queue_named("stock", client).jobs]

    def shown(self, connection: str) -> dict[str, int]:
        with self.engine.connect() as conn:
            rows = fetch(
                conn,
                """
                select l.channel_code, l.desired_units from listings l
                join connections c on c.shop_id = l.shop_id and c.id = l.connection_id where c.name = %(name)s
                """,
                name=connection,
            )
        return {row["channel_code"]: row["desired_units"] for row in rows}


@pytest.fixture
def desk(
    engine: Engine, database: embedded.Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    world, _ = shop_with_goods(engine)
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    bootstrap._application_of.cache_clear()
    with browsing.serve(database.url, redis_url, tmp_path) as address:
        yield Desk(address, engine, redis_url, world)
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option).click()


def test_amazon_gets_at_most_a_fifth_of_one_category_and_it_is_undone(
    desk: Desk, browser: Browser, pictures: Path
) -> None:
    before = desk.shown("Amazon")
    with browsing.visit(browser, desk.address + "/rules") as seen:
        page = seen.page
        page.get_by_role("button", name="New rule…").click(delay=80)
        expect(page.get_by_role("heading", name="New rule")).to_be_visible()
        choose(page, "Channel", "Amazon")
        choose(page, "Category", "Candles (3 SKUs)")
        page.get_by_role("textbox", name="Share of the pool").fill("a fifth")
        page.get_by_role("button", name="Preview…").click(delay=80)
        expect(page.get_by_text("“a fifth” is not a number")).to_be_visible(timeout=15_000)
        page.get_by_role("textbox", name="Share of the pool").fill("20")
        page.get_by_role("button", name="Preview…").click(delay=80)
        expect(page.get_by_text("3 of 3 listings would show another number: 3 down.")).to_be_visible(timeout=15_000)
        assert "category=Candles" in page.url
        assert "share_percent=20" in page.url
        seen.settle()
        page.screenshot(path=pictures / "rules-flow-preview.png")
        page.get_by_role("textbox", name="Reason").fill("Amazon sold out twice")
        desk.hold_up_redis(1_000)
        page.get_by_role("button", name="Save for 3 listings").click(delay=80)
        expect(page.get_by_text("is brought to the listings")).to_be_visible(timeout=15_000)
        page.screenshot(path=pictures / "rules-flow-progress.png")
        assert desk.shown("Amazon") == before
        assert desk.work()["changed"] == 3
        expect(page.get_by_text("3 listings followed, 3 changed").first).to_be_visible(timeout=15_000)
        expect(page.get_by_text("Amazon · category Candles")).to_be_visible()
        after = {code: units // 5 if code in GOODS["Candles"] else units for code, units in before.items()}
        assert desk.shown("Amazon") == after
        page.screenshot(path=pictures / "rules-flow-done.png")
        # A toast is a nameless dialog to axe, as long as it is there.
        expect(page.get_by_text("Saved as version 1.")).to_be_hidden(timeout=30_000)
        page.get_by_role("button", name="Undo…").first.click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Undo version 1?")).to_be_visible()
        page.screenshot(path=pictures / "rules-flow-undo.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").fill("Enough candles again")
        dialog.get_by_role("button", name="Undo version 1").click(delay=80)
        expect(page.get_by_text("Version 2 is brought to the listings")).to_be_visible(timeout=15_000)
        desk.work()
        expect(page.get_by_text("There are no rules yet")).to_be_visible(timeout=15_000)
        assert desk.shown("Amazon") == before
        assert seen.complaints == []
    with desk.engine.connect() as conn:
        acts = fetch(conn, "select act, actor, reason from audit_entries where act like '%%_rules' order by id")
    assert [tuple(row.values()) for row in acts] == [
        ("save_rules", "ada", "Amazon sold out twice"),
        ("undo_rules", "ada", "Enough candles again"),
    ]


@pytest.mark.long
def test_rules_that_changed_since_the_preview_are_not_saved_over_by_keyboard(desk: Desk, browser: Browser) -> None:
    with browsing.visit(browser, desk.address + "/rules?edit=new&see=yes&cap_units=3") as seen:
        page = seen.page
        reason = page.get_by_role("textbox", name="Reason")
        expect(page.get_by_role("button", name="Save for")).to_be_visible()
        with unit_of_work(desk.engine) as conn:
            policies.save(conn, desk.world.shop_id, [Change(Scope(), Terms(cap_units=9))], ACTOR, utc_now())
        reason.focus()
        page.keyboard.type("Too late")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nothing was saved: the rules have changed since you looked")).to_be_visible(
            timeout=15_000
        )
        page.get_by_role("button", name="Look again").focus()
        page.keyboard.press("Enter")
        seen.settle()
        reason.focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("Now then")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Saved as version 2.")).to_be_visible(timeout=15_000)
    with desk.engine.connect() as conn:
        living = fetch(conn, "select cap_units, reason from channel_policy_list")
    assert [tuple(row.values()) for row in living] == [(3, "Now then")]
