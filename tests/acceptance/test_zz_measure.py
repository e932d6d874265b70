import time
from datetime import date, timedelta

from core.db import fetch, unit_of_work
from core.reports import operations as reports
from core.reports import queries, rules, watching
from tests.acceptance import booked_file


def test_measure(engine, shared_dir, monkeypatch):
    path = shared_dir / "data/orders/online_retail_2010-12-01_2011-07-19.csv.gz"
    real = booked_file._book
    n = [0]

    def timed(e, w, p, s, now):
        n[0] += 1
        t = time.time()
        real(e, w, p, s, now)
        print(n[0], "book", round(time.time() - t, 2), sum(len(x.order.lines) for x in p if x.order), flush=True)

    monkeypatch.setattr(booked_file, "_book", timed)
    day = date(2010, 12, 1)
    for world, until in booked_file.book_file(engine, path):
        spent = [0, 0, 0, 0]
        days = 0
        while day < until:
            b, e = rules.bounds(day, "Europe/London")
            with unit_of_work(engine) as conn:
                t = time.time()
                queries.business(conn, world.shop_id, b, e)
                spent[0] += time.time() - t
                t = time.time()
                fetch(conn, watching._STOCK_OUTS, shop=world.shop_id, begins=b, ends=e)
                spent[1] += time.time() - t
                t = time.time()
                fetch(conn, watching._SYNC, shop=world.shop_id, begins=b, ends=e, now=e + timedelta(hours=5))
                spent[2] += time.time() - t
                t = time.time()
                reports.build(conn, world.shop_id, day, reports.CLOCK, e + timedelta(hours=5))
                spent[3] += time.time() - t
            day += timedelta(days=1)
            days += 1
        print("   days", days, [round(x, 2) for x in spent], flush=True)
