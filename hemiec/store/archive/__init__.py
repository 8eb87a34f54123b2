"""A whole database, or some of its candidates, in one file; and back."""
