"""Measurements: each module is a command whose last printed line is its figure."""
