"""A deadline for a whole conversation: a server that sends a byte now and then never meets a socket's timeout."""

from __future__ import annotations

import logging
import socket
import threading

log = logging.getLogger(__name__)


class Watch:
    """Shuts a connection when its time is up, however the other side drags it out."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._guard: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self.is_over = False

    def over(self, raw: socket.socket) -> None:
        """Watch over a connection, also when it is wrapped in TLS later; another takes the place of the one before."""
        self.end()
        self._guard = raw.dup()
        self._timer = threading.Timer(self.seconds, self._shut)
        self._timer.daemon = True
        self._timer.start()

    def _shut(self) -> None:
        self.is_over = True
        if self._guard is not None:
            try:
                self._guard.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.info("the other side had left already")

    def end(self) -> None:
        """Let it go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        if self._guard is not None:
            self._guard.close()
        self._timer = self._guard = None
