"""The stock truth: levels explained by movements and reservations, and the writes that publish it."""
