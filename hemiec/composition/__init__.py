"""The space of candidates: site fractions, charge balance, descriptors and names."""
