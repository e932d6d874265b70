"""How did a day go, in one page?"""

from __future__ import annotations

from dashboard import components

components.title("Reports")
