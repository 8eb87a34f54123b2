"""Reactions of candidates with lithium and solid electrolytes."""
