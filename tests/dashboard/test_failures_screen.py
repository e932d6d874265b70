"""The Failures screen without a browser: its states, its cards, its one-group pages, its previews and lists."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection
from streamlit.testing.v1 import AppTest

from core.audit import Actor
from core.clock import utc_now
from core.db import execute, scalar
from core.recovery import operations
from core.recovery.choosing import Chosen
from core.recovery.preview import preview
from dashboard import failure_queries
from dashboard.queries import Unreadable
from tests.dashboard import failure_worlds, job_worlds, seed
from tests.dashboard.conftest import Open, text_of


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def press(page: AppTest, start: str) -> None:
    """Click the first button whose key begins so."""
    next(button for button in page.button if str(button.key).startswith(start)).click().run()


def test_a_shop_without_failures_says_so(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("failures")
    assert not page.exception
    said = text_of(page)
    assert "Nothing is broken." in said
    assert "Nothing failed and nothing is parked" in said
    assert [metric.value for metric in page.metric] == ["0", "0", "0", "0"]
    assert "Requeue all…" not in labels(page)


def test_a_bad_day_is_answered_in_a_sentence_and_shown_worst_first(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened("failures")
    assert not page.exception
    said = text_of(page)
    for sentence in (
        "Five causes stand behind 14 failed jobs and 5 parked messages.",
        "All of them are still needed.",
        "<b>12</b> jobs",
        "Amazon UK refused our credentials",
        "Amazon UK · sending quantities",
        "→ Renew the credentials of Amazon UK, then requeue.",
        "4 messages could not be read",
        "1 message names an order that never came",
        "The worker ended in the middle of it",
    ):
        assert sentence in said, sentence
    assert [metric.value for metric in page.metric] == ["19", "19", "5", "0"]
    assert labels(page).count("Requeue…") == 5
    primary = [b for b in page.button if b.proto.type == "primary"]
    assert [b.label for b in primary] == ["Requeue…"], "the worst has the page's primary button"
    assert said.index("refused our credentials") < said.index("could not be read")


def test_how_many_causes_stands_beside_the_pages_name(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    links = [link.proto.label for link in opened().get("page_link")]
    assert any(label.startswith("Failures :red-badge[5]") for label in links), links


@pytest.mark.parametrize(
    ("name", "value", "there", "away"),
    [
        ("source", "Messages", "could not be read", "refused our credentials"),
        ("connection", "Amazon UK", "refused our credentials", "could not be read"),
        ("q", "unknown_order", "names an order that never came", "could not be read"),
    ],
)
def test_what_is_shown_is_in_the_address(
    opened: Open, conn: Connection, name: str, value: str, there: str, away: str
) -> None:
    job_worlds.failing(conn)
    page = opened("failures")
    kind = "text_input" if name == "q" else "selectbox"
    getattr(page, kind)(key=name).set_value(value).run()
    assert not page.exception
    assert there in text_of(page)
    assert away not in text_of(page)
    page.text_input(key="q").set_value("no such words").run()
    assert "Nothing that is open matches" in text_of(page)
    page.button(key="show-all").click().run()
    assert "could not be read" in text_of(page)


def test_one_group_has_its_own_address_and_its_failures_are_paged(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    key = scalar(conn, "select group_key from failure_groups where items = 12")
    page = opened("failures", group=key)
    assert not page.exception
    assert labels(page).count("Requeue…") == 11, "ten a page, and all of them at once"
    first = text_of(page)
    next(b for b in page.button if b.label == "Older").click().run()
    assert labels(page).count("Requeue…") == 3
    assert not set(_runs(first)) & set(_runs(text_of(page)))
    assert "There is no such group" in text_of(opened("failures", group="none"))


def _runs(said: str) -> list[str]:
    return [part.split("<")[0] for part in said.split("<span>run ")[1:]]


def test_a_traceback_opens_without_secrets(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened("failures")
    press(page, "trace-")
    assert not page.exception
    code = "\n".join(block.value for block in page.code)
    assert "push_stock" in code
    assert "abcdefgh" not in code


def test_addresses_of_a_cause_as_they_once_were_lead_to_its_group(opened: Open, conn: Connection) -> None:
    made = job_worlds.failing(conn)
    page = opened("failures", cause="aaaa", function="stock.push")
    assert not page.exception
    assert "Each of them" in text_of(page)
    assert labels(page).count("Requeue…") == 11
    page = opened("failures", parked="unreadable", connection=str(made.world.shopify))
    assert not page.exception
    assert "could not be read" in text_of(page)
    assert "refused our credentials" not in text_of(page)


def test_the_preview_counts_before_it_asks(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened("failures")
    page.button(key=_worst(page)).click().run()
    assert not page.exception
    said = text_of(page)
    for sentence in (
        "<b>12</b> still needed",
        "<b>0</b> superseded",
        "<b>1</b> piece of work",
        "12 jobs are done again",
        "No money is moved.",
    ):
        assert sentence in said, sentence
    assert "Requeue 12" in labels(page)


def _worst(page: AppTest) -> str:
    return next(str(b.key) for b in page.button if b.label == "Requeue…" and b.proto.type == "primary")


def test_all_can_be_requeued_at_once(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened("failures")
    page.button(key="requeue-everything").click().run()
    assert not page.exception
    assert "Requeue 19" in labels(page)


def test_a_discard_counts_too(opened: Open, conn: Connection) -> None:
    job_worlds.failing(conn)
    page = opened("failures", source="Messages")
    press(page, "discard-")
    assert not page.exception
    assert "not done again" in text_of(page)
    assert any(label.startswith("Discard ") for label in labels(page))


def test_a_job_that_is_none_of_ours_is_explained_not_queued(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    seed.job(conn, "os.system", seed.ago(minutes=9), error="NotRegistered: no", fingerprint="ee",
             arguments={"shop_id": shop})  # fmt: skip
    page = opened("failures")
    press(page, "requeue-")
    assert not page.exception
    assert "No job is named 'os.system'." in text_of(page)
    assert "act-reason" not in [field.key for field in page.text_input]


def test_a_recovery_shows_how_far_it_is_and_what_it_left_behind(opened: Open, conn: Connection) -> None:
    made = job_worlds.failing(conn)
    shop, ada = made.world.shop, Actor("ada", "The token was renewed")
    chosen = Chosen(group_key=scalar(conn, "select group_key from failure_groups where items = 4"))
    with conn.engine.begin() as own:
        plan = preview(own, shop, chosen, lambda *_: None, utc_now())
        done = operations.requeue(own, shop, chosen, plan.token, ada, utc_now(), lambda *_: None, name="Friday")
        recovery = done.recovery_id
    page = opened("failures")
    assert not page.exception
    said = text_of(page)
    assert "Friday" in said
    assert "Asked for by ada" in said
    assert "Cancel…" in labels(page)
    assert "4 messages could not be read" not in said, "what is being done again is not open"
    press(page, "cancel-recovery")
    assert "4 pieces of work are not begun" in text_of(page)
    with conn.engine.begin() as own:
        operations.cancel_recovery(own, shop, recovery, ada, utc_now())
        execute(own, "update recoveries set ended_at = now() where ended_at is null")
    failure_queries.forget()
    page = opened("failures")
    assert ":gray-badge[:material/help: Cancelled] **Friday**" in text_of(page)
    press(page, "close-recovery")
    assert "Friday" not in text_of(page)


def test_how_far_a_cause_reaches(opened: Open, conn: Connection) -> None:
    failure_worlds.reaching(conn)
    page = opened("failures")
    assert not page.exception
    said = text_of(page)
    for sentence in (
        "Six causes stand behind 76 failed jobs, 7 parked messages and 2 unsent notices.",
        "of them are still needed.",
        "<b>6</b> orders",
        "<b>£299.40</b> touched",
        "<b>5</b> SKUs",
        "superseded",
        "Outcome unknown",
        "2 notices could not be delivered",
    ):
        assert sentence in said, sentence


def test_what_failed_about_an_order_and_a_sku_is_on_their_pages(opened: Open, conn: Connection) -> None:
    reach = failure_worlds.reaching(conn)
    page = opened("orders", order=str(reach.order))
    assert not page.exception
    said = text_of(page)
    assert "What failed" in said
    assert "give a moment" in said
    assert labels(page).count("Requeue…") == 1
    press(page, "requeue-message")
    assert "1 message is done again" in text_of(page)
    page = opened("skus", sku=reach.sku)
    assert not page.exception
    assert "What failed" in text_of(page)
    assert "Traceback" in labels(page)
    page = opened("orders", order=str(reach.order + 1))
    assert "What failed" not in text_of(page)


def test_a_payload_is_covered_and_its_editor_asks_first(opened: Open, conn: Connection) -> None:
    reach = failure_worlds.reaching(conn)
    page = opened("orders", order=str(reach.order))
    press(page, "payload-message")
    assert not page.exception
    code = "\n".join(block.value for block in page.code)
    assert "5551" in code
    assert "ann@example.com" not in code
    assert "Show in full and edit" in labels(page)
    assert scalar(conn, "select count(*) from audit_entries where act = 'show_payload'") == 0


@pytest.mark.parametrize(
    ("show", "sentences"),
    [
        ("Requeued", ["Nothing has been requeued"]),
        ("Discarded", ["A test message of the vendor"]),
        ("Done since", ["No failure was made good by itself"]),
    ],
)
def test_what_was_dealt_with_is_listed_with_who_and_why(
    opened: Open, conn: Connection, show: str, sentences: list[str]
) -> None:
    made = job_worlds.failing(conn)
    execute(
        conn,
        """
        update inbox_messages set state = 'discarded', discarded_by = 'ada',
            discarded_reason = 'A test message of the vendor' where id = %(id)s
        """,
        id=made.parked[0],
    )
    page = opened("failures")
    page.segmented_control(key="show").set_value(show).run()
    assert not page.exception
    for sentence in sentences:
        assert sentence in text_of(page), sentence


def test_causes_are_paged(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    for number in range(13):
        for _ in range(1 + number % 3):
            seed.job(conn, f"poll.{chr(97 + number)}", seed.ago(minutes=9), error=f"E: cause {chr(97 + number)}",
                     fingerprint=f"f{number:02d}", arguments={"shop_id": shop})  # fmt: skip
    page = opened("failures")
    first = text_of(page)
    next(b for b in page.button if b.label == "More causes").click().run()
    second = text_of(page)
    names = [f"Cause {chr(97 + number)}" for number in range(13)]
    assert [name in first for name in names].count(True) == 10
    assert all((name in first) != (name in second) for name in names)


def test_what_cannot_be_read_is_not_drawn(opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    job_worlds.failing(conn)

    def unreadable(*_: object) -> None:
        raise Unreadable(RuntimeError("away"))

    monkeypatch.setattr(failure_queries, "standing", unreadable)
    page = opened("failures")
    assert not page.exception
    said = text_of(page)
    assert "The database did not answer within 5 s." in said
    assert "refused our credentials" not in said
    assert "Try again" in labels(page)
