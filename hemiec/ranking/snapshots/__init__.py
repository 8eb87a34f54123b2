"""Immutable copies of the candidates that leaderboards are ranked from, and what changed between two of them."""
