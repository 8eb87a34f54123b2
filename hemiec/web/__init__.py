"""The results over HTTP, read-only: a REST API under /api/v1, and OPTIMADE."""
