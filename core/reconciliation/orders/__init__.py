"""Orders and refunds of a channel held against ours: missing here, missing there, different."""
