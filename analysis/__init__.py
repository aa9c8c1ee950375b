"""Reads finished or running studies and checkpoints."""
