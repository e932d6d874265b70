"""Where the goods of one order line are, unit by unit: what stock is held against, worked out another way.

No sums and no formula: units are on the shelf, out in a parcel, back at the desk or lost, one by one; what a channel
claims of them is walked through claim by claim. Goods at the desk are told apart from goods that are out by trying
which parcel each can have come back of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.ports import Restock


@dataclass(eq=False)
class Parcel:
    """Units of the line that left together, until the channel says that they never did."""

    units: int
    is_shipped: bool = True
    versions: int = 0
    """How often the channel changed its mind."""


@dataclass(eq=False)
class Back:
    """One unit that came back over the desk, and the parcels that it can have been in."""

    disposition: str
    parcels: Sequence[Parcel]


@dataclass(frozen=True)
class Standing:
    """What the line did to what is on hand and to what is kept apart of it, and what is still owed of it."""

    on_hand: int
    apart: int
    held: int

    @property
    def available(self) -> int:
        return self.on_hand - self.apart - self.held


@dataclass(eq=False)
class Goods:
    """What was said of one line and done with its goods."""

    ordered: int
    is_cancelled: bool = False
    parcels: list[Parcel] = field(default_factory=list)
    backs: list[Back] = field(default_factory=list)
    claims: list[Restock] = field(default_factory=list)

    @property
    def shipped(self) -> int:
        return sum(parcel.units for parcel in self.parcels if parcel.is_shipped)

    @property
    def returnable(self) -> int:
        """How many are out there and can come back."""
        return self.shipped - len(self._placed())

    def send(self, units: int) -> Parcel:
        self.parcels.append(Parcel(units))
        return self.parcels[-1]

    def take_back(self, units: int, disposition: str) -> list[Back]:
        known = [
            parcel
            for parcel in self.parcels
            if parcel.is_shipped or any(parcel is one for b in self.backs for one in b.parcels)
        ]
        backs = [Back(disposition, known) for _ in range(units)]
        self.backs += backs
        return backs

    def undo(self, backs: Sequence[Back]) -> None:
        self.backs = [back for back in self.backs if back not in backs]

    def _placed(self) -> dict[tuple[int, int], Back]:
        """As many units at the desk as can be, each at a place of its own in a parcel that counts as left."""
        taken: dict[tuple[int, int], Back] = {}

        def place(back: Back, tried: set[tuple[int, int]]) -> bool:
            for number, parcel in enumerate(self.parcels):
                if not parcel.is_shipped or not any(parcel is known for known in back.parcels):
                    continue
                for slot in range(parcel.units):
                    if (number, slot) in tried:
                        continue
                    tried.add((number, slot))
                    if (number, slot) not in taken or place(taken[number, slot], tried):
                        taken[number, slot] = back
                        return True
            return False

        for back in self.backs:
            place(back, set())
        return taken

    def standing(self) -> Standing:
        """Walk through what is claimed, in the order of what it is believed for."""
        shipped, came_back = self.shipped, len(self._placed())
        lost = sum(back.disposition == "write_off" for back in self.backs)
        # What left is off the shelf and what came back is on it, but for what the desk threw away.
        on_hand = came_back - shipped - lost
        at_desk, out, owed = came_back, shipped - came_back, max(0, self.ordered - shipped)
        # At the desk, and never left as far as the channel goes.
        loose, claimed_owed, given_back = len(self.backs) - came_back, 0, 0
        claims = [claim for claim in self.claims if claim == "cancel"]
        claims += [claim for claim in self.claims if claim == "legacy_restock"]
        came = [claim for claim in self.claims if claim == "return"]
        for claim in claims:
            if owed:
                owed -= 1
            else:
                came.append(claim)
        for _ in came:
            if at_desk:
                at_desk -= 1
                given_back += 1
            elif loose and owed:
                loose, owed = loose - 1, owed - 1
            elif out:
                out, on_hand = out - 1, on_hand + 1
                given_back += 1
            elif owed:
                # Back, as the channel says, of what never left, as far as we know: its shipment is still to be told.
                owed, claimed_owed, on_hand = owed - 1, claimed_owed + 1, on_hand + 1
                given_back += 1
            else:
                given_back += 1
        owed += claimed_owed
        broken = max(0, shipped - given_back)
        for _ in range(self.claims.count("no_restock")):
            if broken:
                broken -= 1
            elif owed:
                owed -= 1
                if loose:
                    loose -= 1
                else:
                    on_hand -= 1
        apart = sum(back.disposition == "quarantine" for back in self.backs)
        return Standing(on_hand, apart, 0 if self.is_cancelled else owed)
