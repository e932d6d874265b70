"""Where temporary files of tests go."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests import memory


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "memory"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def test_files_go_where_there_is_room(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ROOM_BYTES", 1)
    # Put back afterwards.
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    monkeypatch.setenv("TMPDIR", "")
    del os.environ["TMPDIR"]
    assert memory.keep_files_in_memory(open_folder)
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(open_folder)


def test_who_says_where_is_obeyed(open_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "ROOM_BYTES", 1)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert not memory.keep_files_in_memory(open_folder)
    assert os.environ["TMPDIR"] == str(tmp_path)


def test_a_corner_a_closed_folder_and_none_are_passed_over(open_folder: Path) -> None:
    assert memory.is_roomy(open_folder, room=1)
    assert not memory.is_roomy(open_folder, room=1 << 60)
    assert not memory.is_roomy(open_folder / "nowhere", room=1)
    open_folder.chmod(0o755)
    assert not memory.is_roomy(open_folder, room=1)
