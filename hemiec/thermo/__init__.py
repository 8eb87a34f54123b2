"""Reference phases and formation energies."""

#: Raise it when the thermodynamics of a candidate would come out differently from the same energies: all is then
#: computed anew.
THERMO_VERSION = 2
