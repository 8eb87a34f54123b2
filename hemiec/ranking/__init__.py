"""Leaderboards: what counts, who is best, and how the result is printed, exported and drawn."""
