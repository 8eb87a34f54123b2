# GPAW's smallest build: g++ alone, numpy's linear algebra, the built-in LDA and PBE. Gives the same PBE(+U)
# numbers as a full build; no GLLB-SC, no MPI. Found by GPAW's setup.py through GPAW_CONFIG.
compiler = "g++"
mpi = False
noblas = True
nolibxc = True
libraries = []
