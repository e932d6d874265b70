"""Who earns what of every order line: parties, rules, splits, and when earnings become payable."""
