"""Special quasirandom structures and the cells they live in."""
