"""Files that people hand in and fetch: what is known of each; the bytes lie in the store of documents."""
