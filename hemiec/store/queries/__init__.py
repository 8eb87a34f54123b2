"""The query language, pages of what it finds, and the Python way to both."""
