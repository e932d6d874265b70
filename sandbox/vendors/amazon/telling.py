"""How the parts of the fake Amazon say that something happened: whoever carries notifications hangs in here."""

from collections.abc import Mapping
from typing import Any, Protocol

from sandbox.store import Row


class Tell(Protocol):
    """Puts a notification on its way to every subscription of the seller to the type, in the open transaction."""

    def __call__(self, seller: Row, kind: str, payload: Mapping[str, Any]) -> None:
        """`payload` is what stands under Payload (or payload) in the type's schema, whole."""


def nobody(seller: Row, kind: str, payload: Mapping[str, Any]) -> None:
    """A seller who subscribes to nothing is told nothing."""
