"""Sealing: everything that is committed, once, in an unbroken chain; and each day's head outside of the database."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from core.db import execute, fetch, read_only, scalar, unit_of_work
from core.ledger import anchor_files, anchoring, recorded, sealing
from core.ledger.anchor_files import AnchorDiffers, AnchorIsBroken, ChainIsTorn
from core.ledger.rules import GENESIS, digest, head_after, members_in
from core.ledger.verifying import Verifier
from core.reports import operations as reports
from core.reports import telling
from tests.factories import NOW, World, later, make_shop, make_world
from tests.ledgers import post
from tests.racing import play, race
from workers.jobs.ledger import seal_all

TOMORROW = NOW + timedelta(days=1)


@pytest.fixture
def shop_id(conn: Connection) -> int:
    return make_shop(conn)


def ids(conn: Connection, shop_id: int) -> list[int]:
    rows = fetch(conn, "select id from ledger_transactions where shop_id = %(shop)s order by id", shop=shop_id)
    return [row["id"] for row in rows]


def sealed(conn: Connection, shop_id: int) -> list[list[int]]:
    """The ids of each seal."""
    return [list(members_in(seal.members)) for seal in recorded.seals(conn, shop_id)]


def broken(conn: Connection, shop_id: int, root: Path = Path("nowhere"), now: Any = TOMORROW) -> list[dict[str, Any]]:
    return [one.row for one in Verifier(conn, shop_id, root, now).run()]


# --- the chain --------------------------------------------------------------------------------------------------------


def test_seals_follow_each_other_and_hold_the_digests_of_their_rows(conn: Connection, shop_id: int) -> None:
    post(conn, shop_id, *"abcde")
    made = [sealing.seal(conn, shop_id, NOW, limit=2) for _ in range(4)]
    assert [one and (one.number, one.transactions) for one in made] == [(1, 2), (2, 2), (3, 1), None]
    head = GENESIS
    for seal in recorded.seals(conn, shop_id):
        rows = recorded.transactions(conn, shop_id, list(members_in(seal.members)))
        assert members_in(seal.members) == {row.id: digest(shop_id, row) for row in rows}
        assert (seal.previous_head, seal.head) == (head, head_after(head, seal.members))
        head = seal.head
    assert functools.reduce(operator.iadd, sealed(conn, shop_id), []) == ids(conn, shop_id)
    assert broken(conn, shop_id) == []


def test_a_shop_that_posted_nothing_is_not_sealed(conn: Connection, shop_id: int) -> None:
    other = make_shop(conn)
    post(conn, other, "a")
    assert sealing.seal(conn, shop_id, NOW) is None
    assert sealing.seal(conn, shop_id, NOW, whole=True) is None
    assert recorded.tip(conn, shop_id) == recorded.Tip()


def test_what_commits_after_a_higher_id_was_sealed_is_sealed_too(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        post(conn, shop_id, "first")
    with engine.connect() as slow, slow.begin():
        (late,) = post(slow, shop_id, "late").values()
        with unit_of_work(engine) as conn:
            (soon,) = post(conn, shop_id, "soon").values()
            assert late.id < soon.id
        assert seal_all(engine, shop_id, NOW) == 2
    assert seal_all(engine, shop_id, later(1)) == 1
    with unit_of_work(engine) as conn:
        assert sealed(conn, shop_id)[-1] == [late.id]
        assert sealing.seal(conn, shop_id, later(2)) is None
        assert broken(conn, shop_id) == []


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_left_behind_for_long_is_found_by_the_look_at_everything(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr(sealing, "LOOKED_AT_ONCE", 2)
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        # Accounts are open, or the second would wait for the first to have opened them.
        post(conn, shop_id, "first")
    with engine.connect() as slow, slow.begin() as open_:
        (late,) = post(slow, shop_id, "late").values()
        with unit_of_work(engine) as conn:
            post(conn, shop_id, *"abcd")
        assert seal_all(engine, shop_id, NOW) == 5
        open_.commit()
    day_later = TOMORROW
    with unit_of_work(engine) as conn:
        post(conn, shop_id, "e", now=day_later)
    assert seal_all(engine, shop_id, day_later) == 1, "a seal looks where units of work may have been open"
    found = seal_all(engine, shop_id, day_later, whole=whole)
    with unit_of_work(engine) as conn:
        assert found == (1 if whole else 0)
        (row,) = broken(conn, shop_id, now=day_later)
        assert (row["transaction_id"], row["key"], row["what"]) == (late.id, "late", "row added into the sealed range")


def test_sealing_goes_on_where_it_was_killed(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        post(conn, shop_id, *"abcdef")
        assert sealing.seal(conn, shop_id, NOW, limit=2)
    with engine.connect() as killed, killed.begin() as open_:
        assert sealing.seal(killed, shop_id, NOW, limit=2)
        open_.rollback()
    assert seal_all(engine, shop_id, NOW) == 4
    with unit_of_work(engine) as conn:
        assert functools.reduce(operator.iadd, sealed(conn, shop_id), []) == ids(conn, shop_id)
        assert broken(conn, shop_id) == []


def seal_slowly(engine: Engine, world: World) -> int:
    count = 0
    for _ in range(40):
        with unit_of_work(engine) as conn:
            made = sealing.seal(conn, world.shop_id, NOW, limit=3)
        count += made.transactions if made is not None else 0
    return count


def post_meanwhile(engine: Engine, world: World) -> int:
    for number in range(20):
        with unit_of_work(engine) as conn:
            post(conn, world.shop_id, f"more:{number}", f"other:{number}")
    return 40


def test_two_that_seal_at_once_seal_everything_once(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn)
        post(conn, world.shop_id, *(f"order:{number}" for number in range(50)))
    runners = [("seal", world), ("seal", world), ("post", world)]
    first, second, _ = race(engine, __file__, runners)
    rest = seal_all(engine, world.shop_id, NOW)
    assert first + second + rest == 90
    with unit_of_work(engine) as conn:
        members = sorted(functools.reduce(operator.iadd, sealed(conn, world.shop_id), []))
        assert members == ids(conn, world.shop_id)
        assert broken(conn, world.shop_id) == []


def test_the_chain_cannot_be_forked(conn: Connection, shop_id: int) -> None:
    post(conn, shop_id, "a")
    sealing.seal(conn, shop_id, NOW)
    with pytest.raises(Exception, match="pk_ledger_seals"), conn.begin_nested():
        execute(
            conn,
            """
            insert into ledger_seals select shop_id, number, first_id, last_id, transactions, members, previous_head,
                head, sealed_at from ledger_seals where shop_id = %(shop)s
            """,
            shop=shop_id,
        )


# --- anchors ----------------------------------------------------------------------------------------------------------


def lines_of(path: str) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_an_anchor_holds_every_seal_since_the_one_before(conn: Connection, shop_id: int, tmp_path: Path) -> None:
    assert anchoring.anchor(conn, shop_id, tmp_path, NOW) is None, "nothing was sealed yet"
    post(conn, shop_id, *"abc")
    sealing.seal(conn, shop_id, NOW, limit=2)
    sealing.seal(conn, shop_id, NOW)
    first = anchoring.anchor(conn, shop_id, tmp_path, NOW)
    assert first is not None
    assert (first.day, first.number) == (NOW.date(), 2)
    assert anchoring.anchor(conn, shop_id, tmp_path, later(5)) is None, "once a day"
    post(conn, shop_id, "d")
    sealing.seal(conn, shop_id, TOMORROW)
    second = anchoring.anchor(conn, shop_id, tmp_path, TOMORROW)
    assert second is not None
    header, *seals = lines_of(first.place)
    assert (header["shop_id"], header["day"], header["seal"], header["head"]) == (
        *(shop_id, "2024-03-04", 2),
        first.head.hex(),
    )
    assert [seal["seal"] for seal in seals] == [1, 2]
    assert [line["seal"] for line in lines_of(second.place)] == [3, 3]
    assert list(anchor_files.read(tmp_path, shop_id, NOW.date())) == list(recorded.seals(conn, shop_id))[:2]
    assert anchoring.latest(conn, shop_id) == second
    assert broken(conn, shop_id, tmp_path) == []


def test_a_day_without_postings_has_its_anchor_too(conn: Connection, shop_id: int, tmp_path: Path) -> None:
    post(conn, shop_id, "a")
    sealing.seal(conn, shop_id, NOW)
    for days in range(3):
        made = anchoring.anchor(conn, shop_id, tmp_path, NOW + timedelta(days=days))
        assert made is not None
        assert len(lines_of(made.place)) == (2 if days == 0 else 1)
    assert broken(conn, shop_id, tmp_path) == []


def test_a_file_whose_day_was_not_put_on_record_is_written_again_with_what_came_since(
    conn: Connection, shop_id: int, tmp_path: Path
) -> None:
    post(conn, shop_id, "a")
    sealing.seal(conn, shop_id, NOW)
    with conn.begin_nested() as undone:
        anchoring.anchor(conn, shop_id, tmp_path, NOW)
        undone.rollback()
    verifier = Verifier(conn, shop_id, tmp_path, NOW)
    assert list(verifier.run()) == []
    assert verifier.notes == [f"the anchor of shop {shop_id} of 2024-03-04 is there and not on record in the database"]
    post(conn, shop_id, "b")
    sealing.seal(conn, shop_id, NOW)
    made = anchoring.anchor(conn, shop_id, tmp_path, NOW)
    assert made is not None
    assert made.number == 2
    assert broken(conn, shop_id, tmp_path) == []


def test_a_file_of_a_day_before_is_put_on_record_later(conn: Connection, shop_id: int, tmp_path: Path) -> None:
    post(conn, shop_id, "a")
    sealing.seal(conn, shop_id, NOW)
    with conn.begin_nested() as undone:
        anchoring.anchor(conn, shop_id, tmp_path, NOW)
        undone.rollback()
    post(conn, shop_id, "b")
    sealing.seal(conn, shop_id, TOMORROW)
    made = anchoring.anchor(conn, shop_id, tmp_path, TOMORROW)
    assert made is not None
    assert len(lines_of(made.place)) == 2
    assert scalar(conn, "select count(*) from ledger_anchors where shop_id = %(shop)s", shop=shop_id) == 2
    verifier = Verifier(conn, shop_id, tmp_path, TOMORROW)
    assert (list(verifier.run()), verifier.notes) == ([], [])


def test_a_file_that_holds_another_chain_is_kept(conn: Connection, shop_id: int, tmp_path: Path) -> None:
    other = make_shop(conn)
    for shop in (shop_id, other):
        post(conn, shop, "a")
        sealing.seal(conn, shop, NOW)
    made = anchoring.anchor(conn, other, tmp_path, NOW)
    assert made is not None
    path = anchor_files.path_of(tmp_path, shop_id, NOW.date())
    path.parent.mkdir()
    path.write_bytes(Path(made.place).read_bytes())
    before = path.read_bytes()
    with pytest.raises(AnchorDiffers):
        anchoring.anchor(conn, shop_id, tmp_path, NOW)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    with pytest.raises(AnchorDiffers):
        anchoring.anchor(conn, shop_id, tmp_path, TOMORROW)


def test_no_anchor_is_written_of_a_chain_that_is_torn(conn: Connection, shop_id: int, tmp_path: Path) -> None:
    post(conn, shop_id, *"ab")
    sealing.seal(conn, shop_id, NOW, limit=1)
    first = next(recorded.seals(conn, shop_id))
    sealing.seal(conn, shop_id, NOW)
    header = anchor_files.Header(shop_id, "x", NOW.date(), NOW, 0, bytes(31) + b"\1", 2, first.head)
    with pytest.raises(ChainIsTorn):
        anchor_files.write(tmp_path, header, recorded.seals(conn, shop_id))
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_cut_file_says_so(conn: Connection, shop_id: int, tmp_path: Path) -> None:
    post(conn, shop_id, *"ab")
    sealing.seal(conn, shop_id, NOW, limit=1)
    sealing.seal(conn, shop_id, NOW)
    made = anchoring.anchor(conn, shop_id, tmp_path, NOW)
    assert made is not None
    path = Path(made.place)
    path.chmod(0o600)
    whole = path.read_text()
    for text in (whole[:-20], whole[: whole.rindex("\n", 0, -1) + 1], "[]\n", "", whole.replace("A", "B", 1)):
        path.write_text(text)
        with pytest.raises(AnchorIsBroken, match="fetch it from a copy"):
            list(anchor_files.read(tmp_path, shop_id, NOW.date()))
        assert {row["day"] for row in broken(conn, shop_id, tmp_path)} == {NOW.date()}


def test_the_mailed_report_carries_the_head(conn: Connection, shop_id: int, tmp_path: Path) -> None:
    for is_anchored in (False, True):
        day = NOW.date() + timedelta(days=is_anchored)
        now = NOW + timedelta(days=1 + is_anchored)
        if is_anchored:
            post(conn, shop_id, "a", now=now)
            sealing.seal(conn, shop_id, now)
            anchoring.anchor(conn, shop_id, tmp_path, now)
        report = reports.build(conn, shop_id, day, reports.CLOCK, now).report
        text = telling.text_of(conn, report, "http://x")
        head = recorded.tip(conn, shop_id).head.hex()
        assert (f"Ledger head: seal 1, {head}" in text) is is_anchored


if __name__ == "__main__":
    play({"seal": seal_slowly, "post": post_meanwhile})


def test_what_is_anchored_while_the_chain_is_verified_is_not_taken_for_a_change(engine: Engine, tmp_path: Path) -> None:
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        post(conn, shop_id, "a")
        sealing.seal(conn, shop_id, NOW)
        anchoring.anchor(conn, shop_id, tmp_path, NOW)
    seen = anchor_files.heads(tmp_path)
    with read_only(engine) as early:
        assert scalar(early, "select count(*) from ledger_seals") == 1
        with unit_of_work(engine) as conn:
            post(conn, shop_id, "b")
            sealing.seal(conn, shop_id, TOMORROW)
            anchoring.anchor(conn, shop_id, tmp_path, TOMORROW)
        verifier = Verifier(early, shop_id, tmp_path, TOMORROW, seen=seen)
        assert list(verifier.run()) == []
        assert "written while it was verified" in verifier.notes[0]
    with read_only(engine) as later:
        assert list(Verifier(later, shop_id, tmp_path, TOMORROW, seen=anchor_files.heads(tmp_path)).run()) == []
