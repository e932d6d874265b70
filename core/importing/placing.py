"""The categories that a file names, from the dry run to the last batch: one that is renamed or moved on the way is
followed, one that is removed is said to be gone, and none is made twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from core.catalog.categories.operations import SEPARATOR, Path, ensure_paths, known_paths
from core.db import execute
from core.errors import Anticipated
from core.importing.holding import storable
from core.importing.queries import Run


class CategoryGone(Anticipated):
    """A category that was there when the file was read, or that the import made, is not there any more."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"its category “{SEPARATOR.join(path)}” was removed after the file was read")


class Categories:
    """Categories by the paths that the file names. `ids`: those that there are, a renamed one by its old path, too."""

    def __init__(self, conn: Connection, run: Run) -> None:
        self._known = known_paths(conn, run.shop_id)
        self._paths = {number: path for path, number in self._known.items()}
        self._meant: dict[Path, int] = {tuple(path.split(SEPARATOR)): n for path, n in run.category_ids.items()}
        self.ids: Mapping[Path, int] = self._known | {p: n for p, n in self._meant.items() if n in self._paths}

    def meant_by(self, paths: Iterable[Path]) -> dict[str, int]:
        """What paths and those above them mean now, of those that nothing was noted of yet; to be noted."""
        wanted = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
        return {SEPARATOR.join(p): self.ids[p] for p in sorted(wanted) if p in self.ids and p not in self._meant}

    def path_now(self, path: Path) -> Path:
        """Where a path of the file leads to by now. Raises CategoryGone."""
        for depth in range(len(path), 0, -1):
            number = self._meant.get(path[:depth])
            if number is None:
                continue
            if number not in self._paths:
                raise CategoryGone(path[:depth])
            return (*self._paths[number], *path[depth:])
        return path


def placed(conn: Connection, run: Run, paths: Iterable[Path], now: datetime) -> dict[Path, int]:
    """The category of each path of the file, made where there is none; what was made is noted with the import.

    Raises CategoryGone, core.catalog.categories.operations.BadCategory.
    """
    wanted = sorted(set(paths))
    if not wanted:
        return {}
    before = Categories(conn, run)
    leads_to = {path: before.path_now(path) for path in wanted}
    ids = ensure_paths(conn, run.shop_id, leads_to.values(), now)
    known = known_paths(conn, run.shop_id)
    made: dict[str, int] = {}
    for path, target in leads_to.items():
        for depth in range(1, len(path) + 1):
            above = target[: len(target) - len(path) + depth]
            if SEPARATOR.join(path[:depth]) not in run.category_ids and above in known:
                made[SEPARATOR.join(path[:depth])] = known[above]
    if made:
        execute(
            conn,
            """
            update import_runs set category_ids = %(ids)s::jsonb || category_ids
            where shop_id = %(shop)s and id = %(id)s
            """,
            shop=run.shop_id,
            id=run.id,
            ids=storable(made),
        )
    return {path: ids[target] for path, target in leads_to.items()}
