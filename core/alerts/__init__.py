"""Alerts: limits that people set, and what is found above them."""
