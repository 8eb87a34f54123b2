"""Stored documents: what jobs return, what the database holds, what a leaderboard shows."""
