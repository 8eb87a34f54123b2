"""The queue of jobflow-remote, and what its workers run."""
