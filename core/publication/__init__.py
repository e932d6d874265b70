"""Products at channels: who is master of which field, what each channel shows of a product, and what it should."""
