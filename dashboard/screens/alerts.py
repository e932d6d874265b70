"""What was said, and who has it?"""

from __future__ import annotations

from dashboard import components

components.title("Alerts")
