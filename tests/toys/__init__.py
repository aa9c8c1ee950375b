"""Small programs that stand in for trainers and orchestrators."""
