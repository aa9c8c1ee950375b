"""The zoo of swappable model parts, one family per file or folder."""
