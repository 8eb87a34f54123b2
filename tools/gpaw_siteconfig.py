# GPAW's build, found by its setup.py through GPAW_CONFIG: g++ alone is enough for LDA, PBE and +U on numpy's linear
# algebra. libxc (which GLLB-SC needs) and OpenBLAS (faster) are used where their headers are installed. No MPI.
import subprocess


def _links(include: str, library: str) -> bool:
    """Return whether a program with this header links against this library."""
    source = f"#include <{include}>\nint main() {{ return 0; }}\n"
    command = ["g++", "-x", "c++", "-", f"-l{library}", "-o", "/dev/null"]
    return subprocess.run(command, input=source, text=True, capture_output=True).returncode == 0


compiler = "g++"
mpi = False
nolibxc = not _links("xc.h", "xc")
noblas = not _links("cblas.h", "openblas")
libraries = [name for name, absent in (("xc", nolibxc), ("openblas", noblas)) if not absent]
