"""Checks of what works here, each with the mend for what does not."""
