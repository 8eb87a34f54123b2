"""Reference phases: their tables, structures, and the energies that come with hemiec."""
