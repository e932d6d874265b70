"""What targets of the catalogue are to be told, and what became of telling them."""
