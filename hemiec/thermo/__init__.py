"""Reference phases and formation energies."""
