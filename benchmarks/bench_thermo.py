"""Thermodynamics against experiment, PBE+U and pymatgen: enthalpies from oxides, formation energies, vacancies, hull.

    python benchmarks/bench_thermo.py                              # about a quarter of an hour on one core
    python benchmarks/bench_thermo.py --emery abo3_dft_half.csv    # or HEMIEC_EMERY; default ../shared/reference
    python benchmarks/bench_thermo.py --only enthalpies --protocol mlip-7net-0

All energies are computed anew; with --cache FILE they are kept there and a run that was stopped goes on. Each part
prints its tables; the last line is one JSON object of all of them. Peers beside us: the same potential without
corrections, with --peer another potential, and pymatgen for the hull.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import thermo_calorimetry
import thermo_emery
import thermo_hull
import thermo_vacancies
from thermo_energies import Energies

from hemiec.errors import HemiecError

PARTS = ("enthalpies", "emery", "vacancies", "hull")
EMERY = Path(__file__).resolve().parents[2] / "shared" / "reference" / "abo3_dft_half.csv"
#: Figures of a part that are also printed for the peer potential.
SHARED = ("enthalpy_mae_kJ_per_mol", "enthalpy_of_seven_mae_kJ_per_mol", "vacancy_LaFeO3_minus_SrFeO3_eV")


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--protocol", default="mlip-chgnet", help="MLIP protocol (default: %(default)s)")
    parser.add_argument("--peer", metavar="PROTOCOL", help="another one beside it, such as mlip-7net-0")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="JSON file that keeps energies over runs")
    default = Path(os.environ.get("HEMIEC_EMERY", EMERY))
    parser.add_argument("--emery", type=Path, metavar="FILE", default=default, help="CSV of Emery and Wolverton")
    return parser.parse_args()


def potential(energies: Energies, parts: tuple[str, ...], emery: Path) -> tuple[dict[str, float], list[str]]:
    """Run the parts that a potential is measured by; return figures and what falls short."""
    figures: dict[str, float] = {}
    short: list[str] = []
    if "enthalpies" in parts:
        found, missed = thermo_calorimetry.compare(energies)
        figures |= found
        short += missed
    if "emery" in parts and emery.exists():
        found, failed = thermo_emery.compare(energies, emery)
        figures |= found
        short += ["emery_n_failed"] if failed else []
    elif "emery" in parts:
        print(f"\nPBE+U of Emery and Wolverton: left out, there is no file {emery}; name it with --emery FILE")
        short.append("emery_n")
    if "vacancies" in parts:
        found, missed = thermo_vacancies.compare(energies)
        figures |= found
        short += missed
    return figures, short


def main() -> None:
    """Run the parts and print the JSON line."""
    warnings.filterwarnings("ignore")
    options = arguments()
    parts = tuple(options.only)
    energies = Energies(options.protocol, options.cache)
    figures, short = potential(energies, parts, options.emery)
    peers: dict[str, dict[str, float]] = {}
    if "enthalpies" in parts:
        for ours in ("enthalpy_mae_kJ_per_mol", "enthalpy_of_seven_mae_kJ_per_mol"):
            as_is = figures.pop(ours.replace("_mae", "_as_is_mae"))
            peers[ours] = {f"{options.protocol} without corrections": as_is}
    if options.peer:
        others, _ = potential(Energies(options.peer, options.cache), parts, options.emery)
        for name in (name for name in SHARED if name in others and name in figures):
            peers.setdefault(name, {})[options.peer] = others[name]
    if "hull" in parts:
        figures |= thermo_hull.figures()
        peers |= thermo_hull.peers()
        short += thermo_hull.short()
    rounded = {name: round(value, 4) for name, value in figures.items()}
    beside = {name: {peer: round(value, 4) for peer, value in of.items()} for name, of in peers.items()}
    print(json.dumps({"name": "thermo", "figures": rounded, "peers": beside, "short": short}))


if __name__ == "__main__":
    try:
        main()
    except HemiecError as error:
        raise SystemExit(f"error: {error}") from None
