"""The outside world for tests and the demo: fake vendors behind one port, with their rules, limits and errors."""
