"""Products and their variants: what they are now, every version they ever had, and how they are found."""
