"""`switchyard notices`, the job that relays, and what the doctor says of who is told."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.clock import utc_now
from core.connections.operations import new_key
from core.db import fetch, unit_of_work
from core.messaging.notices import Notice, say
from tests.factories import make_shop
from tests.mailing import Post, serving
from workers import cli, console
from workers.jobs.outbox import relay_outbox

REASON = ("--reason", "we want to know")
ADD = ("notices", "add", "slack", "Ops", "--url", "https://chat.test/hooks/x")


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SWITCHYARD_SECRET_KEYS", new_key())
    monkeypatch.setenv("SWITCHYARD_OPERATOR", "ada")
    monkeypatch.delenv("SWITCHYARD_NOTICE_URL", raising=False)
    bootstrap._application_of.cache_clear()
    monkeypatch.setattr(console, "application", bootstrap.application)
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


@pytest.fixture
def shop_id(engine: Engine) -> int:
    with unit_of_work(engine) as conn:
        return make_shop(conn, "Harbour")


@pytest.fixture
def post() -> Iterator[Post]:
    with serving() as made:
        yield made


def run(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli.cli, ["notices", *words], input=given)


def mail(post: Post) -> tuple[str, ...]:
    return ("--host", "127.0.0.1", "--port", str(post.port), "--security", "none", "--from", "us@shop.test",
            "--to", "ops@shop.test")  # fmt: skip


def test_a_channel_is_added_tried_listed_and_removed(
    app: bootstrap.Application, engine: Engine, shop_id: int, post: Post
) -> None:
    assert "nowhere: nobody hears of anything" in run().output
    added = run("add", "mail", "Post", *mail(post), "--least", "danger", "--rhythm", "daily", "--hour", "8", *REASON)
    assert added.exit_code == 0, added.output
    asked = run("add", "slack", "Chat", *REASON, given="https://hooks.slack.com/services/T/B/verysecret\n")
    assert (asked.exit_code, "verysecret" in asked.output) == (0, False)
    tried = run("test", "post")
    assert (tried.exit_code, tried.output) == (0, "post took it: 250 2.0.0 Ok: queued as 4F2A\n")
    assert [mail["Subject"] for _, mail in post.mails] == ["[Harbour] A test of Post"]
    post.answers["ops@shop.test"] = "550 5.1.1 <ops@shop.test>: no such user"
    refused = run("test", "Post")
    assert refused.exit_code == 1
    assert "did not take it: o… at shop.test is refused: 550 5.1.1 <***@***>: no such user" in refused.output
    listed = run().output
    assert "Chat (slack, hooks.slack.com/…): everything from attention on, at once, at most 20 an hour" in listed
    assert "Post (mail, o… at shop.test through 127.0.0.1:" in listed
    assert "from danger on, daily at 8:00" in listed
    assert "verysecret" not in run("--json").output
    assert [row["name"] for row in json.loads(run("--json").output)] == ["Chat", "Post"]
    assert run("pause", "post", *REASON).output.startswith("post is told nothing until it is resumed.")
    assert "; paused" in run().output
    assert run("resume", "post", *REASON).output == "post is told again.\n"
    assert run("remove", "chat", *REASON).exit_code == 0
    assert run("add", "slack", "X", *REASON, given="http://chat.test/x\n").exception is not None
    assert "channels: Post" in str(run("test", "Chat").exception)
    with engine.connect() as conn:
        acts = [tuple(row.values()) for row in fetch(conn, "select actor, act from audit_entries order by id")]
    assert acts[1:] == [
        ("ada", "add_notice_channel"), ("ada", "add_notice_channel"), ("ada", "test_notice_channel"),
        ("ada", "test_notice_channel"), ("ada", "pause_notice_channel"), ("ada", "resume_notice_channel"),
        ("ada", "remove_notice_channel"),
    ]  # fmt: skip


def test_the_job_says_what_is_due_and_ends_what_nobody_hears(
    app: bootstrap.Application, engine: Engine, shop_id: int, post: Post
) -> None:
    def tell(key: str) -> None:
        with unit_of_work(engine) as conn:
            say(conn, shop_id, Notice(key, "backlog", "danger", f"About {key}", "It grows."), utc_now())

    tell("a")
    assert relay_outbox() == {"said": 0, "unheard": 1, "alone": 0, "together": 0, "digests": 0, "later": 0}
    assert run("add", "mail", "Post", *mail(post), "--most-an-hour", "2", *REASON).exit_code == 0
    for key in ("b", "c", "d", "alert:17"):
        tell(key)
    assert relay_outbox() == {"said": 2, "unheard": 0, "alone": 1, "together": 3, "digests": 1, "later": 0}
    assert relay_outbox()["said"] == 0
    first, second = (mail for _, mail in post.mails)
    assert [mail["Subject"] for mail in (first, second)] == [
        "[Harbour] About b", "[Harbour] About c, and 2 more",
    ]  # fmt: skip
    body = second.get_body(("plain",))
    assert body is not None
    assert "3 notices since" in body.get_content()
    assert f"{app.settings.dashboard_url}/alerts" in body.get_content()


def test_an_alert_is_told_with_the_way_to_its_own_page(
    app: bootstrap.Application, engine: Engine, shop_id: int, post: Post
) -> None:
    assert run("add", "mail", "Post", *mail(post), *REASON).exit_code == 0
    with unit_of_work(engine) as conn:
        say(conn, shop_id, Notice("alert:17:worse:danger:9", "backlog", "danger", "It grows", "x"), utc_now())
    relay_outbox()
    body = post.mails[0][1].get_body(("plain",))
    assert body is not None
    assert f"{app.settings.dashboard_url}/alerts?shop={shop_id}&alert=17" in body.get_content()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("notices", "test", "[/x] [bold]Ops"), "there is no notice channel [/x] [bold]Ops"),
        (("alerts", "acknowledge", "9" * 20, *REASON), "is not in the range"),
        (
            (*ADD, "--kind", "stuck_chnge", *REASON),
            "nothing of the kind stuck_chnge is ever said; kinds are: audit, backlog,",
        ),
        (("changes", "--before", "9" * 20), "the database cannot take a number or a text that was given"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_foreign_words_are_no_markup(
    app: bootstrap.Application, shop_id: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], says: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.argv", ["switchyard", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_a_database_that_is_away_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:9/none")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setattr("sys.argv", ["switchyard", "alerts"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = " ".join(capsys.readouterr().err.split())
    assert (ended.value.code, "the database does not answer" in said, "secret" in said) == (2, True, False)


def test_the_doctor_names_shops_of_which_nobody_hears(app: bootstrap.Application, shop_id: int, post: Post) -> None:
    def findings() -> list[tuple[str, str]]:
        done = CliRunner().invoke(cli.cli, ["doctor", "--offline", "--json"])
        parts = json.loads(done.output)
        return [(one["state"], one["says"]) for part in parts for one in part["findings"] if one["about"] == "notices"]

    assert findings() == [("warning", "operators are told nothing of Harbour")]
    run("add", "mail", "Post", *mail(post), *REASON)
    assert findings() == [("ok", "every shop has a channel by which its operators are told")]
