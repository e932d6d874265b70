"""Channel orders: lines, shipments, refunds and returns, each booked once."""
