"""Units and physical constants used across the package."""

from __future__ import annotations

EV = "eV"
EV_PER_ATOM = "eV/atom"
ANGSTROM = "angstrom"
DIMENSIONLESS = "1"

#: Boltzmann constant in eV/K, exact since the 2019 SI (CODATA 2018, doi:10.1103/RevModPhys.93.025010).
BOLTZMANN_EV_PER_K = 8.617333262145179e-05
#: One eV per particle in kJ/mol: elementary charge times Avogadro constant, exact in the SI.
KJ_PER_MOL_PER_EV = 96.48533212331002
