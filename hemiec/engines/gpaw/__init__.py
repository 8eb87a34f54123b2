"""DFT with GPAW (doi:10.1063/5.0182685)."""
