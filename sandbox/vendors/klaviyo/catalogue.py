"""The catalogue of an account: what creating, changing and deleting does, for one entry or for a hundred at once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sandbox.store import Row, Store, marks
from sandbox.vendors.klaviyo.names import PREFIX, external
from sandbox.vendors.klaviyo.problems import Problem, conflict, invalid, not_found
from sandbox.vendors.klaviyo.shapes import ITEM, VARIANT, Kind, related_names

METADATA_MAX = 100_000
Entry = dict[str, Any]
# Attributes that a new entry has when it says nothing of them.
_BARE = {"images": [], "custom_metadata": {}, "published": True}


@dataclass
class Batch:
    """Entries of one kind on their way in, each after the one before it: what the earlier did the later see."""

    kind: Kind
    account_id: int
    now: float
    entries: Sequence[Entry]
    outcomes: list[Problem | None] = field(default_factory=list)
    came_back: list[str] = field(default_factory=list)
    """Variants of which there is something again."""


class Catalogue:
    def __init__(self, store: Store, date: Callable[[], float]) -> None:
        """`date` is the date of what is being done, in seconds since 1970."""
        self._store = store
        self._date = date
        self.on_restock: Callable[[int, list[str]], None] = lambda account_id, variants: None

    def apply(
        self,
        account_id: int,
        kind: Kind,
        verb: str,
        entries: Sequence[Entry],
        refusal: Callable[[str], Problem | None] = lambda name: None,
    ) -> list[Problem | None]:
        """Does what the entries say, which are of the right form; an outcome for each, with pointers into the entry.

        `refusal` may refuse an entry by its external id. Call inside a transaction.
        """
        batch = Batch(kind, account_id, self._date(), entries)
        {"create": self._create, "update": self._update, "delete": self._delete}[verb](batch, refusal)
        if batch.came_back:
            self.on_restock(account_id, batch.came_back)
        return batch.outcomes

    def find(self, account_id: int, kind: Kind, external_id: str | None) -> Row | None:
        return self._store.one(
            "select * from klaviyo_records where account_id = ? and kind = ? and external_id = ?",
            (account_id, kind.name, external_id),
        )

    def some(self, account_id: int, kind: Kind, external_ids: Sequence[str]) -> list[Row]:
        # The plus keeps SQLite from walking through the whole catalogue for the sake of the order.
        return self._store.all(
            "select * from klaviyo_records where account_id = ? and kind = ?"
            f" and external_id in ({marks(external_ids)}) order by +number",
            (account_id, kind.name, *external_ids),
        )

    def relate(self, account_id: int, verb: str, pairs: Sequence[tuple[str, str]], whole: tuple[str, str]) -> None:
        """Adds, removes or (replace) makes them the whole set of what `whole` (column, external id) is linked with;
        pairs are item and category."""
        with self._store.transaction():
            if verb == "replace":
                column, name = whole
                self._store.run(f"delete from klaviyo_links where account_id = ? and {column} = ?", (account_id, name))
            sql = "insert or ignore into klaviyo_links values (?, ?, ?)"
            if verb == "remove":
                sql = "delete from klaviyo_links where account_id = ? and item = ? and category = ?"
            self._store.run_many(sql, [(account_id, *pair) for pair in pairs])

    def _create(self, batch: Batch, refusal: Callable[[str], Problem | None]) -> None:
        kind, account_id = batch.kind, batch.account_id
        names = [entry["attributes"]["external_id"] for entry in batch.entries]
        taken = self._there(account_id, kind.name, names)
        related = self._related(batch)
        made: list[tuple[str, Entry]] = []
        for name, entry in zip(names, batch.entries, strict=True):
            problem = refusal(name) or _content_problem(entry["attributes"]) or _missing(kind, entry, related)
            if problem is None and name in taken:
                problem = conflict(
                    f"A {kind.type} with the id '{PREFIX}{name}' already exists.", "/attributes/external_id"
                )
            if problem is None:
                taken.add(name)
                made.append((name, entry))
            batch.outcomes.append(problem)
        self._insert(batch, made)

    def _insert(self, batch: Batch, made: list[tuple[str, Entry]]) -> None:
        kind, account_id, now = batch.kind, batch.account_id, batch.now
        rows = []
        links: list[tuple[int, str, str]] = []
        for number, (name, entry) in zip(self._store.next_ids("klaviyo_record", len(made)), made, strict=True):
            given = entry["attributes"]
            kept = {key: given.get(key, _BARE.get(key)) for key in kind.attributes}
            if kept.get("published", True) is None:
                kept["published"] = True
            others = related_names(kind, entry) or []
            parent = others[0] if kind is VARIANT else None
            if kind is not VARIANT:
                links += _links(kind, account_id, name, others)
            rows.append((number, account_id, kind.name, name, parent, *_columns(kind, kept), now, now))
        self._store.run_many("insert into klaviyo_records values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        if links:
            self._store.run_many("insert or ignore into klaviyo_links values (?, ?, ?)", links)

    def _update(self, batch: Batch, refusal: Callable[[str], Problem | None]) -> None:
        kind = batch.kind
        names = [_name(entry) for entry in batch.entries]
        rows = {row["external_id"]: row for row in self.some(batch.account_id, kind, sorted(set(names)))}
        kept = {name: orjson.loads(row["attributes"]) for name, row in rows.items()}
        related = self._related(batch)
        replaced: dict[str, list[str]] = {}
        changed: set[str] = set()
        for name, entry in zip(names, batch.entries, strict=True):
            problem = refusal(name) or _content_problem(entry["attributes"])
            if problem is None and name not in kept:
                problem = not_found(f"A {kind.type} with the id '{PREFIX}{name}' does not exist.", "/id")
            problem = problem or _missing(kind, entry, related)
            if problem is None:
                if _came_back(kept[name], entry["attributes"]):
                    batch.came_back.append(name)
                kept[name] |= entry["attributes"]
                changed.add(name)
                if (others := related_names(kind, entry)) is not None:
                    replaced[name] = others
            batch.outcomes.append(problem)
        self._store.run_many(
            "update klaviyo_records set title = ?, sku = ?, published = ?, attributes = ?, updated_at = ?"
            " where number = ?",
            [(*_columns(kind, kept[name]), batch.now, rows[name]["number"]) for name in changed],
        )
        for name, others in replaced.items():
            pairs = [link[1:] for link in _links(kind, batch.account_id, name, others)]
            self.relate(batch.account_id, "replace", pairs, (kind.name, name))

    def _delete(self, batch: Batch, refusal: Callable[[str], Problem | None]) -> None:
        kind = batch.kind
        names = [_name(entry) for entry in batch.entries]
        there = self._there(batch.account_id, kind.name, names)
        gone: list[str] = []
        for name in names:
            problem = refusal(name)
            if problem is None and name not in there:
                problem = not_found(f"A {kind.type} with the id '{PREFIX}{name}' does not exist.", "/id")
            if problem is None:
                there.discard(name)
                gone.append(name)
            batch.outcomes.append(problem)
        keys = [(batch.account_id, name) for name in gone]
        self._store.run_many(
            f"delete from klaviyo_records where account_id = ? and kind = '{kind.name}' and external_id = ?", keys
        )
        if kind is ITEM:
            self._store.run_many("delete from klaviyo_records where account_id = ? and parent = ?", keys)
        if kind is not VARIANT:
            self._store.run_many(f"delete from klaviyo_links where account_id = ? and {kind.name} = ?", keys)

    def _there(self, account_id: int, kind: str, names: Iterable[str]) -> set[str]:
        """Which of them exist."""
        asked = sorted(set(names))
        rows = self._store.all(
            "select external_id from klaviyo_records where account_id = ? and kind = ?"
            f" and external_id in ({marks(asked)})",
            (account_id, kind, *asked),
        )
        return {row["external_id"] for row in rows}

    def _related(self, batch: Batch) -> set[str]:
        """Those that exist of all that the entries say they are related to."""
        asked = {name for entry in batch.entries for name in related_names(batch.kind, entry) or ()}
        if not asked:
            return set()
        return self._there(batch.account_id, "category" if batch.kind is ITEM else "item", asked)


def _name(entry: Entry) -> str:
    return external(entry["id"]) or ""


def _columns(kind: Kind, kept: Entry) -> tuple[str, str | None, bool, bytes]:
    """Title, SKU and whether it is shown, which are searched by, and all of it."""
    return kept[kind.label] or "", kept.get("sku"), bool(kept.get("published", True)), orjson.dumps(kept)


def _content_problem(given: Entry) -> Problem | None:
    """What the schema does not say: metadata is flat and not too large."""
    metadata = given.get("custom_metadata")
    if not metadata:
        return None
    at = "/attributes/custom_metadata"
    if any(isinstance(value, (dict, list)) for value in metadata.values()):
        return invalid("'custom_metadata' must be flat: no objects and no lists in it.", at)
    if len(orjson.dumps(metadata)) > METADATA_MAX:
        return invalid(f"'custom_metadata' has more than {METADATA_MAX} bytes.", at)
    return None


def _missing(kind: Kind, entry: Entry, there: set[str]) -> Problem | None:
    for place, name in enumerate(related_names(kind, entry) or ()):
        if name not in there:
            at = f"/relationships/{kind.relation}/data" + ("/id" if kind is VARIANT else f"/{place}/id")
            return not_found(f"'{PREFIX}{name}' does not exist.", at)
    return None


def _links(kind: Kind, account_id: int, name: str, others: Sequence[str]) -> list[tuple[int, str, str]]:
    """As item and category, whichever side it was said from."""
    return [(account_id, name, other) if kind is ITEM else (account_id, other, name) for other in others]


def _came_back(before: Entry, given: Entry) -> bool:
    quantity = given.get("inventory_quantity")
    return quantity is not None and quantity > 0 and (before.get("inventory_quantity") or 0) <= 0
