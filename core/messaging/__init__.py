"""What came in (inbox), what is to be said (outbox), and the bell that wakes the workers (doorbell)."""
