"""Screens for people who operate: reads the SQL views; every write is one core operation with a name and a reason."""
