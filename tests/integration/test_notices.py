"""Who is told of what: one message for each channel that wants it, digests, no floods, quiet, and nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from core import embedded
from core.audit import Actor
from core.connections import keys as sealing
from core.connections.operations import new_key
from core.db import execute, fetch, scalar, unit_of_work
from core.errors import OutOfQuota, Permanent, Retryable
from core.letters import Answer, MailAddress, PartlyTaken, SlackAddress
from core.messaging import gathering, notice_addresses, notice_channels, outbox
from core.messaging.notice_addresses import BadAddress
from core.messaging.notice_channels import BadChannel, NoSuchChannel, UnreadableAddress, Wishes
from core.messaging.notices import ATTACHMENTS_MAX_BYTES, Attachment, Notice, TooLarge, say
from core.runs import retention
from tests.conftest import TestServers
from tests.factories import make_shop

KEY = new_key()
NOW = datetime(2026, 11, 2, 10, 20, tzinfo=UTC)
ADA = Actor("Ada", "we want to know")
HOOK = SlackAddress("https://hooks.slack.com/services/T0/B0/verysecret")
POST = notice_addresses.mail(
    "smtp.shop.test", 587, "starttls", "switchyard@shop.test", ["ops@shop.test", "eve@shop.test"], "us", "pa55word"
)


@pytest.fixture(scope="module")
def engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    """One database for the file; each test has a shop of its own, and relays only what is that shop's."""
    database = embedded.create_database(servers.home, "notices", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()
    embedded.drop_database(servers.home, database.name)


@dataclass
class Desk:
    """A shop whose operators are told, and what each of their channels hears."""

    engine: Engine
    shop_id: int
    heard: list[tuple[str, str]] = field(default_factory=list)
    failures: dict[str, list[Exception]] = field(default_factory=dict)

    def add(self, name: str = "Ops", address: Any = HOOK, **wishes: Any) -> int:
        with unit_of_work(self.engine) as conn:
            return notice_channels.add(conn, self.shop_id, Wishes(name, **wishes), address, [KEY], ADA, NOW)

    def say(self, key: str, now: datetime = NOW, **more: Any) -> bool:
        given = {"kind": "backlog", "severity": "attention", "subject": f"About {key}", "text": f"{key} is so."} | more
        with unit_of_work(self.engine) as conn:
            return say(conn, self.shop_id, Notice(key, **given), now)

    def relay(self, now: datetime = NOW, has_default: bool = True) -> list[tuple[str, str]]:
        """What is heard of this shop now: (channel, subject), in turn."""
        self.heard.clear()
        with unit_of_work(self.engine) as conn:
            outbox.settle_unheard(conn, now, has_default=has_default)
        gathering.gather(self.engine, now)
        while (message_id := self._due(now)) is not None:
            if not outbox.relay_one(self.engine, self._hear, now, has_default=has_default, only=message_id):
                self.passed.add(message_id)
        self.passed.clear()
        return list(self.heard)

    passed: set[int] = field(default_factory=set)

    def _due(self, now: datetime) -> int | None:
        rows = self.rows("state = 'waiting' and next_attempt_at <= %(now)s", now=now)
        return next((row["id"] for row in rows if row["id"] not in self.passed), None)

    def _hear(self, message: outbox.Outgoing) -> Answer:
        channel = message.target.name if message.target else "default"
        if self.failures.get(channel):
            raise self.failures[channel].pop(0)
        self.heard.append((channel, message.payload.get("subject", message.payload["text"])))
        return Answer("250 ok")

    def rows(self, where: str = "true", **more: Any) -> list[Any]:
        with self.engine.connect() as conn:
            return list(
                fetch(
                    conn,
                    f"select * from outbox_messages where shop_id = %(shop)s and {where} order by next_attempt_at, id",
                    shop=self.shop_id,
                    **more,
                )
            )

    def log(self) -> list[tuple[str, str, str]]:
        """(subject, channel, state) as the screen shows it."""
        with self.engine.connect() as conn:
            rows = fetch(
                conn,
                "select subject, channel, state from notice_log where shop_id = %(shop)s order by message_id",
                shop=self.shop_id,
            )
        return [(row["subject"], row["channel"], row["state"]) for row in rows]

    def channel(self, channel_id: int) -> Any:
        with self.engine.connect() as conn:
            (row,) = fetch(
                conn,
                "select * from notice_channel_list where shop_id = %(shop)s and channel_id = %(id)s",
                shop=self.shop_id,
                id=channel_id,
            )
        return row

    def audited(self) -> list[tuple[str, str]]:
        with self.engine.connect() as conn:
            rows = fetch(
                conn,
                "select act, details::text as details from audit_entries where shop_id = %(shop)s"
                " and act like '%%notice_channel' order by id",
                shop=self.shop_id,
            )
        return [(row["act"], row["details"]) for row in rows]


@pytest.fixture
def desk(engine: Engine) -> Iterator[Desk]:
    with unit_of_work(engine) as conn:
        made = Desk(engine, make_shop(conn))
    yield made
    # What the next test's relay would gather is none of its business.
    with unit_of_work(engine) as conn:
        conn.exec_driver_sql("update notice_channels set is_quiet = true where shop_id = %(s)s", {"s": made.shop_id})


# --- who is told ------------------------------------------------------------------------------------------------------


def test_each_channel_that_wants_it_gets_a_message_of_its_own(desk: Desk) -> None:
    desk.add("Everything", least_severity="info")
    desk.add("Bad news", least_severity="danger")
    desk.add("Reports", POST, kinds=("daily_report",), least_severity="info")
    assert desk.say("a", severity="danger")
    assert desk.say("b", severity="info")
    assert desk.say("c", kind="daily_report", severity="info")
    assert desk.relay() == [
        ("Everything", "About a"), ("Bad news", "About a"), ("Everything", "About b"), ("Everything", "About c"),
        ("Reports", "About c"),
    ]  # fmt: skip
    assert desk.relay() == []
    assert {state for _, _, state in desk.log()} == {"sent"}


def test_the_same_is_said_once_also_to_a_channel_that_came_later(desk: Desk) -> None:
    first = desk.add("First")
    assert [desk.say("a"), desk.say("a")] == [True, False]
    desk.add("Second")
    assert not desk.say("a")
    with unit_of_work(desk.engine) as conn:
        notice_channels.remove(conn, desk.shop_id, first, ADA, NOW)
    assert not desk.say("a")
    assert desk.say("b")
    assert desk.relay() == [("Second", "About b")]


def test_a_shop_without_channels_is_told_at_the_installations_address(desk: Desk) -> None:
    assert [desk.say("a"), desk.say("a")] == [True, False]
    assert desk.relay() == [("default", "About a")]
    assert desk.log() == [("About a", None, "sent")]


def test_without_any_address_nothing_is_left_for_later_and_it_is_on_record(desk: Desk) -> None:
    desk.say("a")
    assert desk.relay(has_default=False) == []
    assert desk.log() == [("About a", None, "unheard")]
    assert desk.relay(NOW + timedelta(days=3)) == []
    assert not desk.say("a")


def test_what_no_channel_wants_is_on_record_as_unheard(desk: Desk) -> None:
    desk.add(kinds=("backlog",), least_severity="danger")
    assert desk.say("a")
    assert desk.relay() == []
    assert desk.log() == [("About a", None, "unheard")]


def test_a_notice_of_a_unit_of_work_that_failed_is_never_said(desk: Desk) -> None:
    desk.add()

    def fail() -> None:
        with unit_of_work(desk.engine) as conn:
            say(conn, desk.shop_id, Notice("a", "backlog", "danger", "A", "A"), NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert desk.relay() == []
    assert desk.say("a")


# --- digests and floods -----------------------------------------------------------------------------------------------


def test_an_hourly_digest_gathers_what_came_and_says_it_once(desk: Desk) -> None:
    channel = desk.add(rhythm="hourly")
    for number in range(3):
        desk.say(f"n{number}", severity="danger" if number == 1 else "attention")
    assert desk.relay() == []
    assert {state for _, _, state in desk.log()} == {"digest"}
    assert (desk.channel(channel)["held"], desk.channel(channel)["due_at"]) == (3, NOW.replace(hour=11, minute=0))
    at = NOW.replace(hour=11, minute=0, second=1)
    assert desk.relay(at) == [("Ops", "About n1, and 2 more")]
    assert [desk.relay(at), desk.relay(at + timedelta(hours=1))] == [[], []]
    (digest,) = desk.rows("kind = 'notice_digest'")
    assert [line.partition(" ")[2] for line in digest["payload"]["text"].splitlines()[1:]] == [
        "02 Nov 10:20 About n1: n1 is so.", "02 Nov 10:20 About n0: n0 is so.", "02 Nov 10:20 About n2: n2 is so.",
    ]  # fmt: skip
    assert {(row["state"], row["gathered_in"]) for row in desk.rows("kind = 'notice'")} == {("gathered", digest["id"])}
    assert {state for _, _, state in desk.log()} == {"sent"}


def test_a_digest_tells_the_time_by_the_shops_clock(desk: Desk) -> None:
    with unit_of_work(desk.engine) as conn:
        execute(conn, "update shops set time_zone = 'America/New_York' where shop_id = %(shop)s", shop=desk.shop_id)
    desk.add(rhythm="hourly")
    desk.say("a")
    desk.say("b")
    desk.relay(NOW.replace(hour=11))
    (digest,) = desk.rows("kind = 'notice_digest'")
    lines = digest["payload"]["text"].splitlines()
    assert lines[0] == "2 notices since 2026-11-02 05:20, America/New York (2 attention)."
    assert lines[1] == "• 02 Nov 05:20 About a: a is so."


def test_a_digest_of_one_is_the_notice_itself(desk: Desk) -> None:
    desk.add(rhythm="hourly")
    desk.say("a")
    assert desk.relay(NOW.replace(hour=11)) == [("Ops", "About a")]
    assert desk.rows("kind = 'notice_digest'") == []


@pytest.mark.parametrize(
    ("hour", "said", "due"),
    [
        (8, "2026-11-02T07:59:59+00:00", "2026-11-02T08:00:00+00:00"),
        (8, "2026-11-02T08:00:00+00:00", "2026-11-03T08:00:00+00:00"),
        # London: the clocks go forward on 29 March 2026 at 01:00, back on 25 October at 02:00.
        (8, "2026-03-28T12:00:00+00:00", "2026-03-29T07:00:00+00:00"),
        (1, "2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        (8, "2026-10-24T12:00:00+00:00", "2026-10-25T08:00:00+00:00"),
        (1, "2026-10-25T01:30:00+00:00", "2026-10-26T01:00:00+00:00"),
        (0, "2026-07-01T22:59:00+00:00", "2026-07-01T23:00:00+00:00"),
    ],
)
def test_a_daily_digest_is_due_at_its_hour_of_the_shops_zone(desk: Desk, hour: int, said: str, due: str) -> None:
    desk.add(rhythm="daily", daily_hour=hour)
    desk.say("a", datetime.fromisoformat(said))
    assert desk.rows()[0]["next_attempt_at"] == datetime.fromisoformat(due)


def test_the_repeated_hour_of_the_autumn_day_brings_the_daily_digest_once(desk: Desk) -> None:
    desk.add(rhythm="daily", daily_hour=1)
    desk.say("a", datetime(2026, 10, 24, 12, tzinfo=UTC))
    first = desk.rows()[0]["next_attempt_at"]
    assert desk.relay(first) == [("Ops", "About a")]
    desk.say("b", first + timedelta(seconds=1))
    assert desk.rows("state = 'held'")[0]["next_attempt_at"] - first >= timedelta(hours=24)


def test_a_burst_is_the_worst_few_and_one_message_with_all_the_others(desk: Desk) -> None:
    desk.add(most_an_hour=5, least_severity="info")
    for number in range(42):
        desk.say(f"n{number:02}", severity="danger" if number in (40, 41) else "info")
    assert desk.relay() == [
        ("Ops", "About n00"), ("Ops", "About n01"), ("Ops", "About n40"), ("Ops", "About n41"),
        ("Ops", "About n02, and 37 more"),
    ]  # fmt: skip
    assert {state for _, _, state in desk.log()} == {"sent"}


def test_beyond_its_hour_a_channel_hears_the_rest_in_one_when_there_is_room(desk: Desk) -> None:
    channel = desk.add(most_an_hour=3)
    for number in range(3):
        desk.say(f"n{number}")
        assert len(desk.relay(NOW + timedelta(minutes=number))) == 1
    for number in range(3, 40):
        desk.say(f"n{number}", NOW + timedelta(minutes=5))
    assert desk.relay(NOW + timedelta(minutes=5)) == []
    assert desk.channel(channel)["held"] == 37
    assert {state for _, _, state in desk.log()} == {"sent", "crowded"}
    assert desk.relay(NOW + timedelta(minutes=59)) == []
    assert desk.relay(NOW + timedelta(minutes=60)) == [("Ops", "About n3, and 36 more")]
    assert len({row["id"] for row in desk.rows("state = 'gathered'")}) == 37


def test_in_any_hour_a_channel_hears_no_more_than_it_may_and_everything_in_the_end(desk: Desk) -> None:
    desk.add(most_an_hour=4)
    told: list[datetime] = []
    for minute in range(0, 300, 2):
        now = NOW + timedelta(minutes=minute)
        if minute < 180:
            for number in range(minute % 5):
                desk.say(f"{minute}-{number}", now, severity="danger" if number == 2 else "attention")
        told += [now] * len(desk.relay(now))
    assert max(sum(at - timedelta(hours=1) < other <= at for other in told) for at in told) <= 4
    assert desk.rows("kind = 'notice' and state not in ('sent', 'gathered')") == []
    assert scalar_of(desk, "select count(*) from notice_log where shop_id = %(shop)s and state = 'sent'") == 180


def scalar_of(desk: Desk, sql: str) -> Any:
    with desk.engine.connect() as conn:
        return scalar(conn, sql, shop=desk.shop_id)


def test_a_quiet_channel_is_told_nothing_and_then_everything_in_one(desk: Desk) -> None:
    channel = desk.add()
    with unit_of_work(desk.engine) as conn:
        assert notice_channels.set_quiet(conn, desk.shop_id, channel, True, ADA, NOW) == 0
    for number in range(6):
        desk.say(f"n{number}", NOW + timedelta(minutes=number))
    assert desk.relay(NOW + timedelta(hours=5)) == []
    assert {state for _, _, state in desk.log()} == {"muted"}
    assert desk.channel(channel)["state"] == "muted"
    with unit_of_work(desk.engine) as conn:
        assert notice_channels.set_quiet(conn, desk.shop_id, channel, False, ADA, NOW) == 6
    assert desk.relay(NOW + timedelta(hours=5)) == [("Ops", "About n0, and 5 more")]


def test_a_long_digest_lists_the_worst_and_counts_the_rest_by_kind(desk: Desk) -> None:
    desk.add(rhythm="hourly")
    for number in range(60):
        desk.say(f"n{number:02}", kind="silence" if number % 2 else "backlog", text="x" * 5_000)
    desk.relay(NOW.replace(hour=11))
    (digest,) = desk.rows("kind = 'notice_digest'")
    lines = digest["payload"]["text"].splitlines()
    assert lines[0].startswith("60 notices since 2026-11-02 10:20, Europe/London (60 attention)")
    assert (len(lines), lines[-1]) == (42, "And 20 more: backlog 10, silence 10.")
    assert max(map(len, lines)) < 500


def test_files_go_by_themselves_whole_to_mail_and_by_name_elsewhere(desk: Desk) -> None:
    desk.add("Post", POST, rhythm="daily", daily_hour=8, least_severity="info")
    desk.add("Chat", rhythm="hourly", least_severity="info")
    file = Attachment("day.csv", "text/csv", b"sku,units\nMUG,3\n")
    desk.say("r", kind="daily_report", severity="info", html="<b>The day</b>", attachments=(file,))
    desk.say("a")
    assert sorted(desk.relay()) == [("Chat", "About r"), ("Post", "About r")]
    rows = {row["channel_id"]: row["payload"] for row in desk.rows("dedupe_key like 'r#%%'")}
    post, chat = (rows[key] for key in sorted(rows))
    assert post["html"] == "<b>The day</b>"
    assert post["attachments"][0]["content"] == "c2t1LHVuaXRzCk1VRywzCg=="
    assert chat["attachments"] == [{"name": "day.csv", "media_type": "text/csv"}]
    assert "html" not in chat


def test_too_large_files_are_refused_with_their_size(desk: Desk) -> None:
    with pytest.raises(TooLarge, match=r"8,000,001 bytes .* 8,000,000"):
        desk.say("r", attachments=(Attachment("a", "text/csv", b"x" * (ATTACHMENTS_MAX_BYTES + 1)),))


def test_what_is_forgotten_takes_along_what_it_carried_and_what_nobody_heard_goes_too(desk: Desk) -> None:
    desk.say("unheard")
    desk.relay(has_default=False)
    desk.add(rhythm="hourly")
    for number in range(3):
        desk.say(f"n{number}")
    desk.relay(NOW.replace(hour=11))
    desk.failures["Ops"] = [Permanent("404 no_service")]
    desk.say("given up", NOW.replace(hour=12))
    desk.relay(NOW.replace(hour=13))
    with unit_of_work(desk.engine) as conn:
        execute(
            conn,
            "update outbox_messages set state = 'discarded', discarded_by = 'Ada', discarded_reason = 'it is old'"
            " where shop_id = %(shop)s and state = 'dead'",
            shop=desk.shop_id,
        )
    assert len(desk.rows()) == 6
    policy = retention.Policy(retention.BY_NAME["notices"], 7)
    with unit_of_work(desk.engine) as conn:
        retention.forget(conn, policy, NOW + timedelta(days=8))
    assert desk.rows() == []


# --- what comes back --------------------------------------------------------------------------------------------------


def test_a_dead_channel_holds_up_no_other_and_is_asked_again_after_a_growing_pause(desk: Desk) -> None:
    dead, _ = desk.add("Dead"), desk.add("Alive")
    desk.failures["Dead"] = [Retryable("no answer") for _ in range(99)]
    for number in range(4):
        desk.say(f"n{number}")
    assert [channel for channel, _ in desk.relay()] == ["Alive"] * 4
    # One attempt was enough to know: the others wait for the channel, not for themselves.
    assert [row["attempts"] for row in desk.rows("state = 'waiting'")] == [0, 0, 0, 1]
    row = desk.channel(dead)
    assert (row["state"], row["failures"], row["last_error"]) == ("failing", 1, "no answer")
    pauses = []
    for _ in range(8):
        at = desk.channel(dead)["retry_at"]
        pauses.append((at - NOW).total_seconds())
        assert desk.relay(at - timedelta(seconds=1)) == []
        desk.relay(at)
    assert pauses == sorted(pauses)
    desk.failures.clear()
    assert len(desk.relay(desk.channel(dead)["retry_at"] + timedelta(hours=7))) == 4
    assert desk.channel(dead)["state"] == "heard"


def test_what_comes_during_an_outage_is_gathered_and_does_not_come_over_a_channel_that_is_back(desk: Desk) -> None:
    channel = desk.add(most_an_hour=5)
    desk.failures["Ops"] = [Retryable("no answer") for _ in range(99)]
    for hour in range(6):
        for number in range(5):
            desk.say(f"{hour}.{number}", NOW + timedelta(hours=hour))
        desk.relay(max(NOW + timedelta(hours=hour), desk.channel(channel)["retry_at"] or NOW))
    desk.failures.clear()
    back = max(desk.channel(channel)["retry_at"], NOW + timedelta(hours=7))
    heard = [*desk.relay(back), *desk.relay(back + timedelta(seconds=15))]
    assert len(heard) <= 5 + 1, "those of its first hour, and one that carries the rest"
    assert {state for _, _, state in desk.log()} == {"sent"}
    assert len(desk.log()) == 30


def test_a_closed_door_closes_for_the_channel_for_as_long_as_it_says(desk: Desk) -> None:
    channel = desk.add()
    desk.failures["Ops"] = [OutOfQuota("too many", 30.0)]
    desk.say("a")
    desk.say("b")
    assert desk.relay() == []
    assert desk.channel(channel)["retry_at"] == NOW + timedelta(seconds=30)
    assert desk.relay(NOW + timedelta(seconds=29)) == []
    assert len(desk.relay(NOW + timedelta(seconds=30))) == 2


def test_what_is_refused_is_dead_and_shown_and_the_next_is_tried(desk: Desk) -> None:
    channel = desk.add()
    desk.failures["Ops"] = [Permanent("550 no such user ops@shop.test")]
    desk.say("a")
    desk.say("b")
    assert desk.relay() == [("Ops", "About b")]
    assert [state for _, _, state in desk.log()] == ["dead", "sent"]
    assert desk.rows("state = 'dead'")[0]["last_error"] == "550 no such user ***@***"
    assert (desk.channel(channel)["dead"], desk.channel(channel)["state"]) == (1, "heard")


def test_whoever_took_it_is_remembered_for_the_next_attempt(desk: Desk) -> None:
    desk.add(address=POST)
    desk.failures["Ops"] = [PartlyTaken("e… at shop.test: 451 later", frozenset({"ab12"}))]
    desk.say("a")
    desk.relay()
    (row,) = desk.rows()
    assert (row["state"], row["payload"]["taken"], row["attempts"]) == ("waiting", ["ab12"], 1)
    assert desk.relay(row["next_attempt_at"]) == [("Ops", "About a")]


# --- setting up -------------------------------------------------------------------------------------------------------


def test_an_address_is_sealed_and_appears_nowhere_else(desk: Desk) -> None:
    slack, mail = desk.add("Chat"), desk.add("Post", POST)
    assert desk.channel(slack)["shown"] == "hooks.slack.com/…"
    assert desk.channel(mail)["shown"] == "o… at shop.test, e… at shop.test through smtp.shop.test:587"
    with desk.engine.connect() as conn:
        said = str(fetch(conn, "select * from notice_channels")) + str(fetch(conn, "select * from audit_entries"))
        assert notice_channels.address_of(conn, desk.shop_id, slack, [KEY]) == HOOK
        assert notice_channels.address_of(conn, desk.shop_id, mail, [KEY]) == POST
        with pytest.raises(UnreadableAddress):
            notice_channels.address_of(conn, desk.shop_id, mail, [new_key()])
    for secret in ("verysecret", "pa55word", "ops@shop.test", "eve@"):
        assert secret not in said
        assert secret not in repr(HOOK) + repr(POST)


def test_addresses_move_to_the_newest_key_with_all_other_credentials(desk: Desk) -> None:
    channel = desk.add()
    newest = new_key()
    with unit_of_work(desk.engine) as conn:
        mine = [one for one in sealing.sealed(conn, [newest, KEY]) if one.shop_id == desk.shop_id]
        assert [(one.notice_channel_id, one.position, one.name) for one in mine] == [(channel, 2, "address")]
        assert mine[0].whose == f"notice channel Ops (shop {desk.shop_id})"
        sealing.rotate(conn, [newest, KEY], ADA, NOW)
        assert notice_channels.address_of(conn, desk.shop_id, channel, [newest]) == HOOK
        sealing.rotate(conn, [KEY, newest], ADA, NOW)


def test_every_act_is_on_record_with_name_and_reason(desk: Desk) -> None:
    channel = desk.add()
    with unit_of_work(desk.engine) as conn:
        notice_channels.edit(conn, desk.shop_id, channel, Wishes("Night", rhythm="hourly"), POST_HOOK, [KEY], ADA, NOW)
        notice_channels.set_quiet(conn, desk.shop_id, channel, True, ADA, NOW)
        notice_channels.test(conn, desk.shop_id, channel, ADA, NOW)
        notice_channels.set_quiet(conn, desk.shop_id, channel, False, ADA, NOW)
        notice_channels.remove(conn, desk.shop_id, channel, ADA, NOW)
    acts = desk.audited()
    assert [act for act, _ in acts] == [
        "add_notice_channel", "edit_notice_channel", "pause_notice_channel", "test_notice_channel",
        "resume_notice_channel", "remove_notice_channel",
    ]  # fmt: skip
    assert '"rhythm": "hourly"' in acts[1][1]
    assert "most_an_hour" not in acts[1][1]
    with unit_of_work(desk.engine) as conn, pytest.raises(NoSuchChannel):
        notice_channels.test(conn, desk.shop_id, channel, ADA, NOW)


POST_HOOK = SlackAddress("https://hooks.slack.com/services/T0/B0/another")


def test_a_changed_rhythm_moves_what_is_held(desk: Desk) -> None:
    channel = desk.add(rhythm="daily", daily_hour=8)
    desk.say("a")
    desk.say("b")
    with unit_of_work(desk.engine) as conn:
        notice_channels.edit(conn, desk.shop_id, channel, Wishes("Ops", rhythm="at_once"), None, [KEY], ADA, NOW)
    assert [subject for _, subject in desk.relay()] == ["About a", "About b"]


def test_what_was_still_to_be_said_to_a_removed_channel_is_on_record(desk: Desk) -> None:
    channel = desk.add(rhythm="daily", daily_hour=8)
    desk.say("a")
    with unit_of_work(desk.engine) as conn:
        notice_channels.remove(conn, desk.shop_id, channel, ADA, NOW)
    assert desk.relay(NOW + timedelta(days=2)) == []
    assert desk.log() == [("About a", "Ops", "unheard")]
    assert desk.rows()[0]["last_error"] == "its channel was removed"
    assert desk.add() != channel


def test_a_trial_goes_at_once_also_while_quiet_and_shows_the_real_answer_once(desk: Desk) -> None:
    channel = desk.add(rhythm="daily", daily_hour=8)
    desk.failures["Ops"] = [Retryable("451 come again later")]
    with unit_of_work(desk.engine) as conn:
        notice_channels.set_quiet(conn, desk.shop_id, channel, True, ADA, NOW)
        first = notice_channels.test(conn, desk.shop_id, channel, ADA, NOW)
        assert notice_channels.test(conn, desk.shop_id, channel, ADA, NOW) == first
    assert desk.relay() == []
    assert desk.log() == [("A test of Ops", "Ops", "unheard")]
    assert desk.rows()[0]["last_error"] == "451 come again later"
    assert desk.relay(NOW + timedelta(days=1)) == []
    later = NOW + timedelta(seconds=1)
    with unit_of_work(desk.engine) as conn:
        notice_channels.test(conn, desk.shop_id, channel, ADA, later)
    assert desk.relay(later) == [("Ops", "A test of Ops")]
    assert [row["answer"] for row in desk.rows("state = 'sent'")] == ["250 ok"]


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"name": "  "}, "needs a name"),
        ({"name": "a\x00b"}, "needs a name"),
        ({"name": "x" * 61}, "at most 60"),
        ({"least_severity": "mild"}, "is no severity"),
        ({"rhythm": "weekly"}, "is no rhythm"),
        ({"rhythm": "daily"}, "needs its hour"),
        ({"rhythm": "daily", "daily_hour": 24}, "needs its hour"),
        ({"most_an_hour": 0}, "from 1 to 1000"),
        ({"kinds": ()}, "never told"),
        ({"kinds": ("no; kind",)}, "is no kind"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(desk: Desk, wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadChannel, match=says):
        Wishes(**{"name": "Ops", **wishes}).judged()


def test_a_name_is_taken_once_whatever_its_letters_and_free_after_removal(desk: Desk) -> None:
    channel = desk.add("Ops")
    with pytest.raises(BadChannel, match="already"):
        desk.add(" OPS ")
    with unit_of_work(desk.engine) as conn, pytest.raises(BadChannel, match="told by slack"):
        notice_channels.edit(conn, desk.shop_id, channel, Wishes("Ops"), POST, [KEY], ADA, NOW)
    with unit_of_work(desk.engine) as conn:
        notice_channels.remove(conn, desk.shop_id, channel, ADA, NOW)
    desk.add("ops")


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.slack.com/services/T/B/x", "http://hooks.slack.com/services/T/B/x", "ftp://hooks.slack.com/x",
        "https://", "https://hooks.slack.com", "https://hooks.slack.com/", "https://user:pw@hooks.slack.com/x",
        "https://hooks.slack.com/a b", "https://hooks.slack.com/a\r\nHost: x", "https://[::1/x", "https://h:99999/x",
        "https://hooks..slack.com/x", f"https://{'a' * 64}.test/x",
    ],
)  # fmt: skip
def test_what_is_no_webhook_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadAddress) as refused:
        notice_addresses.slack(url)
    assert "T/B/x" not in str(refused.value)


def test_plain_http_is_for_this_machine() -> None:
    assert notice_addresses.slack("http://127.0.0.1:9/hook").url == "http://127.0.0.1:9/hook"
    assert notice_addresses.slack(" https://chat.test/hooks/x ").url == "https://chat.test/hooks/x"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"host": "smtp test"}, "a name or an IP"),
        ({"host": "-x.test"}, "a name or an IP"),
        ({"port": 0}, "no port"),
        ({"security": "ssl3"}, "no way to secure"),
        ({"security": "none"}, "this machine"),
        ({"sender": "ops"}, "the sender"),
        ({"recipients": []}, "somebody to go to"),
        ({"recipients": ["a@b.test", "a@b"]}, "recipient 2"),
        ({"recipients": ["a@b.test\r\nBcc: eve@c.test"]}, "recipient 1"),
        ({"recipients": ["a@b.test>, <c@d.test"]}, "recipient 1"),
        ({"recipients": ["ä@b.test"]}, "recipient 1"),
        ({"recipients": [f"a{n}@b.test" for n in range(21)]}, "more than 20"),
        ({"recipients": [f"{'a' * 65}@b.test"]}, "recipient 1"),
        ({"user": "us", "password": None}, "password"),
        ({"user": None, "password": "x"}, "user"),
        ({"user": "us\n", "password": "p\r\nQUIT"}, "one line"),
        ({"user": "us", "password": "pässword"}, "without accents"),
    ],
)
def test_what_is_no_mail_address_is_refused(changed: dict[str, Any], says: str) -> None:
    good = {
        "host": "smtp.shop.test", "port": 587, "security": "starttls", "sender": "us@shop.test",
        "recipients": ["ops@shop.test"], "user": None, "password": None,
    }  # fmt: skip
    assert isinstance(notice_addresses.mail(**good), MailAddress)
    with pytest.raises(BadAddress, match=says):
        notice_addresses.mail(**{**good, **changed})


def test_recipients_are_kept_once_and_read_as_people_type_them() -> None:
    typed = notice_addresses.split_recipients("ops@shop.test; Ops@Shop.test,\n eve+x@SHOP.test")
    found = notice_addresses.mail("::1", 25, "NONE", "us@shop.test", typed)
    assert (found.recipients, found.security, found.host) == (("ops@shop.test", "eve+x@shop.test"), "none", "::1")
