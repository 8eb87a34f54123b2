"""What computed sites and hops say of the others: surroundings, local model, and which to compute next."""
