"""Measurements: our figures beside a floor and a baseline measured in the same run. `python -m bench --help`."""
