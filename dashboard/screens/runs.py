"""What syncs ran, how far are they, and how did they end?"""

from __future__ import annotations

from dashboard import components

components.title("Runs")
