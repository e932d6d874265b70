"""What others call our categories: their taxonomies, and which entry of one each of ours is."""
