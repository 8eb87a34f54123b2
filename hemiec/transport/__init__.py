"""Vacancy hops and their barriers."""
