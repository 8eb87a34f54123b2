"""Convex hulls: what a composition decomposes to, closed or in contact with a reservoir."""
