"""Machine-learned interatomic potentials."""
