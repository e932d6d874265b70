"""Product files: recognised by their heads, read row by row, and turned into drafts of products or sentences."""
