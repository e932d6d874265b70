"""Every Shopify body of the corpus as the deliveries it stands for.

`topics.csv` names for each file the topic and how the resource is unwrapped: a path of keys, `[]` at its end where
several resources become several deliveries, nothing where the file is the body itself. Resources that Shopify sends
no webhook for carry the name a topic of theirs would have. `expected.csv` says what becomes of each part; `about` says
why it is not simply handled.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FOLDERS = "shopify_*"


@dataclass(frozen=True)
class Delivery:
    """One body under its topic, and the state it must end in: handled, waiting, ignored or parked:<cause>."""

    file: str
    part: int
    topic: str
    body: bytes
    state: str
    about: str

    @property
    def id(self) -> str:
        """Stands for the vendor's delivery id."""
        return f"{self.file}#{self.part}"


def files(shared: Path) -> list[str]:
    """Every file of the corpus, as the tables name it."""
    return sorted(f"{path.parent.name}/{path.name}" for path in (shared / "data/webhooks").glob(f"{FOLDERS}/*"))


def table(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def deliveries(shared: Path) -> Iterator[Delivery]:
    """All of them, file by file."""
    expected = {(row["file"], int(row["part"])): row for row in table("expected.csv")}
    for row in table("topics.csv"):
        raw = (shared / "data/webhooks" / row["file"]).read_bytes()
        for part, body in enumerate(unwrapped(raw, row["unwrap"]), 1):
            outcome = expected[row["file"], part]
            yield Delivery(row["file"], part, row["topic"], body, outcome["state"], outcome["about"])


def unwrapped(raw: bytes, path: str) -> list[bytes]:
    """The resources in a file; verbatim bytes where there is nothing to unwrap."""
    if not path:
        return [raw]
    found = json.loads(raw)
    for step in path.removesuffix("[]").split("."):
        found = found[step] if step else found
    resources = found if path.endswith("[]") else [found]
    return [json.dumps(resource, ensure_ascii=False).encode() for resource in resources]
