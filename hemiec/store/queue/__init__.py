"""What the collections of the queues say: states of jobs, and how many of which kind are in each."""
