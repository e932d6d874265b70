"""Files of products on their way into the catalogue: read without effect, applied in batches, taken back."""
