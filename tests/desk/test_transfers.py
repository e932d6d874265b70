"""Transfers: drafted, sent, received, lost, cancelled; between which the goods are on their way and nowhere else."""

from __future__ import annotations

import pytest

from core.desk import documents
from core.desk.booking import SoldMeanwhile
from core.errors import BadInput
from tests.desks import CLERK, Desk
from tests.factories import NOW, listing_of, moved


def test_a_draft_moves_nothing_and_says_what_is_not_there(desk: Desk) -> None:
    done = desk.draft({"MUG": 12})
    assert done.notes == ["MUG: 10 available, 12 on the transfer."]
    assert desk.levels() == {
        (desk.world.skus["MUG"], desk.main_id): (10, 0, 0, 0),
        (desk.world.skus["CUP"], desk.main_id): (5, 0, 0, 0),
    }


def test_what_is_sent_has_left_and_is_incoming_until_it_is_received(desk: Desk) -> None:
    transfer = desk.draft({"MUG": 4}).document_id
    desk.send(transfer)
    assert (desk.level("MUG"), desk.level("MUG", desk.yard_id)) == ((6, 0, 0, 6), (0, 0, 4, 0))
    assert listing_of(desk.conn, desk.world, "MUG")["desired_units"] == 6
    desk.receive({"MUG": 3}, at=desk.yard_id, against_id=transfer)
    assert (desk.level("MUG", desk.yard_id), desk.state(transfer)) == ((3, 0, 1, 3), "sent")
    desk.receive({"MUG": 1}, at=desk.yard_id, against_id=transfer)
    assert (desk.level("MUG", desk.yard_id), desk.state(transfer)) == ((4, 0, 0, 4), "done")
    assert moved(desk.conn, desk.world, "MUG") == {"receipt": 10, "relocation": 0}


def test_it_is_sent_once(desk: Desk) -> None:
    transfer = desk.draft({"MUG": 4}).document_id
    assert desk.send(transfer).is_new
    again = desk.send(transfer)
    assert (again.is_new, again.by, desk.level("MUG")) == (False, "Bea", (6, 0, 0, 6))


def test_what_is_sold_does_not_leave(desk: Desk) -> None:
    desk.sell("1", units=8)
    transfer = desk.draft({"MUG": 4, "CUP": 1}).document_id
    with pytest.raises(SoldMeanwhile, match="2 of MUG") as error, desk.conn.begin_nested():
        desk.send(transfer)
    assert error.value.shortages == {"MUG": 2}
    assert (desk.level("CUP"), desk.state(transfer)) == ((5, 0, 0, 5), "draft")


def test_a_bundle_is_transferred_as_its_parts(desk: Desk) -> None:
    transfer = desk.sent({"SET": 2})
    assert (desk.level("MUG", desk.yard_id)[2], desk.level("CUP", desk.yard_id)[2]) == (4, 2)
    desk.receive({"SET": 2}, at=desk.yard_id, against_id=transfer)
    assert desk.state(transfer) == "done"


def test_a_draft_is_cancelled_and_what_left_is_not(desk: Desk) -> None:
    draft = desk.draft({"MUG": 4}).document_id
    assert desk.cancel(draft).is_new
    assert not desk.cancel(draft).is_new
    with pytest.raises(BadInput, match="is cancelled: write a new one"):
        desk.send(draft)
    sent = desk.sent({"MUG": 4})
    with pytest.raises(BadInput, match="has left: receive it, close it as lost, or undo it"):
        desk.cancel(sent)


def test_what_is_lost_is_closed_with_a_reason_and_incoming_no_more(desk: Desk) -> None:
    transfer = desk.sent({"MUG": 4})
    desk.receive({"MUG": 3}, at=desk.yard_id, against_id=transfer)
    done = desk.close(transfer)
    assert (done.units, desk.level("MUG", desk.yard_id), desk.state(transfer)) == (1, (3, 0, 0, 3), "done")
    with pytest.raises(BadInput, match="is closed"):
        desk.receive({"MUG": 1}, at=desk.yard_id, against_id=transfer)


def test_a_draft_cannot_be_lost_nor_received(desk: Desk) -> None:
    draft = desk.draft({"MUG": 4}).document_id
    with pytest.raises(BadInput, match="cancel it instead"):
        desk.close(draft)
    with pytest.raises(BadInput, match="has not left yet: send it first"):
        desk.receive({"MUG": 4}, at=desk.yard_id, against_id=draft)


def test_a_transfer_goes_elsewhere(desk: Desk) -> None:
    with pytest.raises(BadInput, match="two different ones"):
        documents.draft_transfer(
            desk.conn, desk.shop_id, desk.main_id, desk.main_id, desk.items({"MUG": 1}), "f", CLERK, NOW
        )
