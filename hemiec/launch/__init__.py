"""FireWorks: submission, workers, progress and repair."""
