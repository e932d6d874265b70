"""Pure: changes to rules and assignments that nobody has saved, and the rules as they would be with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from core.commissions.rules import Assignment, Rule

One = TypeVar("One", Rule, Assignment)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a version would begin and end. Ids of what begins are made up: they stand above all that are saved."""

    rules: tuple[Rule, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    ended_rules: frozenset[int] = frozenset()
    ended_assignments: frozenset[int] = frozenset()

    @property
    def changes(self) -> int:
        """How many rules and assignments begin or end."""
        return len(self.rules) + len(self.assignments) + len(self.ended_rules) + len(self.ended_assignments)

    @property
    def holds_from(self) -> datetime | None:
        """When all that begins holds; None: it holds already."""
        begun: list[Rule | Assignment] = [*self.rules, *self.assignments]
        return max((one.valid_from for one in begun if one.valid_from), default=None)

    def of_rules(self, living: Sequence[Rule]) -> list[Rule]:
        """The rules as they would be, in order of id."""
        return [rule for rule in living if rule.id not in self.ended_rules] + numbered(self.rules)

    def of_assignments(self, living: Sequence[Assignment]) -> list[Assignment]:
        """The assignments as they would be, in order of id."""
        return [one for one in living if one.id not in self.ended_assignments] + numbered(self.assignments)


DRAFT_ID = 1 << 62
"""The first of the ids made up: as what is newest wins among equals, so does what is about to begin."""


def numbered(begun: Sequence[One]) -> list[One]:
    """What is about to begin, with ids."""
    return [replace(one, id=DRAFT_ID + number) for number, one in enumerate(begun)]


NO_DRAFT = Draft()
