"""Dataset recipes and their preparation."""
