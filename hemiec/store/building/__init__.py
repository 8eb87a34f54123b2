"""From what jobs returned to the documents that are queried and ranked."""
