"""Failures of every kind in one place, and having their work done again: seen, weighed, released at a pace, settled."""
