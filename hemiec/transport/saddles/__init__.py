"""Minimum-energy paths: bands, eigenvector following and minimum-mode following, counted in force calls."""
