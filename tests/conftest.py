"""Fixtures for everybody: real servers, one migrated database per test, and the shared material.

The servers come from `core.embedded`, the same code that a newcomer's first `make up` runs.
"""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine

from core import embedded, logs
from core.adapters import rq
from core.processes import process_started
from tests.bells import PATIENCE_SECONDS
from tests.databases import Copies
from tests.memory import keep_files_in_memory
from tests.ports import claim_block

if TYPE_CHECKING:
    from tests.sandbox.outside import Inside

pytest_plugins = ["tests.contracts.recorder"]

# Before anything is made, and in the process that starts the others too.
keep_files_in_memory()

ROOT = Path(__file__).resolve().parent.parent

rq.DOORBELL_TIMEOUT_SECONDS = PATIENCE_SECONDS

# The same examples on every run: a red build can be repeated. Explore with HYPOTHESIS_PROFILE=explore.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    """Of several processes each reads from another folder on: what one of them compiles the others find compiled."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker.isdigit() and config.args == ["tests"]:
        folders = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").iterdir() if is_read(path))
        first = int(worker) * len(folders) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        config.args[:] = [*folders[first:], *folders[:first]]


def is_read(path: Path) -> bool:
    """Whether pytest would find tests there, given the folder above."""
    return (path.is_dir() and path.name.isidentifier() and path.name != "__pycache__") or path.match("test_*.py")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is read stays until the end: nobody need look again and again whether any of it is garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In one order, wherever reading began. Whole systems lie apart in it: two at once would starve each other.

    What is short comes last: no process ends long after the others.
    """
    items.sort(key=lambda item: (item.path.is_relative_to(ROOT / "tests/unit"), item.path.parts))


POSTGRES_SETTINGS = {
    # Nobody needs a test's data after a power cut, or a copy of it elsewhere.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # The log may lie in memory.
    "max_wal_size": "512MB",
}


@dataclass(frozen=True)
class TestServers:
    """The session's servers and the home they live in."""

    __test__ = False

    home: Path
    database_url: str
    migrate_url: str
    redis_url: str


@pytest.fixture(scope="session")
def servers() -> Iterator[TestServers]:
    _sweep_leftovers()
    home = Path(tempfile.mkdtemp(prefix="switchyard-tests-"))
    # Open to pass through: when root runs the tests another account runs the servers.
    home.chmod(0o711)
    (home / "runner.json").write_text(json.dumps([os.getpid(), process_started(os.getpid())]))
    base = claim_block()
    try:
        found = embedded.start(
            home,
            postgres_port=base,
            redis_port=base + 5,
            postgres_settings=POSTGRES_SETTINGS,
        )
        yield TestServers(home, found.database_url, found.migrate_url, found.redis_url)
    finally:
        _erase(home)


@pytest.fixture(scope="session")
def template_database(servers: TestServers) -> embedded.Database:
    """Migrated once; nobody may stay connected to it, or it cannot be copied."""
    from core.migrations import migrate

    template = embedded.create_database(servers.home, "switchyard_template")
    migrate(template.migrate_url)
    return template


@pytest.fixture(scope="session")
def copies(servers: TestServers) -> Iterator[Copies]:
    with Copies(servers.home) as found:
        yield found


_database_numbers = itertools.count(1)


@pytest.fixture
def database(copies: Copies, template_database: embedded.Database) -> Iterator[embedded.Database]:
    """A migrated database of the test's own: `.url` (application), `.migrate_url` (owner), `.superuser_url`."""
    name = f"test_{next(_database_numbers)}"
    yield copies.make(name, template_database)
    copies.drop(name)


@pytest.fixture
def engine(database: embedded.Database) -> Iterator[Engine]:
    """An engine in the application's role."""
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def module_engine(
    servers: TestServers, template_database: embedded.Database, request: pytest.FixtureRequest
) -> Iterator[Engine]:
    """A database for the tests of a file, where each works in a shop of its own or is rolled back; in the application's
    role. What is rolled back leaves dead rows, which no statistics tell of and which all later tests have to pass."""
    name = f"of_{request.module.__name__.rpartition('.')[2]}"
    database = embedded.create_database(servers.home, name, template=template_database.name)
    engine = create_engine(database.url, pool_size=10)
    yield engine
    engine.dispose()
    embedded.drop_database(servers.home, name)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """The fake vendors in this process for the tests of a file, where each has accounts of its own."""
    from tests.sandbox.outside import Inside

    world = Inside(tmp_path_factory.mktemp("outside"))
    yield world
    world.stop()


# In turn, so that a straggler of the last test does not meet the next one.
_redis_databases = itertools.cycle(range(1, 16))


@pytest.fixture
def redis_url(servers: TestServers) -> Iterator[str]:
    """An empty logical database of the session's Redis."""
    url = f"{servers.redis_url.rpartition('/')[0]}/{next(_redis_databases)}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        # A test may have killed or stopped the server; the next one's flush says so.
        with contextlib.suppress(redis.ConnectionError):
            client.flushdb()


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The log lines of this process as they would be written, read back."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.JsonFormatter("tests"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The vendors' contracts and real data that tests compare with; not part of the repository."""
    folder = Path(os.environ.get("SHARED_DIR") or ROOT.parent / "shared").absolute()
    if not (folder / "contracts").is_dir():
        pytest.skip(f"SHARED_DIR: no contracts in {folder}")
    return folder


def _sweep_leftovers() -> None:
    """Servers of test runs that were killed before they could clean up."""
    for home in Path(tempfile.gettempdir()).glob("switchyard-tests-*"):
        with contextlib.suppress(OSError, ValueError):
            pid, started = json.loads((home / "runner.json").read_text())
            if home.stat().st_uid == os.geteuid() and process_started(pid) != started:
                _erase(home)


def _erase(home: Path) -> None:
    embedded.erase(home)
    (home / "runner.json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        home.rmdir()
