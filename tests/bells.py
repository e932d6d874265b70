"""How long tests wait for Redis to take a ring."""

from __future__ import annotations

PATIENCE_SECONDS = 5.0
"""In earnest a ring is given up quickly, and heard by the next sweep. In a test there is none, and the machine may be
busy; nobody waits for the ring."""
