"""The day closed: one report for each shop and business day, kept, and corrected openly."""
