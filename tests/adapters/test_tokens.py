"""Tokens that expire."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime, timedelta

from core.adapters.tokens import Token, TokenProvider


class Issuer:
    """Issues t1, t2, ... that live an hour, at a time of the test's choosing."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.issued = 0

    def fetch(self) -> Token:
        time.sleep(0.01)
        self.issued += 1
        return Token(f"t{self.issued}", timedelta(hours=1))


_keys = itertools.count()


def make() -> tuple[Issuer, TokenProvider]:
    issuer = Issuer()
    return issuer, TokenProvider(("test", next(_keys)), issuer.fetch, lambda: issuer.now)


def test_renewed_before_it_dies() -> None:
    issuer, tokens = make()
    assert tokens.get() == "t1"
    issuer.now += timedelta(minutes=54)
    assert tokens.get() == "t1"
    issuer.now += timedelta(minutes=2)
    assert tokens.get() == "t2"


def test_only_the_refused_token_is_dropped() -> None:
    _, tokens = make()
    tokens.get()
    tokens.drop("an older one")
    assert tokens.get() == "t1"
    tokens.drop("t1")
    assert tokens.get() == "t2"


def test_threads_fetch_once() -> None:
    issuer, tokens = make()
    threads = [threading.Thread(target=tokens.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert issuer.issued == 1


def test_a_token_does_not_show() -> None:
    issuer, _ = make()
    assert "t1" not in repr(issuer.fetch())
