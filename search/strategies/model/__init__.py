"""The space as a lattice of points, and what is believed of them: quality and costs as forms."""
