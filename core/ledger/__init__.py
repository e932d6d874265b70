"""The double-entry, append-only ledger: accounts, transactions, entries, and the chain that seals them."""
