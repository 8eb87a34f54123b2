"""Every figure of a candidate, for `hemiec show --plot`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hemiec.errors import HemiecError, InputError
from hemiec.schemas.documents import CandidateDoc, CandidateResult
from hemiec.schemas.thermo import Thermodynamics
from hemiec.schemas.transport import HopSummary, TransportSummary
from hemiec.store.database import Database, store_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hemiec.thermo.phases import PhaseSet

_DPI = 200


def draw(database: Database, doc: CandidateDoc, folder: Path) -> list[Path]:
    """Write every figure of a candidate as PNG and return the files.

    All are drawn before the first is written. Candidates with several results have a folder for each.

    Raises
    ------
    InputError
        If there is nothing to draw.
    """
    drawn = {
        (folder if len(doc.results) == 1 else folder / result.plan_id) / f"{name}.png": figure
        for result in doc.results
        for name, figure in _figures(database, doc, result)
    }
    if not drawn:
        raise InputError(f"{doc.candidate_id}: there is nothing to draw yet.", mend="hemiec status, hemiec build")
    content: dict[Path, bytes] = {}
    for path, figure in drawn.items():
        target = io.BytesIO()
        figure.savefig(target, format="png", dpi=_DPI)
        content[path] = target.getvalue()
    for path, picture in content.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    return list(content)


def _figures(database: Database, doc: CandidateDoc, result: CandidateResult) -> Iterator[tuple[str, Figure]]:
    from hemiec.thermo.plots.candidate import figures

    if result.thermodynamics is not None:
        yield from figures(result.thermodynamics, label=doc.candidate.label).items()
        cut = _hull_cut(database, doc, result.thermodynamics)
        if cut is not None:
            yield "hull-cut", cut
    if result.transport is not None:
        yield from _transport_figures(result.transport, result.hops)


def _hull_cut(database: Database, doc: CandidateDoc, found: Thermodynamics) -> Figure | None:
    """Return the hull from the oxides of A through the candidate; None where that line does not exist."""
    from hemiec.thermo.formation import composition
    from hemiec.thermo.hull.convex import Hull
    from hemiec.thermo.plots.hulls import hull_cut, oxide_ends

    above = None if found.hull is None else found.hull.energy_above_hull.value
    if above is None:
        return None
    spec, amounts = doc.candidate, composition(doc.candidate)
    try:
        ends = oxide_ends(amounts, [s for s in spec.sites["A"] if s in amounts], spec.oxidation_states)
        hull = Hull(_phases(database, found, doc.elements), doc.elements)
        energy = float(hull.energies(hull.fractions([amounts]))[0]) + above
        return hull_cut(hull, ends, candidate=amounts, energy_per_atom=energy, label=spec.label)
    except HemiecError:
        # Other anions than oxygen, a protocol of one's own that is no longer here: the other figures stand.
        return None


def _phases(database: Database, found: Thermodynamics, elements: list[str]) -> PhaseSet:
    """Return the reference phases of the candidate's elements, on the scale of its protocol."""
    from pymatgen.core import Composition

    from hemiec.engines.protocol import load_protocol
    from hemiec.thermo.corrections import corrected_energy_per_atom
    from hemiec.thermo.phases import PhaseEnergy, PhaseSet

    settings = load_protocol(found.protocol).thermo
    of_them = {"protocol_hash": found.protocol_hash, "elements": {"$not": {"$elemMatch": {"$nin": elements}}}}
    fields = {"_id": 0, "reference_id": 1, "energy_per_atom": 1, "job_uuid": 1}
    with store_errors():
        stored = list(database["references"].find(of_them, fields))
    phases = []
    for reference in stored:
        phase_id = reference["reference_id"].rsplit(":", 1)[0]
        amounts = Composition(phase_id.split("-")[0])
        energy = corrected_energy_per_atom(phase_id, amounts, reference["energy_per_atom"], settings)
        phases.append(PhaseEnergy(phase_id, amounts, energy, found.protocol_hash, reference["job_uuid"]))
    return PhaseSet(phases)


def _transport_figures(of: TransportSummary, hops: list[HopSummary]) -> Iterator[tuple[str, Figure]]:
    import numpy as np

    from hemiec.transport.plots import HopPath, arrhenius, barrier_distribution, conducting_network, hop_profile
    from hemiec.transport.survey import network_of

    network = network_of(of.network)
    both = [np.array(of.saddle_energies) - np.array(of.site_energies)[ends] for ends in (network.start, network.end)]
    known = np.array(of.hop_computed, dtype=bool)
    if network.n_hops:
        yield (
            "barriers",
            barrier_distribution(
                *(np.concatenate([b[mask] for b in both]) for mask in (known, ~known)),
                effective=of.effective_barrier.value,
                interval=of.effective_barrier.interval,
                single_hop=of.hop_barrier.value,
            ),
        )
        yield "network", conducting_network(network, of.hop_share, site_energies=of.site_energies)
    paths = [HopPath(hop.reaction_coordinate, hop.energies, hop.environment) for hop in hops if hop.energies]
    if paths:
        yield "hops", hop_profile(paths)
    curve = of.log10_diffusivity
    rows = np.array([of.temperatures_K, curve.median, curve.low, curve.high], dtype=float)
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    if rows.size:
        yield "arrhenius", arrhenius(*rows, effective_barrier=of.effective_barrier.value)
