"""The recorder: a pytest plugin that holds what tests send, and what sandboxes answer, to the vendors' contracts.

It only watches. In the test's own process it stands around `httpx.Client.send`; the sandboxes that tests start, in
this process or any other, write down their side themselves (sandbox/recording.py), so that what workers, the api or a
whole system sent is seen too. After each test the judges look at what came in meanwhile: a breach fails that test.

A test that breaks a rule on purpose says which: `@pytest.mark.breaks_contract("token", "answer.error")`. It fails when
it breaks another one, and when it does not break what it says. There is no other way to be excused.

When the whole suite has run, every operation of every adapter must have been answered by a sandbox.

Without the vendors' documents (SHARED_DIR) nothing can be judged, and the first lines of the run say so.
"""

from __future__ import annotations

import os
import pkgutil
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

import core.adapters
from sandbox.recording import FOLDER_VARIABLE, call_digest
from tests.contracts.exchange import Breach, Exchange, Judge, from_record

ROOT = Path(__file__).resolve().parents[2]
MARK = "breaks_contract"
SHOWN = 10
ADAPTERS = "core.adapters."
VENDORS = {module.name for module in pkgutil.iter_modules(core.adapters.__path__) if module.ispkg}


def judges(contracts: Path) -> list[Judge]:
    """One for each vendor; a new one belongs here."""
    from tests.contracts.amazon import AmazonJudge
    from tests.contracts.klaviyo import KlaviyoJudge
    from tests.contracts.shopify import ShopifyJudge

    return [ShopifyJudge(contracts), AmazonJudge(contracts), KlaviyoJudge(contracts)]


class Court:
    """Takes what was recorded and says which rules it broke; the same thing is judged once."""

    def __init__(self, judges: Sequence[Judge], folder: Path) -> None:
        self._judges = judges
        self._folder = folder
        self._heard: dict[str, tuple[Breach, ...]] = {}
        self._waiting: list[tuple[str, Exchange, str]] = []
        self._seen: set[str] = set()
        self.exercised: set[tuple[str, str]] = set()

    def begin(self, name: str) -> None:
        """What comes from now on belongs to this test."""
        self._seen.clear()
        # Written beside and moved, so that no sandbox reads half a name.
        coming = self._folder / "epoch.new"
        coming.write_text(name)
        coming.replace(self._folder / "epoch")

    def sent(self, request: httpx.Request, vendor: str | None) -> None:
        """A request of this process; `vendor` is whose adapter sent it."""
        path, query = _split(request)
        headers = {name.lower(): text for name, text in request.headers.items()}
        probe = Exchange(request.method, path, query, headers)
        judge = self._judge_of(probe)
        if judge is None and vendor is None:
            return
        body = request.read()
        mark = "sent:" + call_digest(request.method, path, query, headers, body) + (vendor or "")
        if mark not in self._seen:
            self._seen.add(mark)
            self._waiting.append((mark, Exchange(request.method, path, query, headers, body), vendor or ""))

    def sit(self) -> list[tuple[Breach, str]]:
        """Breaches of what came in since the last time, each with the exchange in a line."""
        came, self._waiting = self._waiting, []
        came += self._written_down()
        found: dict[Breach, str] = {}
        for mark, exchange, sender in came:
            # Another exchange of the shape of a good one is good. That of a bad one may be: numbers and lengths tell.
            if self._heard.get(mark) != ():
                self._heard[mark] = tuple(self._hear(exchange, sender))
            for breach in self._heard[mark]:
                found.setdefault(breach, exchange.said())
        return list(found.items())

    def _written_down(self) -> Iterator[tuple[str, Exchange, str]]:
        """Of sandboxes; each record is read once."""
        with os.scandir(self._folder) as entries:
            names = sorted(entry.path for entry in entries if entry.name.endswith(".json"))
        for name in names:
            record = orjson.loads(Path(name).read_bytes())
            Path(name).unlink()
            exchange = from_record(record)
            # What a sandbox serves belongs to the vendor in its path, whatever the rest of the address.
            yield record["mark"], exchange, exchange.path.split("/")[1] if exchange.kind == "call" else ""

    def _hear(self, exchange: Exchange, sender: str) -> Iterator[Breach]:
        judge = self._judge_of(exchange)
        if judge is None or (sender and judge.vendor != sender):
            yield Breach("address", f"no judge of {sender or 'any vendor'} knows {exchange.method} {exchange.path}")
            return
        self.exercised.update((judge.vendor, name) for name in judge.exercised(exchange))
        yield from judge.judge(exchange)

    def _judge_of(self, exchange: Exchange) -> Judge | None:
        return next((judge for judge in self._judges if judge.claims(exchange)), None)


def _split(request: httpx.Request) -> tuple[str, str]:
    path, _, query = request.url.raw_path.decode().partition("?")
    return path, query


def _sender() -> str | None:
    """The vendor whose adapter is on the stack."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith(ADAPTERS) and (vendor := name[len(ADAPTERS) :].partition(".")[0]) in VENDORS:
            return str(vendor)
        frame = frame.f_back  # type: ignore[assignment]
    return None


class Recorder:
    """The plugin of a process that runs tests."""

    def __init__(self, court: Court, folder: Path) -> None:
        self._court = court
        self._folder = folder
        self._undo: list[Callable[[], None]] = []
        self.late: list[str] = []

    def install(self) -> None:
        """Watch this process, and have sandboxes started from here write down what they see."""
        before = os.environ.get(FOLDER_VARIABLE)
        os.environ[FOLDER_VARIABLE] = str(self._folder)
        self._undo.append(lambda: _restore(FOLDER_VARIABLE, before))
        court = self._court
        send, send_async = httpx.Client.send, httpx.AsyncClient.send

        def watched(client: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
            court.sent(request, _sender())
            return send(client, request, **more)

        async def watched_async(client: httpx.AsyncClient, request: httpx.Request, **more: Any) -> httpx.Response:
            court.sent(request, _sender())
            return await send_async(client, request, **more)

        httpx.Client.send, httpx.AsyncClient.send = watched, watched_async  # type: ignore[method-assign,assignment]
        self._undo.append(lambda: _restore_sends(send, send_async))

    def close(self) -> None:
        for undo in reversed(self._undo):
            undo()
        shutil.rmtree(self._folder, ignore_errors=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        self._court.begin(item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[Any]:
        result = yield
        announced = {rule for mark in item.iter_markers(MARK) for rule in mark.args}
        found = self._court.sit()
        words = _words([(breach, said) for breach, said in found if breach.rule not in announced])
        kept = announced - {breach.rule for breach, _ in found}
        if kept and not getattr(item, "contract_was_not_called", False):
            words.append(f"it is marked as breaking {', '.join(sorted(kept))}, and did not")
        if words:
            pytest.fail("The vendor's contract:\n" + "\n".join(words), pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
        report = yield
        if call.when in ("setup", "call") and (report.skipped or report.failed):
            # Whoever did not get through need not have broken what is announced.
            item.contract_was_not_called = True  # type: ignore[attr-defined]
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """What came in when the last test was over has no test to fail."""
        self.late = _words(self._court.sit())
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["contracts"] = {"exercised": sorted(self._court.exercised), "late": self.late}


class Verdict:
    """The plugin of the process that reports: what all of them found, at the end."""

    def __init__(self, court: Sequence[Judge], own: Recorder | None, own_court: Court | None) -> None:
        self._judges = court
        self._own, self._own_court = own, own_court
        self._exercised: set[tuple[str, str]] = set()
        self._words: list[str] = []

    def pytest_testnodedown(self, node: Any, error: object) -> None:
        told = getattr(node, "workeroutput", {}).get("contracts", {})
        self._exercised.update((vendor, name) for vendor, name in told.get("exercised", []))
        self._words += told.get("late", [])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._own is not None and self._own_court is not None:
            self._exercised |= self._own_court.exercised
            self._words += self._own.late
        if exitstatus == pytest.ExitCode.OK and _is_whole(session.config):
            self._words += [
                f"{judge.vendor}: {name} was never answered by the sandbox"
                for judge in self._judges
                for name in sorted(judge.operations)
                if (judge.vendor, name) not in self._exercised
            ]
        if self._words and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._words:
            terminalreporter.section("The vendors' contracts", red=True)
            for line in self._words:
                terminalreporter.write_line(line)


def _words(found: Sequence[tuple[Breach, str]]) -> list[str]:
    lines = [f"  {breach.rule}: {breach.why}\n      {said}" for breach, said in found[:SHOWN]]
    return lines + ([f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])


def _is_whole(config: pytest.Config) -> bool:
    """Whether every test there is was to run."""
    chosen = config.option.keyword or config.option.markexpr or config.option.deselect
    again = getattr(config.option, "lf", False) or getattr(config.option, "stepwise", False)
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen and not again


def _restore(name: str, before: str | None) -> None:
    if before is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = before


def _restore_sends(send: Any, send_async: Any) -> None:
    httpx.Client.send, httpx.AsyncClient.send = send, send_async  # type: ignore[method-assign]


def contracts_folder() -> Path:
    return Path(os.environ.get("SHARED_DIR") or ROOT.parent / "shared").absolute() / "contracts"


def pytest_configure(config: pytest.Config) -> None:
    folder = contracts_folder()
    if not folder.is_dir():
        return
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    own, court, bench = None, None, judges(folder)
    if runs_tests:
        kept = Path(tempfile.mkdtemp(prefix="switchyard-contracts-"))
        court = Court(bench, kept)
        own = Recorder(court, kept)
        own.install()
        config.add_cleanup(own.close)
        config.pluginmanager.register(own, "contract-recorder")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Verdict(bench, own, court), "contract-verdict")


def pytest_report_header(config: pytest.Config) -> str | None:
    folder = contracts_folder()
    return None if folder.is_dir() else f"contracts: not judged, the vendors' documents are not at {folder}"
