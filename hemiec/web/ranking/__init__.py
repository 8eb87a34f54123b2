"""The leaderboard of this moment: candidates in memory, ranked anew for every question."""
