"""What walkers do on a network: exact diffusion, percolation, kinetic Monte Carlo, conductivity."""
