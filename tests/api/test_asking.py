"""Questions that may hang: asked once for all, and nobody waits for longer than the patience."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.accounts import Account, Accounts
from api.asking import NoAnswer, Question

NOBODY = Account(1, 1, "store.example", ("s",))


class Server:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()

    def __call__(self, *_: object) -> Account:
        self.asked += 1
        assert self.may_answer.wait(60)
        return NOBODY


def test_a_question_that_hangs_is_asked_once_and_everybody_leaves() -> None:
    server = Server()
    question = Question(server, kept_seconds=0, patience_seconds=0.05)
    with ThreadPoolExecutor(8) as pool:
        for waiting in [pool.submit(question.answer) for _ in range(8)]:
            with pytest.raises(NoAnswer):
                waiting.result()
    with pytest.raises(NoAnswer):
        asyncio.run(question.answer_soon())
    assert server.asked == 1
    server.may_answer.set()
    assert Question(server, kept_seconds=60, patience_seconds=60).answer() is NOBODY


def test_an_answer_is_kept_for_its_time_and_an_error_is_told_to_everybody() -> None:
    answers = iter([1, 2, 3])
    kept = Question(lambda: next(answers), kept_seconds=3600, patience_seconds=60)
    assert [kept.answer(), kept.answer(), asyncio.run(kept.answer_soon())] == [1, 1, 1]
    fresh = Question(lambda: next(answers), kept_seconds=0, patience_seconds=60)
    assert [fresh.answer(), fresh.answer()] == [2, 3]

    def fail() -> None:
        raise TimeoutError("the server's own")

    failing = Question(fail, kept_seconds=3600, patience_seconds=60)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="the server's own"):
            failing.answer()


def test_a_connection_that_cannot_be_read_is_read_once_and_used_when_it_comes() -> None:
    server = Server()

    async def act() -> None:
        accounts = Accounts(server, patience_seconds=0.05)
        outcomes = await asyncio.gather(*(accounts.get("shopify", 1) for _ in range(50)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {NoAnswer}
        with pytest.raises(NoAnswer):
            await accounts.get_again("shopify", 1)
        assert server.asked == 1
        server.may_answer.set()
        while await _soon(accounts) is None:
            await asyncio.sleep(0.01)
        assert server.asked <= 2

    asyncio.run(act())


async def _soon(accounts: Accounts) -> Account | None:
    try:
        return await accounts.get("shopify", 1)
    except NoAnswer:
        return None
