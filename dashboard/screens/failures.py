"""What broke, why, and what would a retry do?"""

from __future__ import annotations

from dashboard import components

components.title("Failures")
