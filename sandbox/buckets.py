"""Token buckets on the sandbox clock: the form of every vendor's quota."""

from dataclasses import dataclass


@dataclass
class Bucket:
    """Starts full, refills at `rate` a second up to `capacity`."""

    capacity: float
    rate: float
    level: float
    filled_at: float

    @classmethod
    def full(cls, capacity: float, rate: float, now: float) -> "Bucket":
        return cls(capacity, rate, capacity, now)

    def available(self, now: float) -> float:
        self.level = min(self.capacity, self.level + max(0.0, now - self.filled_at) * self.rate)
        self.filled_at = now
        return self.level

    def take(self, points: float, now: float) -> bool:
        """Takes all or nothing."""
        # A hair of tolerance, so that n refills of 1/n make a whole token in floating point.
        if self.available(now) + 1e-9 < points:
            return False
        self.level -= points
        return True

    def give_back(self, points: float, now: float) -> None:
        self.level = min(self.capacity, self.available(now) + points)
