"""Diffusion from trajectories of molecular dynamics."""
