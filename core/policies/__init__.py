"""Channel rules: which channel may sell how much of what; previewed, versioned, undoable."""
