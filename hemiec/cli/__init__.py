"""The command line; the only part of hemiec that prints."""
