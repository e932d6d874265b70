"""A reader in a process of its own that stops for ever between recording and taking out."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from core.adapters import registry
from core.adapters.amazon.notifications import SqsMailbox
from core.adapters.amazon.queues import QueueClient
from core.ports import Notice
from workers.jobs import notices


class Stalling(SqsMailbox):
    """What it hands out is seen again a second later."""

    def __init__(self, client: QueueClient) -> None:
        super().__init__(client, hidden_seconds=1)

    def acknowledge(self, notices: Sequence[Notice]) -> Sequence[Notice]:
        print("recorded", len(notices), flush=True)
        time.sleep(600)
        raise AssertionError("nobody killed the reader")


registry.SqsMailbox = Stalling  # type: ignore[misc]
notices.read_notices(shop_id=int(sys.argv[1]), connection_id=int(sys.argv[2]))
