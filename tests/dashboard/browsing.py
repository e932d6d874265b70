"""A real server and a real browser for the pages."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import TimeoutError as NotInTime

from core.processes import process_started
from dashboard import theme
from tests import copies

ROOT = Path(__file__).resolve().parents[2]
KEPT = os.environ.get("SWITCHYARD_PICTURES")
"""Folder for pictures of the pages; without one none are taken of what is looked at anyway."""

PATIENCE_MS = 120_000
"""A page is there in a second or two; on a machine that does much else it takes as long as it takes."""

STILL = """
addEventListener("DOMContentLoaded", () => {
    const still = document.createElement("style");
    still.textContent = "*, *::before, *::after {animation: none !important}";
    document.head.append(still);
});
"""
"""What turns without end is drawn sixty times a second, and nobody watches. Transitions end by themselves, and what is
being refreshed fades so late by one that a short refresh does not show."""

QUICK = "--js-flags=--no-opt --no-maglev"
"""No page is looked at for so long that its scripts, compiled once more for speed, would ever pay for that."""

READY = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(
    database_url: str, redis_url: str, folder: Path, app: str = "dashboard/app.py", **settings: str
) -> Iterator[str]:
    """The dashboard as it is started for people, with what settings are given; yields its address."""
    port = free_port()
    settings.setdefault("SWITCHYARD_DASHBOARD_URL", f"http://127.0.0.1:{port}")
    words = ["run", app, "--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"]
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PYTHONPATH": str(ROOT),
        "SWITCHYARD_OPERATOR": "ada",
        **settings,
    }
    with (folder / "dashboard.log").open("w") as log:
        pid = copies.start(["tests.dashboard.patient", *words], environment, log.fileno(), log.fileno())
    started = process_started(pid)
    try:
        _wait(f"http://127.0.0.1:{port}/healthz", pid, started)
        yield f"http://127.0.0.1:{port}"
    finally:
        # It keeps nothing, and takes seconds to say goodbye.
        while started and process_started(pid) == started:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _wait(address: str, pid: int, started: str | None) -> None:
    for _ in range(1200):
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            assert started is not None, "the dashboard ended before it began"
            assert process_started(pid) == started, "the dashboard ended while starting"
            time.sleep(0.1)
    raise AssertionError("the dashboard did not start within two minutes")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium. Where there is none a newcomer's run says that it skips; CI, which installs it, fails."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        why = "no chromium on PATH: install it to look at the pages (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", QUICK])
        yield browser
        browser.close()


@dataclass
class Visit:
    """One page with what went wrong in it."""

    page: Page
    is_on_phone: bool = False
    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Until the script has run and the browser has drawn."""
        self.page.wait_for_selector(READY, timeout=PATIENCE_MS)
        self.page.wait_for_timeout(600)
        self.page.wait_for_selector(READY, timeout=PATIENCE_MS)

    def darken(self) -> None:
        """The reader's system goes dark. Streamlit's colours follow at once, ours with the next run of the page: then
        it is, dot for dot, the page that opens in the dark, without another load of all its scripts."""
        self.page.emulate_media(color_scheme="dark")
        red, green, blue = bytes.fromhex(theme.DARK.background.removeprefix("#"))
        self.page.wait_for_function(
            "colour => getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor === colour",
            arg=f"rgb({red}, {green}, {blue})",
        )
        # A field that has the focus would take the key for itself.
        self.page.evaluate("document.activeElement.blur()")
        self.page.keyboard.press("r")
        try:
            self._await_dark(5_000)
        except NotInTime:
            # A page that is busy with itself does not hear the key.
            self.page.reload()
            self._await_dark(30_000)
        self.settle()

    def _await_dark(self, milliseconds: float) -> None:
        self.page.wait_for_function(
            "muted => getComputedStyle(document.documentElement).getPropertyValue('--sy-muted') === muted",
            arg=theme.DARK.muted,
            timeout=milliseconds,
        )

    def picture(self, path: Path) -> None:
        """The whole page, where pictures are kept: it scrolls inside, so the window is made as high as its content."""
        if not KEPT:
            return
        size = self.page.viewport_size
        assert size is not None
        height = self.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        self.page.set_viewport_size({"width": size["width"], "height": max(int(height), size["height"])})
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=path)
        self.page.set_viewport_size(size)


@contextmanager
def visit(browser: Browser, address: str, scheme: str = "light", phone: bool = False) -> Iterator[Visit]:
    """Open an address in the tab of somebody; whatever leaves loopback or is complained about is kept.

    The tab is left blank for the next visit, and remembers nothing of this one but the scripts, which a new tab would
    compile again: that is a second for each page.
    """
    seen = Visit(_tab(browser, phone), phone)
    listeners: dict[Any, Callable[..., None]] = {
        "request": lambda r: None if _is_ours(r.url) else seen.strangers.append(r.url),
        "console": lambda m: (
            seen.complaints.append(m.text) if m.type == "error" and not _is_known(m.location) else None
        ),
        "pageerror": lambda error: seen.complaints.append(str(error)),
    }
    for name, listener in listeners.items():
        seen.page.on(name, listener)
    try:
        seen.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        seen.page.goto(address, timeout=PATIENCE_MS)
        seen.settle()
        yield seen
    except BaseException:
        # Whatever it is in the middle of ends with it.
        seen.page.close()
        raise
    seen.page.evaluate("sessionStorage.clear()")
    seen.page.goto("about:blank")
    for name, listener in listeners.items():
        seen.page.remove_listener(name, listener)


def _tab(browser: Browser, phone: bool) -> Page:
    person = _person(browser, phone)
    return next(iter(person.pages), None) or person.new_page()


_people: WeakKeyDictionary[Browser, dict[bool, BrowserContext]] = WeakKeyDictionary()


def _person(browser: Browser, phone: bool) -> BrowserContext:
    """Somebody with a browser that has seen the dashboard before: its scripts are loaded once."""
    known = _people.setdefault(browser, {})
    if phone not in known:
        known[phone] = browser.new_context(
            viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 800},
            is_mobile=phone,
        )
        known[phone].add_init_script(STILL)
    return known[phone]


def _is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


def _is_known(location: object) -> bool:
    # On a deep link the client probes its base path with these two.
    return str(dict(location)["url"]).endswith(("/_stcore/health", "/_stcore/host-config"))  # type: ignore[call-overload]


WIDTHS = [pytest.param(False, id="desktop"), pytest.param(True, id="phone", marks=pytest.mark.long)]
"""Whether on a phone: dark changes colours only and the phone places only, so that both at once show nothing new."""


def looks(names: Iterable[str]) -> list[Any]:
    """(page, whether on a phone) as parameters of a test: each page on both widths; of its other states (`sku-doubt` of
    `sku`), which are drawn by the same parts, each on one of them in turn. Where pictures are kept, all on both.

    Every change has its pages looked at on a desk; on a phone, and in their other states, before a release.
    """
    found, turn = [], 0
    for name in names:
        widths = [False, True]
        if "-" in name and not KEPT:
            widths, turn = [bool(turn % 2)], turn + 1
        found += [
            pytest.param(
                *(name, phone),
                id=f"{name}-{'phone' if phone else 'desktop'}",
                marks=[pytest.mark.long] if phone or "-" in name else [],
            )
            for phone in widths
        ]
    return found


def serious(seen: Visit) -> list[tuple[str, list[str]]]:
    """What axe finds. What is being refreshed is faded for a moment: what is wrong is still so at a third look."""
    found: list[tuple[str, list[str]]] = []
    for look in range(3):
        if look:
            seen.settle()
        found = [
            (v["id"], [n["html"][:160] for n in v["nodes"][:3]])
            for v in Axe().run(seen.page).response["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        if not found:
            break
    return found


def assert_sound(seen: Visit) -> None:
    """Readable for everybody, nothing from elsewhere, nothing complained about, nothing beyond the right edge."""
    found = serious(seen)
    assert not found, found
    assert not seen.strangers, seen.strangers
    assert not seen.complaints, seen.complaints
    wide = seen.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert wide, "the page scrolls sideways"


def assert_each_look_is_sound(seen: Visit, pictures: Path, name: str) -> None:
    """A page that was opened in the light: as it is; and in the dark too where it is not on a phone, unless it is but
    another state of a page (`runs-one` of `runs`), which is drawn by the same parts in the same colours."""
    seen.picture(pictures / f"{name}-{'light-phone' if seen.is_on_phone else 'light'}.png")
    assert_sound(seen)
    if not seen.is_on_phone and (KEPT or "-" not in name):
        seen.darken()
        seen.picture(pictures / f"{name}-dark.png")
        assert_sound(seen)
