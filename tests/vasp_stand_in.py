"""Stands in for VASP in tests: reads its inputs and writes outputs of its format with made-up numbers.

It computes nothing. Energy: -7 eV per atom, plus 0.5 eV per squared relative deviation of the volume from 11.5
angstrom^3 per atom times the number of atoms, minus 0.01 eV per Bohr magneton of total moment. A relaxation scales the
cell to that volume. Bands: three filled and three empty ones per spin; the highest filled has its maximum, 0 eV, at the
zone's corner and the lowest empty its minimum, 2 eV, at its centre. HEMIEC_STAND_IN says how to fail.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

VOLUME_PER_ATOM = 11.5
GAP = 2.0
WIDTH = 0.25
#: Centre of the made-up oxygen 2p states and the Fermi level, in eV.
OXYGEN_2P, FERMI = -3.0, 1.0


def energy_of(n_atoms: int, volume: float, total_moment: float) -> float:
    deviation = volume / n_atoms / VOLUME_PER_ATOM - 1
    return n_atoms * (-7.0 + 0.5 * deviation**2) - 0.01 * total_moment


@dataclass
class Cell:
    """POSCAR: rows of the lattice in angstrom, element of each site, fractional coordinates."""

    lattice: np.ndarray
    species: list[str]
    fractional: np.ndarray

    @classmethod
    def read(cls, path: str) -> Cell:
        lines = Path(path).read_text().splitlines()
        lattice = float(lines[1]) * np.array([[float(x) for x in line.split()] for line in lines[2:5]])
        species = [s for s, n in zip(lines[5].split(), lines[6].split(), strict=True) for _ in range(int(n))]
        start = 8 + lines[7].lower().startswith("s")  # selective dynamics
        rows = [[float(x) for x in line.split()[:3]] for line in lines[start : start + len(species)]]
        return cls(lattice, species, np.array(rows))

    def write(self, path: str) -> None:
        counts = [str(self.species.count(s)) for s in self.kinds]
        rows = "\n".join(" ".join(f"{x:.12f}" for x in row) for row in [*self.lattice])
        sites = "\n".join(" ".join(f"{x:.12f}" for x in row) for row in self.fractional)
        Path(path).write_text(f"stand-in\n1.0\n{rows}\n{' '.join(self.kinds)}\n{' '.join(counts)}\ndirect\n{sites}\n")

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(self.species))

    @property
    def volume(self) -> float:
        return abs(float(np.linalg.det(self.lattice)))

    @property
    def reciprocal(self) -> np.ndarray:
        return np.linalg.inv(self.lattice).T

    def __len__(self) -> int:
        return len(self.species)


def read_incar() -> dict[str, Any]:
    """Return the tags as booleans, integers, numbers, lists of numbers, or text; n*x is written out."""
    found = {}
    for line in Path("INCAR").read_text().splitlines():
        tag, _, text = line.partition("=")
        words = []
        for word in text.split():
            count, star, value = word.partition("*")
            words += [value] * int(count) if star else [word]
        values = [_value(w) for w in words]
        is_list = tag.strip() in ("MAGMOM", "LDAUU", "LDAUJ", "LDAUL")
        found[tag.strip()] = values if is_list else values[0]
    return found


def _value(word: str) -> Any:
    if word.strip(".").upper() in ("TRUE", "FALSE", "T", "F"):
        return word.strip(".").upper().startswith("T")
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def bands_at(kpoints: np.ndarray) -> np.ndarray:
    """Return eigenvalues in eV, shape=(n_kpoints, 6)."""
    cosines = np.cos(2 * np.pi * kpoints).sum(axis=1)
    filled = -WIDTH * (3 + cosines)
    empty = GAP + WIDTH * (3 - cosines)
    return np.stack([filled - 8, filled - 4, filled, empty, empty + 4, empty + 8], axis=1)


def _rows(values: np.ndarray, tag: str = "v") -> str:
    return "\n".join(f"<{tag}> " + " ".join(f"{x:.8f}" for x in row) + f" </{tag}>" for row in values)


def _structure_xml(cell: Cell, name: str | None) -> str:
    label = f' name="{name}"' if name else ""
    return (
        f'<structure{label}><crystal><varray name="basis">\n{_rows(cell.lattice)}'
        f'</varray><i name="volume">{cell.volume:.8f}</i><varray name="rec_basis">'
        f"{_rows(cell.reciprocal)}</varray></crystal>"
        f'<varray name="positions">\n{_rows(cell.fractional)}</varray></structure>\n'
    )


def _tag(name: str, value: object) -> str:
    if isinstance(value, list):
        kind = ' type="int"' if name == "LDAUL" else ""
        return f'<v{kind} name="{name}">{" ".join(str(x) for x in value)}</v>'
    kind = "logical" if isinstance(value, bool) else "int" if isinstance(value, int) else "string"
    return f'<i type="{kind}" name="{name}">{str(value)[0] if kind == "logical" else value}</i>'


def _mesh(incar: dict[str, Any], cell: Cell) -> tuple[np.ndarray, list[int]]:
    if Path("KPOINTS").is_file():
        lines = Path("KPOINTS").read_text().splitlines()
        if n := int(lines[1]):
            return np.array([[float(x) for x in line.split()[:3]] for line in lines[3 : 3 + n]]), [0, 0, 0]
        divisions = [int(n) for n in lines[3].split()]
    else:
        lengths = 2 * np.pi * np.linalg.norm(cell.reciprocal, axis=1)
        divisions = [max(1, int(np.ceil(x / incar["KSPACING"] - 1e-6))) for x in lengths]
    grid = np.stack(np.meshgrid(*(np.arange(n) / n for n in divisions), indexing="ij"), axis=-1).reshape(-1, 3)
    return grid, divisions


def _potcar_titles() -> list[str]:
    """Return the titles of the (made-up) POTCARs, or of the names in POTCAR.spec."""
    for path in (Path("POTCAR"), Path("../POTCAR")):  # an image of a band has it one folder up
        if path.is_file():
            return [x.strip() for x in path.read_text().splitlines() if x.strip().startswith("PAW")]
    return [f"PAW_PBE {name} 01Jan2000" for name in Path("POTCAR.spec").read_text().split()]


def _dos(cell: Cell, n_spins: int) -> str:
    grid = np.linspace(-12, 12, 241)
    total = np.where((grid < 0) | (grid > GAP), 1.0, 0.0)
    p_states = np.where(np.abs(grid - OXYGEN_2P) < 1.05, 0.2, 0.0)
    zero = np.zeros_like(grid)

    def spins(columns: list[np.ndarray]) -> str:
        body = _rows(np.stack(columns, axis=1), "r")
        return "".join(f'<set comment="spin {s + 1}">\n{body}</set>' for s in range(n_spins))

    ions = "".join(
        f'<set comment="ion {i + 1}">'
        + spins([grid, zero, *[p_states if element == "O" else zero] * 3, *[zero] * 5])
        + "</set>"
        for i, element in enumerate(cell.species)
    )
    fields = "".join(
        f"<field>{f}</field>" for f in ("energy", "s", "py", "pz", "px", "dxy", "dyz", "dz2", "dxz", "x2-y2")
    )
    return (
        f'<dos><i name="efermi">{FERMI}</i><total><array><dimension dim="1">gridpoints</dimension>'
        "<field>energy</field><field>total</field><field>integrated</field><set>"
        f"{spins([grid, total, np.cumsum(total) * 0.1])}</set></array></total>"
        f'<partial><array><dimension dim="1">gridpoints</dimension>{fields}<set>{ions}</set></array></partial></dos>'
    )


def write_outputs(
    incar: dict[str, Any],
    initial: Cell,
    final: Cell,
    moments: list[float],
    *,
    n_iterations: int = 3,
    n_steps: int = 1,
    energy: float | None = None,
) -> None:
    """Write vasprun.xml, OUTCAR, OSZICAR, CONTCAR, and CHGCAR and WAVECAR if asked for, into the current folder."""
    n_spins = incar.get("ISPIN", 1)
    kpoints, divisions = _mesh(incar, initial)
    total_moment = sum(moments)
    value = energy_of(len(final), final.volume, total_moment) if energy is None else energy
    symbols = initial.kinds
    titles = _potcar_titles()
    pressure = 10.0 * (VOLUME_PER_ATOM - final.volume / len(final))
    scsteps = "".join(
        f'<scstep><energy><i name="e_fr_energy">{value + 0.1**n:.8f}</i><i name="e_wo_entrp">{value + 0.1**n:.8f}</i>'
        f'<i name="e_0_energy">{value + 0.1**n:.8f}</i></energy></scstep>'
        for n in range(1, n_iterations + 1)
    )
    bands = bands_at(kpoints)
    occupations = np.tile([1, 1, 1, 0, 0, 0], (len(kpoints), 1))
    eigenvalues = "".join(
        f'<set comment="spin {s + 1}">'
        + "".join(
            f'<set comment="kpoint {k + 1}">' + _rows(np.stack([bands[k], occupations[k]], axis=1), "r") + "</set>"
            for k in range(len(kpoints))
        )
        + "</set>"
        for s in range(n_spins)
    )

    def calculation(structure: Cell, *, last: bool) -> str:
        return (
            f"<calculation>{scsteps}{_structure_xml(structure, None)}"
            f'<varray name="forces">{_rows(np.zeros((len(structure), 3)) + (0.0 if last else 0.1))}</varray>'
            f'<varray name="stress">{_rows(np.eye(3) * pressure)}</varray>'
            f'<energy><i name="e_fr_energy">{value:.8f}</i><i name="e_wo_entrp">{value:.8f}</i>'
            f'<i name="e_0_energy">{value:.8f}</i></energy>'
            + (
                f'<eigenvalues><array><dimension dim="1">band</dimension><dimension dim="2">kpoint</dimension>'
                f'<dimension dim="3">spin</dimension><field>eigene</field><field>occ</field><set>{eigenvalues}</set>'
                f"</array></eigenvalues>{_dos(structure, n_spins)}"
                if last
                else ""
            )
            + "</calculation>\n"
        )

    atoms = "".join(f"<rc><c>{element:2}</c><c>{symbols.index(element) + 1}</c></rc>" for element in initial.species)
    types = "".join(
        f"<rc><c>{initial.species.count(s)}</c><c>{s:2}</c><c>1.0</c><c>4.0</c><c>{t}</c></rc>"
        for s, t in zip(symbols, titles, strict=True)
    )
    parameters = {
        "ENMAX": incar["ENCUT"],
        "NELECT": 4.0 * len(initial),
        "SIGMA": incar.get("SIGMA", 0.2),
        "EDIFF": incar["EDIFF"],
        "EDIFFG": incar.get("EDIFFG", 10 * incar["EDIFF"]),
    }
    whole = {
        "NELM": incar.get("NELM", 60),
        "NSW": incar.get("NSW", 0),
        "IBRION": incar.get("IBRION", -1 if not incar.get("NSW") else 0),
        "ISMEAR": incar.get("ISMEAR", 1),
        "ISPIN": n_spins,
        "NBANDS": 6,
        "ISYM": 2,
        "LORBIT": 11,
    }
    written = "".join(f'<i name="{k}">{v:.8f}</i>' for k, v in parameters.items()) + "".join(
        f'<i type="int" name="{k}">{v}</i>' for k, v in whole.items()
    )
    written += "".join(_tag(k, v) for k, v in incar.items() if k in ("LDAUU", "LDAUJ", "LDAUL", "LDAU"))
    tags = "".join(_tag(k, v) for k, v in incar.items() if isinstance(v, bool | int | str | list))
    steps = [initial if n < n_steps - 1 else final for n in range(n_steps)]
    generation = (
        f'<generation param="Gamma"><v type="int" name="divisions">{" ".join(map(str, divisions))}</v>'
        '<v name="usershift">0.0 0.0 0.0</v></generation>'
        if any(divisions)
        else ""
    )
    Path("vasprun.xml").write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling><generator><i name="program" type="string">vasp </i>'
        '<i name="version" type="string">0.0.0-stand-in </i></generator>'
        f"<incar>{tags}</incar>"
        f'<kpoints>{generation}<varray name="kpointlist">{_rows(kpoints)}</varray>'
        f'<varray name="weights">{_rows(np.full((len(kpoints), 1), 1 / len(kpoints)))}</varray></kpoints>'
        f"<parameters>{written}</parameters>"
        f'<atominfo><atoms>{len(initial)}</atoms><types>{len(symbols)}</types><array name="atoms">'
        f'<field type="string">element</field><field type="int">atomtype</field><set>{atoms}</set></array>'
        f'<array name="atomtypes"><field>n</field><set>{types}</set></array></atominfo>'
        f"{_structure_xml(initial, 'initialpos')}"
        + "".join(calculation(s, last=n == len(steps) - 1) for n, s in enumerate(steps))
        + f"{_structure_xml(final, 'finalpos')}</modeling>\n"
    )
    header = "# of ion       s       p       d       tot"
    charges = "\n".join(f"    {i + 1}   0.100   1.000   0.100   1.200" for i in range(len(initial)))
    magnetism = "\n".join(f"    {i + 1}   0.000   0.000   {m:.3f}   {m:.3f}" for i, m in enumerate(moments))
    rule = "-" * 40
    Path("OUTCAR").write_text(
        " vasp.0.0.0-stand-in: written by a test, not by VASP\n running on    1 total cores\n"
        f"   ISPIN  = {n_spins}\n   number of bands    NBANDS=      6\n   total plane-waves  NPLWV =  1000\n"
        f"   IBRION = {whole['IBRION']}\n"
        + "".join("      LOOP:  cpu time    0.5000: real time    0.5000\n" for _ in range(n_iterations))
        + "    total drift:                                0.000000      0.000000      0.000000\n" * n_steps
        + f" number of electron      24.0000000 magnetization {total_moment:16.7f}\n E-fermi :   {FERMI}\n"
        f"\n total charge\n\n{header}\n{rule}\n{charges}\n{rule}\ntot   1.0   1.0   1.0   1.0\n"
        + (
            f"\n magnetization (x)\n\n{header}\n{rule}\n{magnetism}\n{rule}\ntot   0.0   0.0   0.0 {total_moment:.3f}\n"
            if n_spins == 2
            else ""
        )
        + f"\n  free  energy   TOTEN  =  {value:.8f} eV\n  energy  without entropy=  {value:.8f}"
        f"  energy(sigma->0) =  {value:.8f}\n\n reached required accuracy\n"
        " General timing and accounting informations for this job:\n"
        "   Total CPU time used (sec):       1.500\n   Elapsed time (sec):       2.000\n"
    )
    Path("OSZICAR").write_text(
        "".join(f"DAV: {n:3d}    {value + 0.1**n:.8E}   0.1E+00\n" for n in range(1, n_iterations + 1))
        + f"   1 F= {value:.8E} E0= {value:.8E}  d E =0.0\n"
    )
    final.write("CONTCAR")
    if incar.get("LWAVE", True):
        Path("WAVECAR").write_bytes(b"stand-in")
    if incar.get("LCHARG", True):
        Path("CHGCAR").write_text("stand-in\n")


def band(incar: dict[str, Any]) -> int:
    """Write the outputs of each image of a band, 0.6 eV higher in the middle than at the ends."""
    n = incar["IMAGES"]
    for k in range(1, n + 1):
        os.chdir(f"{k:02}")
        frame = Cell.read("POSCAR")
        moments = [float(m) for m in incar.get("MAGMOM", [])] or [0.0] * len(frame)
        hill = 0.6 * np.sin(np.pi * k / (n + 1))
        write_outputs(
            incar, frame, frame, moments, n_steps=2, energy=energy_of(len(frame), frame.volume, sum(moments)) + hill
        )
        os.chdir("..")
    return 0


def main() -> int:
    mode = os.environ.get("HEMIEC_STAND_IN", "")
    incar = read_incar()
    initial = Cell.read("POSCAR")
    relaxing = incar.get("NSW", 0) > 0
    if "IMAGES" in incar:
        return band(incar)
    print("starts from", sorted(name for name in ("CHGCAR", "WAVECAR") if Path(name).is_file()))
    if mode == "crash":
        print("forrtl: severe (174): SIGSEGV, segmentation fault occurred", file=sys.stderr)
        return 174
    if mode == "out of memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if incar.get("ICHARG", 0) == 11 and not Path("CHGCAR").is_file():
        print("ERROR: charge density could not be read from file CHGCAR for ICHARG>10", file=sys.stderr)
        return 1
    moments = [float(m) for m in incar.get("MAGMOM", [])] if incar.get("ISPIN", 1) == 2 else [0.0] * len(initial)
    final = initial
    # With the made-up stop only a run that goes on from wavefunctions gets to the end.
    stopped = mode == "slow" and not Path("WAVECAR").is_file()
    if relaxing and incar.get("ISIF", 2) == 3 and not stopped:
        scale = (VOLUME_PER_ATOM * len(initial) / initial.volume) ** (1 / 3)
        final = Cell(initial.lattice * scale, initial.species, initial.fractional)
    n_iterations = incar.get("NELM", 60) if mode == "no convergence" else 3
    n_steps = incar["NSW"] if stopped and relaxing else (2 if relaxing else 1)
    if stopped:
        n_iterations = 3 if relaxing else incar.get("NELM", 60)
    write_outputs(
        incar,
        initial,
        final,
        moments,
        n_iterations=n_iterations,
        n_steps=n_steps,
        energy=float("nan") if mode == "nan" else None,
    )
    if mode == "mend" and not Path("error.1.tar.gz").is_file():
        print("ZBRENT: fatal error in bracketing")
    if mode == "other potcar":
        text = Path("vasprun.xml").read_text()
        Path("vasprun.xml").write_text(text.replace("PAW_PBE O 01Jan2000", "PAW_PBE O_s 01Jan2000"))
    if mode == "cut off":
        text = Path("vasprun.xml").read_text()
        Path("vasprun.xml").write_text(text[: len(text) // 2])
    if stopped:
        deadline = time.monotonic() + 60
        while not Path("STOPCAR").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
