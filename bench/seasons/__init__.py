"""Whole selling hours on virtual time: demand, channels, faults; our planner, baselines and a bound beside it."""
