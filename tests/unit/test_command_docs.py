"""Commands that the documents name are there, and every command is named in the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workers.cli import cli

ROOT = Path(__file__).resolve().parents[2]
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_COMMAND = re.compile(r"\bswitchyard ([a-z][a-z-]+)")


def named(document: Path) -> set[str]:
    """Commands in the code of a document."""
    code = " ".join(_CODE.findall(document.read_text(encoding="utf-8")))
    return set(_COMMAND.findall(code))


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_every_command_that_a_document_names_is_there(document: str) -> None:
    assert named(ROOT / document) - set(cli.commands) == set()


def test_every_command_is_in_the_readme() -> None:
    table = re.findall(r"^\| (`switchyard .*?) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    words = set(re.findall(r"[a-z][a-z-]+", " ".join(table)))
    assert set(cli.commands) - words == set()
