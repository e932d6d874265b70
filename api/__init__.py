"""The public door: what vendors send us comes in here, and nothing internal can be reached through it."""
