"""Files at the desk: what is read, what is refused and where, what a dry run shows, and that a file is booked once."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from sqlalchemy import Connection, Engine

from core.db import execute, scalar, unit_of_work
from core.desk import counting, documents, files, rows, sheets
from core.desk.files import AlreadyLoaded, BadFile
from core.desk.rows import Wanted
from core.desk.sheets import UnreadableFile
from tests.desks import CLERK, Desk, make_desk
from tests.factories import NOW, later, make_sku, set_row

CODES = {alias for aliases in rows.ALIASES.values() for alias in aliases}


def xlsx(*lines: Sequence[Any]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for line in lines:
        sheet.append(list(line))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def csv(*lines: str, end: str = "\n") -> bytes:
    return (end.join(lines) + end).encode()


def load(desk: Desk, data: bytes, act: Any = "receive", **more: Any) -> list[Any]:
    wanted = Wanted(act, **{"location_id": desk.main_id, **more})
    return files.apply(desk.conn, desk.shop_id, wanted, "file.csv", data, CLERK, NOW)


def problems(desk: Desk, data: bytes, act: Any = "receive", **more: Any) -> list[str]:
    with pytest.raises(BadFile) as error:
        load(desk, data, act, **more)
    return [str(problem) for problem in error.value.problems]


# --- what is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        csv("sku,units", "MUG,3", "CUP,2"),
        csv("Units;SKU", "3;MUG", "2;CUP"),
        csv("code\tqty\tcolour", "MUG\t3\tred", "CUP\t2\t"),
        csv("sku,units", "MUG,3", "CUP,2", end="\r\n"),
        b"\xef\xbb\xbf" + csv("sku,units", "MUG,3", "CUP,2"),
        csv("sep=;", "sku;units", "MUG;3", "CUP;2"),
        csv("", "SKU Code,Quantity", "", "MUG,1", "MUG,2", ",", "CUP,2"),
        csv('"sku","units"', '"MUG","3"', '"CUP","2"'),
        "sku,units,note\nMUG,3,Grün\nCUP,2,“x”\n".encode("cp1252"),
        xlsx(("SKU", "Units"), ("MUG", 3), ("CUP", 2.0)),
        xlsx((None,), ("Units", None, "code"), (3, None, "MUG"), (None, None, None), ("2", None, "CUP")),
    ],
    ids=["comma", "semicolon", "tab", "crlf", "bom", "sep", "blank", "quoted", "cp1252", "xlsx", "xlsx-gaps"],
)
def test_a_table_is_read_whatever_its_dress(desk: Desk, data: bytes) -> None:
    (done,) = load(desk, data)
    assert (done.units, desk.level("MUG")[0], desk.level("CUP")[0]) == (5, 13, 7)


def test_numbers_as_codes_and_barcodes_are_words(desk: Desk) -> None:
    make_sku(desk.conn, desk.shop_id, "22423")
    set_row(desk.conn, "skus", desk.world.skus["MUG"], barcode="5012345678900")
    load(desk, xlsx(("sku", "ean", "qty"), (22423, None, 2), (None, 5012345678900, 3)))
    assert desk.level("MUG")[0] == 13


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1.000", "can be read in two ways"),
        ('"1,000"', "can be read in two ways"),
        ("1 000", "can be read in two ways"),
        ("2.5", "no whole number"),
        ('"2,5"', "no whole number"),
        ("12 pcs", "is no number"),
        ("1e3", "is no number"),
        ("٣", "is no number"),
        ("", "is empty"),
        ("0", "at least 1"),
        ("-3", "at least 1"),
        ("5012345678900", "is it a barcode?"),
        ("=A1+1", "is a formula"),
    ],
)
def test_units_that_could_be_misread_are_refused_with_their_place(desk: Desk, text: str, words: str) -> None:
    (said,) = problems(desk, csv("sku,units", "CUP,1", f"MUG,{text}"))
    assert said.startswith("row 3, units: ")
    assert words in said
    assert desk.level("CUP")[0] == 5


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("=1+1", "is a formula: copy the column and paste it as values"),
        (2.5, "no whole number"),
        (True, "is true or false"),
        (date(2024, 3, 1), "is a date or a time"),
        ("1.000", "can be read in two ways"),
    ],
)
def test_cells_of_a_spreadsheet_that_are_no_numbers_are_refused(desk: Desk, value: Any, words: str) -> None:
    (said,) = problems(desk, xlsx(("SKU", "Units"), ("MUG", value)))
    assert said.startswith("row 2, Units: ")
    assert words in said


def test_a_number_too_long_for_a_spreadsheet_is_no_barcode(desk: Desk) -> None:
    (said,) = problems(desk, xlsx(("barcode", "Units"), (12345678901234567890, 1)))
    assert "too long for a spreadsheet to keep exactly" in said


def test_a_zero_byte_is_named_at_its_cell(desk: Desk) -> None:
    (said,) = problems(desk, b"sku,units\nMUG,1\nC\0UP,1\n")
    assert said.startswith("row 3, sku: ")
    assert "has a character that no text can have" in said


def test_every_error_is_told_at_once_by_row_and_column(desk: Desk) -> None:
    data = csv("SKU,Qty,Location", "MUG,1,Main", "mug,1,Main", ",2,Main", "CUP,x,Main", "CUP,1,Attic", "CUP,1,Main,3")
    assert problems(desk, data) == [
        "row 4, SKU: names no SKU: fill it in, or delete the row",
        "row 5, Qty: “x” is no number: write digits only, such as 12",
        "row 7: there are more cells than columns: is a separator inside a number or a reason?",
        "row 3, SKU: “mug” is no SKU code and no barcode of ours: codes are compared exactly.",
        "row 6, location: there is no location “Attic”: there is Main, Yard",
    ]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("Handle,Title", ["no column names the SKU", "no column has the units"]),
        ("sku,units,qty", ["“units” and “qty” both mean units"]),
        ("units,reason", ["no column names the SKU"]),
    ],
)
def test_columns_that_are_missing_or_double_are_named(desk: Desk, head: str, words: list[str]) -> None:
    said = problems(desk, csv(head, "MUG,1,1"))
    assert len(said) == len(words)
    assert all(expected in text for expected, text in zip(words, said, strict=True))


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", b"0" * 70_000_000)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no table"),
        (b"sku,units\n", "no row below them"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel file"),
        (b"%PDF-1.7", "is a PDF"),
        (b"PK\x03\x04 not really", "not a readable .xlsx"),
        ("sku,units\nMUG,1\n".encode("utf-16"), "UTF-16"),
        (b"sku,units\n" + b"M\0G,1\n" * 9, "neither CSV nor"),
        (b"sku,units\nM\x81G,1\n", "neither UTF-8 nor Windows"),
        (b'sku,units\n"MUG,1\nCUP,2\n', "quotation mark"),
        (b"sku,units\n" + b"MUG,1\n" * 5001, "more than 5,000 rows"),
        (b"x" * 5_000_001, "at most 5 MB"),
        (b",".join([b"sku"] * 201) + b"\nx\n", "201 columns"),
    ],
)
def test_a_file_that_is_no_table_is_refused_whole(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableFile, match=words):
        sheets.read("file.csv", data, CODES)


def workbook() -> bytes:
    return xlsx(("SKU", "units"), *((f"A{n}", n) for n in range(50)))


def damaged_zip(seed: int) -> bytes:
    """A workbook with a few of its packed bytes changed, or cut off."""
    chance, data = random.Random(seed), bytearray(workbook())
    if seed % 10 == 0:
        return bytes(data[: chance.randrange(4, len(data))])
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        data[chance.randrange(4, len(data))] = chance.randrange(256)
    return bytes(data)


def damaged_parts(seed: int) -> bytes:
    """A workbook with a few bytes changed, or cut off, in one of the files that are packed in it."""
    chance, out = random.Random(seed), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook())) as good, zipfile.ZipFile(out, "w") as bad:
        chosen = chance.choice([name for name in good.namelist() if not name.startswith("docProps")])
        for name in good.namelist():
            data = bytearray(good.read(name))
            if name == chosen and seed % 10 == 0:
                del data[chance.randrange(len(data)) :]
            elif name == chosen:
                for _ in range(chance.choice((1, 2, 5, 20))):
                    data[chance.randrange(len(data))] = chance.randrange(256)
            bad.writestr(name, bytes(data))
    return out.getvalue()


def damaged_csv(seed: int) -> bytes:
    chance = random.Random(seed)
    data = bytearray(csv(*chance.choice((("sku,units", "MUG,3"), ("sep=;", "sku;units", "MUG;3"), ('"sku"', '"MUG"')))))
    for _ in range(chance.choice((1, 2, 5))):
        data[chance.randrange(len(data))] = chance.choice(b'",;=\r\n\t\x1f\x80\xff a')
    return bytes(data)


@pytest.mark.parametrize("damaged", [damaged_zip, damaged_parts, damaged_csv])
def test_a_damaged_file_is_read_or_refused_and_never_fails(damaged: Callable[[int], bytes]) -> None:
    refused, failed = 0, {}
    for seed in range(400):
        try:
            sheets.read("file", damaged(seed), CODES)
        except UnreadableFile:
            refused += 1
        except Exception as error:
            failed[seed] = f"{type(error).__name__}: {error}"[:120]
    assert not failed
    assert 0 < refused < 400


def packed_as(offset: int, value: int) -> bytes:
    """A workbook whose list of files says something else at that offset of each."""
    data = bytearray(workbook())
    for entry in re.finditer(rb"PK\x01\x02", bytes(data)):
        data[entry.start() + offset] = value
    return bytes(data)


ENCRYPTED, PACKED_UNKNOWN = packed_as(8, 1), packed_as(10, 99)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ENCRYPTED, "not a readable .xlsx file: open it, save it again"),
        (PACKED_UNKNOWN, "not a readable .xlsx file: open it, save it again"),
        (b"a" * 700_000, "cell of more than"),
        (b'"' + b"a" * 700_000 + b'",units\nMUG,1\n', "cell of more than"),
        (b"sku,units\n" + b"a" * 700_000 + b",1\n", "cell of more than"),
        (b'sep="\nsku"units\nMUG"1\n', "names no separator"),
        (b"sep=a\nskuaunits\nMUGa1\n", "names no separator"),
        (b'"sku\n', "quotation mark"),
    ],
)
def test_what_a_reader_would_fail_at_is_said_in_words(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableFile, match=words):
        sheets.read("file", data, CODES)


def test_a_file_that_unpacks_to_too_much_is_not_unpacked() -> None:
    with pytest.raises(UnreadableFile, match="unpacks to more"):
        sheets.read("file.xlsx", bomb(), CODES)


def test_a_zip_that_is_no_workbook_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("a.txt", "sku,units")
    with pytest.raises(UnreadableFile, match="not a readable"):
        sheets.read("file.xlsx", out.getvalue(), CODES)


def test_catalogue_files_of_shops_are_no_deliveries_and_say_so(desk: Desk, shared_dir: Path) -> None:
    """Files made for other purposes: each is refused with sentences that name row and column, never half booked."""
    found = sorted((shared_dir / "data" / "imports").glob("*.csv"))
    assert found
    for path in found:
        with pytest.raises(BadFile) as error:
            load(desk, path.read_bytes())
        assert all(str(problem) for problem in error.value.problems)
    assert scalar(desk.conn, "select count(*) from stock_documents where shop_id = %(s)s", s=desk.shop_id) == 0


# --- what is done ------------------------------------------------------------------------------------------------


def test_a_file_is_booked_once_says_by_whom_and_again_after_its_undo(desk: Desk) -> None:
    data = csv("sku,units", "MUG,3")
    (done,) = load(desk, data)
    with pytest.raises(AlreadyLoaded, match=rf"by Bea on 04 Mar 2024 at 12:00 UTC as document {done.document_id}"):
        load(desk, data)
    load(desk, data, "adjust")
    desk.undo(done.document_id)
    (again,) = load(desk, data)
    assert (again.is_new, desk.level("MUG")[0]) == (True, 16)
    with pytest.raises(AlreadyLoaded):
        load(desk, data)


def test_rows_of_several_locations_are_a_document_each_in_one_unit_of_work(desk: Desk) -> None:
    done = load(desk, csv("sku,units,location", "MUG,3,Main", "MUG,4,Yard", "CUP,1,"))
    assert [outcome.units for outcome in done] == [4, 4]
    assert (desk.level("MUG")[0], desk.level("MUG", desk.yard_id)[0]) == (13, 4)


def test_an_adjustment_keeps_the_reason_of_each_row(desk: Desk) -> None:
    load(desk, csv("sku,change,reason", "MUG,-2,broken", "CUP,+1,found"), "adjust")
    assert (desk.level("MUG")[0], desk.level("CUP")[0]) == (8, 6)
    assert scalar(desk.conn, "select note from stock_movements where reason = 'adjustment' and delta_units = -2 and "
                             "shop_id = %(s)s", s=desk.shop_id) == "broken"  # fmt: skip


def test_a_counted_file_waits_for_its_approval(desk: Desk) -> None:
    (done,) = load(desk, csv("sku,counted", "MUG,7", "CUP,0", "MUG,1"), "count")
    assert (desk.level("MUG")[0], desk.variances(done.document_id)) == (10, {"MUG": -2, "CUP": -5})
    desk.approve(done.document_id)
    assert (desk.level("MUG")[0], desk.level("CUP")[0]) == (8, 0)


def test_a_transfer_file_is_drafted_and_waits_to_be_sent(desk: Desk) -> None:
    (done,) = load(desk, csv("sku,units,from,to", "MUG,3,Main,Yard"), "transfer")
    assert (desk.state(done.document_id), desk.level("MUG")[0]) == ("draft", 10)
    assert problems(desk, csv("sku,units", "MUG,3"), "transfer") == [
        "row 2, to: is empty: name the location, or choose one for the whole file"
    ]
    assert "goes where it is already" in problems(desk, csv("sku,units,to", "MUG,3,Main"), "transfer")[0]


def test_returns_of_orders_and_of_none_in_one_file(desk: Desk) -> None:
    desk.sell("1", units=3, shipped=2)
    data = csv("order,sku,qty,disposition", "#1,MUG,1,restock", "1,MUG,1,Quarantine", ",CUP,1,write off")
    load(desk, data, "return")
    assert desk.level("MUG") == (10, 1, 0, 8)
    assert desk.level("CUP")[0] == 5


def test_what_cannot_come_back_is_told_by_row(desk: Desk) -> None:
    desk.sell("1", units=3, shipped=2)
    data = csv("order,sku,qty,disposition", "1,MUG,2,restock", "1,MUG,1,restock", "2,MUG,1,restock", "1,CUP,1,scrap",
               "1,MUG,1,burn", ",MUG,1,")  # fmt: skip
    assert problems(desk, data, "return") == [
        "row 6, disposition: “burn” is none: write restock, quarantine or write off",
        "row 7, disposition: is empty: write restock, quarantine or write off",
        "row 3, units: 1 of MUG cannot come back of order 1: 2 left, 2 came back over the desk already",
        "row 4, order: there is no order “2” with goods of ours",
        "row 5, sku: order 1 has no CUP",
    ]


def test_a_bundle_in_a_count_is_told_by_row(desk: Desk) -> None:
    assert (
        "row 3, sku: SET is a bundle and cannot be counted"
        in problems(desk, csv("sku,units", "MUG,1", "SET,1"), "count")[0]
    )


def test_a_delivery_is_told_off_against_its_purchase_order(desk: Desk) -> None:
    order = desk.order_goods({"MUG": 5}).document_id
    (done,) = load(desk, csv("sku,units", "MUG,3"), against_id=order)
    assert done.notes == ["MUG: 2 still outstanding."]


# --- the dry run -------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(engine: Engine) -> Desk:
    """A desk whose rows are committed; its connection is not used."""
    with unit_of_work(engine) as conn:
        return make_desk(conn)


CHANGES: Mapping[str, tuple[str, list[tuple[str, int, int]]]] = {
    "receive": ("MUG,3", [("MUG", 10, 13)]),
    "adjust": ("MUG,-3", [("MUG", 10, 7)]),
    "count": ("MUG,8", [("MUG", 10, 8)]),
    "transfer": ("MUG,4", [("MUG", 10, 6), ("MUG", 0, 0)]),
    "return": ("MUG,2", [("MUG", 10, 12)]),
}


@pytest.mark.parametrize("act", CHANGES)
def test_a_dry_run_shows_what_would_change_and_changes_nothing(engine: Engine, kept: Desk, act: Any) -> None:
    line, expected = CHANGES[act]
    wanted = Wanted(act, kept.main_id, kept.yard_id, "restock")
    found = files.dry_run(engine, kept.shop_id, wanted, "f.csv", csv("sku,units,colour", line), CLERK, NOW)
    assert list(found.problems) == []
    assert [(c.code, c.before.on_hand, c.after.on_hand) for o in found.outcomes for c in o.changes] == expected
    assert "Columns not used: “colour”." in found.notes
    assert (found.rows, found.skus) == (1, 1)
    with engine.connect() as conn:
        assert scalar(conn, "select count(*) from stock_documents") == 0
        assert scalar(conn, "select sum(on_hand) from stock_levels where location_id = %(p)s", p=kept.main_id) == 15


def test_a_dry_run_says_what_the_act_would_be_refused_with(engine: Engine, kept: Desk) -> None:
    wanted = Wanted("adjust", kept.main_id)
    found = files.dry_run(engine, kept.shop_id, wanted, "f.csv", csv("sku,units", "MUG,-30"), CLERK, NOW)
    assert [str(p) for p in found.problems] == [
        "MUG: 10 on hand, so 30 cannot be taken off. Count it if the record is wrong."
    ]
    transfer = Wanted("transfer", kept.main_id, kept.yard_id)
    found = files.dry_run(engine, kept.shop_id, transfer, "f.csv", csv("sku,units", "MUG,30"), CLERK, NOW)
    assert "20 of MUG are sold or promised" in str(found.problems[0])


def test_a_dry_run_of_a_file_that_was_booked_says_so(engine: Engine, kept: Desk) -> None:
    wanted, data = Wanted("receive", kept.main_id), csv("sku,units", "MUG,1")
    with unit_of_work(engine) as conn:
        files.apply(conn, kept.shop_id, wanted, "f.csv", data, CLERK, NOW)
    found = files.dry_run(engine, kept.shop_id, wanted, "f.csv", data, CLERK, later(9))
    assert "was booked by Bea" in str(found.problems[0])


def test_a_file_with_very_many_errors_says_how_many(desk: Desk) -> None:
    said = problems(desk, csv("sku,units", *(f"NOPE{n},1" for n in range(600))))
    assert (len(said), said[-1]) == (501, "and 100 more errors like these")


def test_a_cancelled_draft_may_be_loaded_again(desk: Desk) -> None:
    data = csv("sku,units,to", "MUG,3,Yard")
    (done,) = load(desk, data, "transfer")
    documents.cancel_transfer(desk.conn, desk.shop_id, done.document_id, CLERK, NOW)
    assert load(desk, data, "transfer")[0].is_new


def test_a_thousand_rows_are_booked_as_one(conn: Connection) -> None:
    desk = make_desk(conn)
    execute(
        conn,
        """
        insert into skus (shop_id, code, title, is_stocked, created_at)
        select %(shop)s, 'S' || n, 'S' || n, true, %(now)s from generate_series(1, 1000) n
        """,
        shop=desk.shop_id,
        now=NOW,
    )
    (done,) = load(desk, csv("sku,units", *(f"S{n},{n}" for n in range(1, 1001))))
    assert (done.skus, done.units, len(done.changes)) == (1000, 500_500, 1000)
    assert counting.open_count(conn, desk.shop_id, desk.main_id, "c", CLERK, NOW).skus == 1002
    assert desk.broken() == []
