"""Every job, declared beside its function. Thin: claim or load, one operation, done."""
