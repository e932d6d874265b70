"""How the places of a seller at Amazon are called: what the seller ships itself, and what Amazon ships for it."""

from __future__ import annotations

OWN_PLACE = ""
"""The seller's own stock, one number in one marketplace."""

FBA_PLACE = "FBA"
"""Amazon's warehouses (Fulfilment by Amazon): read, never written."""
