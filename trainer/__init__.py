"""One process trains one trial."""
