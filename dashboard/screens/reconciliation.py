"""What differs between us and the channels, since when, and why?"""

from __future__ import annotations

from dashboard import components

components.title("Reconciliation")
