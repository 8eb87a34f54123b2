"""DFT with VASP through atomate2 (doi:10.1039/D5DD00019J)."""
