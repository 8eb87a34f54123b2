"""Figures of thermodynamics, for papers and the shell."""
