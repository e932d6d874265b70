"""What names, types and keys of documents become, whatever a browser says; and keys that are derived."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.documents import origin_of
from core.connections.operations import new_key as new_secret
from core.documents import FILE_NAME_CHARACTERS_MAX, checked_key, media_type, new_key, shown_name
from core.errors import BadInput
from core.sealing import BadSecretKey, NoSecretKeys, derived


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("prices.csv", "prices.csv"),
        ("C:\\fakepath\\Preise März.xlsx", "Preise März.xlsx"),
        ("../../etc/passwd", "passwd"),
        ("a\r\nSet-Cookie: x=1.csv", "aSet-Cookie: x=1.csv"),
        ("exe\u202evsc.csv", "exevsc.csv"),
        (" .. ", "document"),
        ("", "document"),
        ("folder/", "document"),
        ("x" * 300 + ".csv", "x" * 146 + ".csv"),
        ("x" * 300, "x" * 150),
    ],
)
def test_a_name_is_shown_without_what_is_no_name(said: str, shown: str) -> None:
    assert shown_name(said) == shown


@given(st.text())
def test_any_name_can_be_shown_sent_and_shown_again(said: str) -> None:
    shown = shown_name(said)
    assert 0 < len(shown) <= FILE_NAME_CHARACTERS_MAX
    assert not set(shown) & set("/\\\r\n\0")
    assert quote(shown)
    assert shown_name(shown).strip(" .") == shown.strip(" .")


@pytest.mark.parametrize(
    ("said", "type_"),
    [
        ("text/csv", "text/csv"),
        ("Text/CSV; charset=utf-8", "text/csv"),
        ("application/vnd.ms-excel", "application/vnd.ms-excel"),
        ("text/html\r\nX: y", "application/octet-stream"),
        ("csv", "application/octet-stream"),
        ("", "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
def test_a_type_is_one_or_that_of_any_bytes(said: str | None, type_: str) -> None:
    assert media_type(said) == type_


@given(st.text())
def test_nothing_but_our_keys_is_a_key(text: str) -> None:
    with pytest.raises(BadInput):
        checked_key(text)


@pytest.mark.parametrize(
    "change",
    [lambda key: key + "\n", lambda key: "/" + key, lambda key: key + "/..", lambda key: key.replace("/", "//", 1)],
)
def test_a_key_that_was_changed_is_none(change: object) -> None:
    key = new_key(7, "catalogue_import", UUID(int=1))
    assert key == f"7/catalogue_import/{1:032x}"
    with pytest.raises(BadInput, match="is no key of a document"):
        checked_key(change(key))  # type: ignore[operator]
    with pytest.raises(BadInput, match="is no kind of document"):
        new_key(7, "Catalogue", uuid4())


def test_what_is_derived_differs_by_key_and_purpose_and_is_no_key_that_seals() -> None:
    keys = (new_secret(), new_secret())
    found = derived(keys, "one")
    assert found == derived(keys, "one")
    assert len({*found, *derived(keys, "other"), *(key.encode() for key in keys)}) == 6
    assert {len(each) for each in found} == {32}
    assert derived(keys[1:], "one") == found[1:]
    with pytest.raises(NoSecretKeys):
        derived((), "one")
    with pytest.raises(BadSecretKey, match="key 2"):
        derived((keys[0], "no key"), "one")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:8500", "http://127.0.0.1:8500"),
        ("https://Board.example/path?x#y", "https://board.example"),
        ("https://board.example:443/", "https://board.example"),
        ("http://board.example:443/", "http://board.example:443"),
        ("http://[::1]:8500/", "http://[::1]:8500"),
    ],
)
def test_an_origin_is_named_as_browsers_name_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin
