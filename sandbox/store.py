"""SQLite behind everything the sandbox remembers: committed before an answer leaves, so kill -9 loses nothing."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.tables import ADDED, LOOSENED, TABLES
from sandbox.vendors.klaviyo import tables as klaviyo

Row = sqlite3.Row

# Where each kind of id starts. Orders, lines and refunds begin above 2**53, where neighbouring numbers
# become equal in a reader that uses doubles; that is the point of starting there.
FIRST_IDS = {
    "shop": 61_000_000_001,
    "location": 71_000_000_001,
    "product": 8_100_000_000_001,
    "variant": 44_100_000_000_001,
    "item": 46_100_000_000_001,
    "customer": 6_900_000_000_001,
    "order": 9_007_199_254_740_993,
    "line": 13_007_199_254_740_993,
    "refund": 18_014_398_509_481_985,
    "refund_line": 18_514_398_509_481_985,
    "shipping_line": 3_800_000_000_001,
    "refund_shipping_line": 4_400_000_000_001,
    "fulfillment": 5_300_000_000_001,
    "fulfillment_line": 9_500_000_000_001,
    "fulfillment_event": 12_300_000_000_001,
    "fulfillment_order": 6_700_000_000_001,
    "fulfillment_order_line": 14_500_000_000_001,
    "media": 33_100_000_000_001,
    "option": 9_900_000_000_001,
    "option_value": 3_700_000_000_001,
    "metafield": 27_100_000_000_001,
    "hold": 2_400_000_000_001,
    "draft": 1_200_000_000_001,
    "order_edit": 3_300_000_000_001,
    "bulk": 720_000_000_001,
    "subscription": 1_500_000_000_001,
    "body": 1,
    "delivery": 1,
    "duty": 1,
    "group": 1,
    "submission": 1,
    "asin": 1,
    "amazon_order": 1,
    "amazon_line": 26_012_345_678_901,
    "fnsku": 1,
    "feed": 50_100_019_001,
    "feed_issue": 1,
    "report": 54_517_018_001,
    **klaviyo.FIRST_IDS,
}


class Store:
    """One connection used from the event loop's thread only: a transaction never spans an await."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # The date of this world in seconds since 1970; a virtual clock puts its own in here.
        self.wall: Callable[[], float] = time.time
        self.db = sqlite3.connect(folder / "sandbox.sqlite", isolation_level=None, cached_statements=512)
        self.db.row_factory = sqlite3.Row
        # With WAL a commit survives the death of the process; an fsync per commit would only
        # guard against the loss of power, which a sandbox need not survive.
        for pragma in ("journal_mode=wal", "synchronous=normal", "temp_store=memory", "cache_size=-65536"):
            self.db.execute(f"pragma {pragma}")
        self._loosen()
        self.db.executescript(TABLES + klaviyo.TABLES)
        self._add_columns()
        self._depth = 0
        self._counters = {row["kind"]: row["value"] for row in self.db.execute("select kind, value from counters")}
        self._dirty: set[str] = set()

    def _add_columns(self) -> None:
        for table, column, kind in ADDED:
            if column not in {row["name"] for row in self.db.execute(f"pragma table_info({table})")}:
                self.db.execute(f"alter table {table} add column {column} {kind}")

    def _loosen(self) -> None:
        """A world founded by an earlier version let a SKU be of one variant only, which the vendor does not."""
        made = self.db.execute("select sql from sqlite_master where name = 'variants'").fetchone()
        if made is None or "unique (shop_id, sku)" not in made["sql"]:
            return
        for statement in LOOSENED:
            self.db.execute(statement)

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits on a clean exit, rolls back on any error; an inner transaction joins the outer one."""
        if self._depth:
            yield
            return
        self.db.execute("begin immediate")
        self._depth = 1
        try:
            yield
            self._save_counters()
        except BaseException:
            self._depth = 0
            self.db.execute("rollback")
            raise
        self._depth = 0
        self.db.execute("commit")

    def next_id(self, kind: str) -> int:
        """A number never given before; call inside a transaction, which also saves the counter."""
        return self.next_ids(kind, 1)[0]

    def next_ids(self, kind: str, count: int) -> range:
        first = self._counters.get(kind, FIRST_IDS[kind])
        self._counters[kind] = first + count
        self._dirty.add(kind)
        return range(first, first + count)

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self.db.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        row: Row | None = self.db.execute(sql, parameters).fetchone()
        return row

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        row = self.one(sql, parameters)
        return None if row is None else row[0]

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self.db.execute(sql, parameters).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self.db.executemany(sql, rows)

    def insert(self, table: str, **values: Any) -> None:
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        self.db.execute(f"insert into {table} ({columns}) values ({marks})", tuple(values.values()))

    def meta(self, name: str, default: str = "") -> str:
        found = self.value("select value from meta where name = ?", (name,))
        return default if found is None else str(found)

    def set_meta(self, name: str, value: str) -> None:
        self.run(
            "insert into meta values (?, ?) on conflict (name) do update set value = excluded.value", (name, value)
        )

    def _save_counters(self) -> None:
        if self._dirty:
            self.run_many(
                "insert into counters values (?, ?) on conflict (kind) do update set value = excluded.value",
                [(kind, self._counters[kind]) for kind in self._dirty],
            )
            self._dirty.clear()


def marks(values: Sequence[Any]) -> str:
    """Question marks for an `in (...)` list."""
    return ", ".join("?" * len(values))
