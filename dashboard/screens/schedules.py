"""What runs when, did it, and what is next?"""

from __future__ import annotations

from dashboard import components

components.title("Schedules")
