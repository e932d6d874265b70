"""The shared file split among 50 sellers, 20 creators and 5 referrers: every party's pence by month, held against a
plain script over the CSV (`split_by_hand`), and against the ledger."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import zlib
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from core.clock import utc_now
from core.commissions import editing, releasing
from core.commissions.rules import Assignment, Rule
from core.commissions.windows import refresh_windows
from core.db import execute, fetch, scalar, unit_of_work
from tests.acceptance import split_by_hand
from tests.acceptance.booked_file import book_file
from tests.factories import ACTOR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FILE = "orders/online_retail_2010-12-01_2011-07-19.csv.gz"
SEED = 20_101_201
SELLERS = [f"S{number:02d}" for number in range(50)]
CREATORS = [f"C{number:02d}" for number in range(20)]
REFERRERS = [f"R{number}" for number in range(5)]
CATEGORIES = [f"cat-{number}" for number in range(6)]
LONDON = ZoneInfo("Europe/London")

Told = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Month -> share -> party -> pence."""


def rule_set(path: Path) -> dict[str, Any]:
    """Who sells and promotes what, and for how much: drawn by a seed, in the words of the plain script."""
    chance = random.Random(SEED)
    lines = [line for _, lines in split_by_hand.read(str(path)) for line in lines]
    codes = sorted({line[0] for line in lines})
    customers = sorted({line[5] for line in lines if line[5]})
    fee, creator = "platform_fee", "creator_commission"
    skus = chance.sample(codes, 10)
    rules = [
        _rule(fee, 0, {}, percent="12"),
        _rule(fee, 2, {"seller": "S03"}, percent="8.5"),
        _rule(fee, 2, {"seller": "S07"}, tiers=[[0, "14"], [200_000, "11"], [1_000_000, "9.25"]]),
        _rule(fee, 2, {"seller": "S11"}, percent="10", kept=True),
        _rule(fee, 2, {"seller": "S12"}, percent="13"),
        # Of one scope: the one that began to hold last wins while it holds.
        _rule(fee, 2.5, {"seller": "S12", "from": "2011-02-01 00:00:00", "to": "2011-03-15 00:00:00"}, percent="5"),
        _rule(fee, 4, {"category": "cat-2"}, percent="15.333"),
        _rule(fee, 6, {"category": "cat-4", "seller": "S20"}, pence=7),
        *(_rule(fee, 16, {"sku": sku}, percent="20") for sku in skus),
        _rule(creator, 0, {}, percent="7"),
        _rule(creator, 4, {"category": "cat-1"}, percent="6", borne_by="platform"),
        _rule(creator, 8, {"payee": "C03"}, percent="9.1"),
        _rule(creator, 8, {"payee": "C05"}, tiers=[[0, "5"], [50_000, "8"]]),
        _rule("referrer_fee", 0, {}, percent="1.5", borne_by="platform"),
        _rule("referrer_fee", 8, {"payee": "R4"}, pence=2),
        _rule("channel_fee", 0, {}, percent="2.4", kept=True),
    ]
    return {
        "sellers": {code: chance.choice(SELLERS) for code in codes if chance.random() < 0.95},
        "categories": {code: chance.choice(CATEGORIES) for code in codes if chance.random() < 0.9},
        "creators": {code: chance.choice(CREATORS) for code in codes if chance.random() < 0.3},
        "category_creators": {"cat-5": "C09"},
        "referrers": {customer: chance.choice(REFERRERS) for customer in customers if chance.random() < 0.4},
        "rules": rules,
    }


def _rule(kind: str, rank: float, when: dict[str, str], **terms: Any) -> dict[str, Any]:
    form = "fixed" if "pence" in terms else "tiered" if "tiers" in terms else "percent"
    return {"kind": kind, "rank": rank, "when": when, "form": form, **terms}


def save(engine: Engine, shop_id: int, told: Mapping[str, Any]) -> dict[int, str]:
    """The same rule set in our tables; returns the code of each party."""
    now = datetime(2010, 1, 1, tzinfo=UTC)
    with unit_of_work(engine) as conn:
        rows = fetch(conn, "select id, code from skus where shop_id = %(s)s", s=shop_id)
        skus = {row["code"]: row["id"] for row in rows}
        execute(
            conn,
            """
            update skus k set category = n.category from unnest(%(codes)b::text[], %(categories)b::text[])
                as n (code, category) where k.shop_id = %(shop)s and k.code = n.code
            """,
            shop=shop_id,
            codes=list(told["categories"]),
            categories=list(told["categories"].values()),
        )
        kinds: dict[str, editing.PartyKind] = {"S": "brand_shop", "C": "creator", "R": "referrer"}
        ids = {
            code: editing.add_party(conn, shop_id, kinds[code[0]], code, f"Party {code}", ACTOR, now)
            for code in (*SELLERS, *CREATORS, *REFERRERS)
        }
        assignments = [
            *(Assignment(0, "seller", ids[party], sku_id=skus[code]) for code, party in told["sellers"].items()),
            *(Assignment(0, "creator", ids[party], sku_id=skus[code]) for code, party in told["creators"].items()),
            *(Assignment(0, "creator", ids[p], category=c) for c, p in told["category_creators"].items()),
            *(Assignment(0, "referrer", ids[p], customer_ref=c) for c, p in told["referrers"].items()),
        ]
        rules = [_ours(one, ids, skus) for one in told["rules"]]
        editing.save(conn, shop_id, ACTOR, now, rules=rules, assignments=assignments)
    return {number: code for code, number in ids.items()}


def _ours(told: Mapping[str, Any], ids: Mapping[str, int], skus: Mapping[str, int]) -> Rule:
    when = told["when"]
    return Rule(
        0,
        told["kind"],
        "item",
        {"percent": "percentage"}.get(told["form"], told["form"]),
        seller_id=ids.get(when.get("seller", "")),
        payee_id=ids.get(when.get("payee", "")),
        category=when.get("category"),
        sku_id=skus.get(when.get("sku", "")),
        rate_ppm=_ppm(told.get("percent", "0")),
        fixed_minor=told.get("pence", 0),
        currency="GBP" if told["form"] != "percent" else None,
        tiers=tuple((begins, _ppm(percent)) for begins, percent in told.get("tiers", ())),
        borne_by=told.get("borne_by", "seller"),
        on_refund="kept" if told.get("kept") else "returned",
        valid_from=_moment(when.get("from")),
        valid_to=_moment(when.get("to")),
    )


def _ppm(percent: str) -> int:
    return int(float(percent) * 10_000 + 0.5)


def _moment(text: str | None) -> datetime | None:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=LONDON) if text else None


def every(step: int, source: Path, folder: Path) -> Path:
    """The file, or every so manyth invoice of it with all its lines."""
    if step == 1:
        return source
    path = folder / "invoices.csv"
    with gzip.open(source, "rt", encoding="utf-8", newline="") as whole, path.open("w", encoding="utf-8") as part:
        part.write(whole.readline())
        part.writelines(line for line in whole if zlib.crc32(line.partition(",")[0].encode()) % step == 0)
    return path


def revenue_of(path: Path) -> Decimal:
    """What all lines come to in pence, exactly."""
    return sum(
        (Decimal(line[1]) * line[2] * 100 for _, lines in split_by_hand.read(str(path)) for line in lines), Decimal()
    )


@pytest.mark.parametrize("step", [pytest.param(10, id="tenth"), pytest.param(1, id="whole", marks=pytest.mark.long)])
def test_every_party_earns_by_month_what_a_plain_script_says(
    engine: Engine, shared_dir: Path, tmp_path: Path, step: int
) -> None:
    path = every(step, shared_dir / "data" / FILE, tmp_path)
    told = rule_set(path)
    (tmp_path / "rules.json").write_text(json.dumps(told), encoding="utf-8")
    command = [sys.executable, split_by_hand.__file__, str(path), str(tmp_path / "rules.json")]
    script = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    codes: dict[int, str] = {}
    for world, _ in book_file(engine, path, before=lambda shop_id: codes.update(save(engine, shop_id, told))):
        shop_id = world.shop_id
    said = json.loads(script.communicate()[0])

    assert differences(said["months"], booked(engine, shop_id, codes)) == []
    parties = {party for shares in said["months"].values() for each in shares.values() for party in each}
    assert parties == {*SELLERS, *CREATORS, *REFERRERS, "platform", "channel"}
    revenue = json.loads((shared_dir / "data/expected.json").read_text())["online_retail"]["revenue_total_gbp"]["net"]
    assert step > 1 or revenue_of(path) == Decimal(revenue) * 100
    assert_revenue(engine, shop_id, said["total"], revenue_of(path))
    assert_ledger(engine, shop_id)
    assert_released(engine, shop_id)


def booked(engine: Engine, shop_id: int, codes: Mapping[int, str]) -> Told:
    """The same sums out of what is booked, by the shop's month in which it happened."""
    with engine.connect() as conn:
        rows = fetch(
            conn,
            """
            select to_char(a.event_at at time zone 'Europe/London', 'YYYY-MM') as month, p.share, p.party_id,
                sum(p.minor)::int8 as minor
            from commission_accruals a left join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
            cross join lateral (values ('seller', t.seller_id, a.seller_minor),
                ('creator', t.creator_id, a.creator_minor), ('referrer', t.referrer_id, a.referrer_minor),
                ('platform', null, a.platform_minor), ('channel', null, a.channel_minor)) as p (share, party_id, minor)
            where a.shop_id = %(shop)s and p.minor <> 0 group by 1, 2, 3 having sum(p.minor) <> 0
            """,
            shop=shop_id,
        )
    found: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        party = codes[row["party_id"]] if row["party_id"] is not None else row["share"]
        found[row["month"]][row["share"]][party] = row["minor"]
    return found


def differences(said: Told, found: Told) -> list[str]:
    """Every sum that is not the same."""
    flat = [
        {(m, s, p): minor for m, shares in told.items() for s, each in shares.items() for p, minor in each.items()}
        for told in (said, found)
    ]
    return [
        f"{' '.join(key)}: the script says {flat[0].get(key, 0)}, booked are {flat[1].get(key, 0)}"
        for key in sorted(flat[0].keys() | flat[1].keys())
        if flat[0].get(key, 0) != flat[1].get(key, 0)
    ]


def assert_revenue(engine: Engine, shop_id: int, said: int, exact: Decimal) -> None:
    """Each line is rounded once to whole pence, half away from zero; one line of the file is finer than that."""
    with engine.connect() as conn:
        total = scalar(
            conn, "select sum(net_minor + tax_minor) from commission_accruals where shop_id = %(s)s", s=shop_id
        )
    assert total == said
    assert abs(total - exact) < 1


def assert_ledger(engine: Engine, shop_id: int) -> None:
    """Its accounts sum to nothing, and each party's are what its lines come to."""
    with engine.connect() as conn:
        assert scalar(conn, "select sum(amount_minor) from ledger_entries where shop_id = %(s)s", s=shop_id) == 0
        wrong = fetch(
            conn,
            """
            select p.party_id, p.minor, l.minor as ledger from (
                select p.party_id, sum(p.minor) as minor
                from commission_accruals a join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
                cross join lateral (values (t.seller_id, a.seller_minor), (t.creator_id, a.creator_minor),
                    (t.referrer_id, a.referrer_minor)) as p (party_id, minor)
                where a.shop_id = %(s)s and p.party_id is not null group by 1
            ) p full join (
                select k.party_id, -sum(e.amount_minor) as minor from ledger_entries e
                join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
                where e.shop_id = %(s)s and k.party_id is not null group by 1
            ) l using (party_id) where p.minor is distinct from l.minor
            """,
            s=shop_id,
        )
    assert wrong == []


def assert_released(engine: Engine, shop_id: int) -> None:
    """No goods ever left, so only orders without any are payable; counted from when it was placed all is in the end."""
    with unit_of_work(engine) as conn:
        of_services = scalar(
            conn,
            """
            select count(*) from orders o where o.shop_id = %(s)s and not exists (select from order_lines l
                where l.shop_id = o.shop_id and l.order_id = o.id and l.mapping = 'stocked')
            """,
            s=shop_id,
        )
        assert releasing.release_due(conn, shop_id, utc_now()) == of_services
        execute(conn, "update commission_windows set window_from = 'placed' where shop_id = %(s)s", s=shop_id)
        orders = [
            row["id"] for row in fetch(conn, "select id from orders where shop_id = %(s)s order by id", s=shop_id)
        ]
        refresh_windows(conn, shop_id, orders)
    released = 500
    while released == 500:
        with unit_of_work(engine) as conn:
            released = releasing.release_due(conn, shop_id, utc_now())
    with engine.connect() as conn:
        held = scalar(
            conn,
            """
            select count(*) from (select e.account_id from ledger_entries e
                join ledger_accounts k on k.shop_id = e.shop_id and k.id = e.account_id
                where e.shop_id = %(s)s and k.kind = 'refund_reserve'
                group by 1 having sum(e.amount_minor) <> 0) as held
            """,
            s=shop_id,
        )
    assert held == 0
    assert_ledger(engine, shop_id)
