"""A cluster's scheduler: configuration, batch scripts, and as many allocations as the jobs need."""
