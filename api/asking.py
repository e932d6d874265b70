"""Questions to a server that may never answer: asked in threads that nobody has to wait for.

A thread in a system call on a frozen server cannot be stopped. So it must be a daemon (or the process could not end),
there must be few of them (or every probe would add one), and whoever asks must be able to leave.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from core.errors import Retryable

T = TypeVar("T")


class NoAnswer(Retryable):
    """It was asked in time and has not answered."""


def in_thread(ask: Callable[[], T]) -> Future[T]:
    """Call `ask` in a daemon thread of its own."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            answer = ask()
        except BaseException as error:  # noqa: BLE001 (handed to whoever waits)
            future.set_exception(error)
        else:
            future.set_result(answer)

    threading.Thread(target=run, name="asking", daemon=True).start()
    return future


class Question(Generic[T]):
    """One question, asked once for all who want to know within `kept_seconds`, and never twice at the same time."""

    def __init__(self, ask: Callable[[], T], *, kept_seconds: float, patience_seconds: float) -> None:
        self._ask = ask
        self._kept_seconds = kept_seconds
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None
        self._asked_at = 0.0
        self._answered_at = 0.0

    def answer(self) -> T:
        """The answer, at most `kept_seconds` old. Raises NoAnswer after the patience, or what `ask` raised."""
        asked, patience = self._current()
        try:
            return asked.result(patience)
        except TimeoutError:
            if asked.done():
                raise
            raise NoAnswer("no answer in time") from None

    async def answer_soon(self) -> T:
        """The same for a coroutine."""
        asked, patience = self._current()
        waiting = asyncio.wrap_future(asked)
        await asyncio.wait({waiting}, timeout=patience)
        if not waiting.done():
            # Nobody will fetch what comes of it later.
            waiting.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise NoAnswer("no answer in time")
        return waiting.result()

    def _current(self) -> tuple[Future[T], float]:
        """What was asked last, and how long its answer is still worth waiting for."""
        with self._lock:
            now = time.monotonic()
            if self._asked is None or (self._asked.done() and now - self._answered_at >= self._kept_seconds):
                self._asked, self._asked_at = in_thread(self._ask_and_note), now
            return self._asked, max(0.0, self._asked_at + self._patience_seconds - now)

    def _ask_and_note(self) -> T:
        try:
            return self._ask()
        finally:
            self._answered_at = time.monotonic()
