"""MongoDB: the embedded server, collections, builders and queries."""
