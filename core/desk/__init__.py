"""What the warehouse does to stock by hand: documents, counts, files, and taking any of it back."""
