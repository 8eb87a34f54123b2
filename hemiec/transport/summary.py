"""From what was computed on the cells of a candidate to what governs its conduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, stdev

import numpy as np

from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import Band, TransportSummary
from hemiec.transport.kinetics.conductivity import carrier_density, log10_conductivity
from hemiec.transport.kinetics.diffusion import diffusion
from hemiec.transport.kinetics.percolation import percolation
from hemiec.transport.learning.sampling import Estimate, Interval, combine
from hemiec.transport.survey import FINAL_DRAWS, Survey
from hemiec.units import EV

#: Prefactor of every rate, in THz: the usual size of an attempt frequency, not computed.
ATTEMPT_FREQUENCY_THZ = 10.0


@dataclass(frozen=True)
class Carriers:
    """How many walkers there are.

    Parameters
    ----------
    per_formula_unit
        Walkers per formula unit; None if not known.
    sites_per_formula_unit
        Sites that they share.
    charge
        Formal charge of the mobile ion in e.
    source
        Where the number comes from, or why there is none.
    """

    per_formula_unit: float | None
    sites_per_formula_unit: float
    charge: float
    source: str


@dataclass(frozen=True)
class Origin:
    """What computed the energies: model for people, protocol and versions for the record."""

    model: str
    protocol: str
    protocol_hash: str
    versions: dict[str, str]


def summarise(
    surveys: Sequence[Survey], temperatures_K: Sequence[float], carriers: Carriers, origin: Origin, *, stopped: str
) -> TransportSummary:
    """Return barriers, diffusion and conductivity of a candidate with what they rest on.

    Parameters
    ----------
    surveys
        One per special quasirandom structure, at least one; network and energies shown are those of the first, and
        intervals hold the spread over all.
    temperatures_K
        Temperatures of diffusion and conductivity.
    carriers
        How many vacancies move.
    origin
        What computed the energies.
    stopped
        Why no more hops were computed.
    """
    first = surveys[0]
    network, posterior = first.network, first.posterior
    drawn = posterior.draw(FINAL_DRAWS, np.random.default_rng(first.aim.seed))
    sites, saddles = (energies.mean(axis=0) for energies in drawn)
    site_std, saddle_std = (energies.std(axis=0) for energies in drawn)
    reference_K = first.aim.reference_temperature_K
    at_reference = diffusion(network, sites, saddles, reference_K)
    level = float(at_reference.occupation @ sites)
    ways = percolation(network, sites, saddles)
    estimates = [survey.estimate(temperatures_K) for survey in surveys] if all(s.percolates for s in surveys) else []
    barrier, log10_d = combine(estimates) if estimates else (None, ())
    n_computed = sum(int(np.isfinite(s.saddle_energies).sum()) for s in surveys)
    n_hops = sum(s.network.n_hops for s in surveys)
    method = _method(surveys, origin, n_computed, n_hops)
    per_fu = carriers.per_formula_unit
    return TransportSummary(
        mobile=first.cell.mobile,
        charge=carriers.charge,
        network=first.cell.network,
        site_energies=(sites - level).tolist(),
        site_energy_std=np.where(posterior.site_known, 0.0, site_std).tolist(),
        site_computed=posterior.site_known.tolist(),
        saddle_energies=(saddles - level).tolist(),
        saddle_energy_std=np.where(posterior.saddle_known, 0.0, saddle_std).tolist(),
        hop_computed=posterior.saddle_known.tolist(),
        hop_failures={str(hop): reason for hop, reason in first.hop_failures.items()},
        site_failures={str(site): reason for site, reason in first.site_failures.items()},
        occupation=at_reference.occupation.tolist() if not estimates else estimates[0].occupation.tolist(),
        hop_share=at_reference.hop_share.tolist() if not estimates else estimates[0].hop_share.tolist(),
        reference_temperature_K=reference_K,
        effective_barrier=_effective(barrier, n_computed, method),
        effective_barriers_by_axis=_by_axis(estimates),
        hop_barrier=_single_hops(surveys, origin),
        temperatures_K=list(temperatures_K),
        log10_diffusivity=_band(log10_d, len(temperatures_K)),
        log10_conductivity=None if per_fu is None else _conductivity(log10_d, temperatures_K, first, carriers, per_fu),
        carriers_per_formula_unit=per_fu,
        carriers_source=carriers.source,
        attempt_frequency_THz=ATTEMPT_FREQUENCY_THZ,
        percolates=[way is not None for way in ways.along_lattice],
        bottlenecks=[None if way is None else way.barrier for way in ways.along_lattice],
        correlation_factor=at_reference.correlation_factor,
        sites_in_use=at_reference.site_participation if estimates else None,
        hops_in_use=at_reference.hop_participation if estimates else None,
        site_model_error=posterior.site_validation.rmse,
        saddle_model_error=posterior.saddle_validation.rmse,
        variance_share=estimates[0].variance_share if estimates else {},
        n_hops=n_hops,
        n_computed=n_computed,
        n_failed=sum(len(s.hop_failures) for s in surveys),
        n_force_calls=sum(survey.n_force_calls for survey in surveys),
        stopped=stopped,
        notes=_notes(surveys),
        method=method,
        protocol=origin.protocol,
        protocol_hash=origin.protocol_hash,
        versions=origin.versions,
    )


def _effective(found: Interval | None, n_computed: int, method: str) -> Quantity:
    if found is None:
        reason = "the network of hops does not lead through the crystal"
        return Quantity(value=None, unit=EV, method=method, reason=reason)
    return Quantity(
        value=found.median, unit=EV, method=method, n=n_computed, std=found.std, interval=(found.low, found.high)
    )


def _by_axis(estimates: Sequence[Estimate]) -> list[float | None]:
    """Return the effective barrier along x, y and z of the first cell; cells are not turned alike."""
    if not estimates:
        return [None, None, None]
    return [None if found is None else found.median for found in estimates[0].effective_barriers]


def _single_hops(surveys: Sequence[Survey], origin: Origin) -> Quantity:
    """Return the median of the barriers of all computed hops in both directions."""
    hops = [hop for survey in surveys for sample in survey.samples for hop in sample.hops]
    method = f"median of forward and reverse barriers of the single hops computed with {origin.model}, std over them"
    if not hops:
        return Quantity(value=None, unit=EV, method=method, reason="no saddle of any hop was found")
    barriers = [barrier for hop in hops for barrier in (hop.forward_barrier, hop.reverse_barrier)]
    return Quantity(
        value=median(barriers),
        unit=EV,
        method=method,
        n=len(hops),
        std=stdev(barriers),
        min=min(barriers),
        max=max(barriers),
    )


def _band(found: Sequence[Interval], n: int) -> Band:
    if not found:
        return Band(median=[None] * n, low=[None] * n, high=[None] * n)
    return Band(median=[x.median for x in found], low=[x.low for x in found], high=[x.high for x in found])


def _conductivity(
    log10_d: Sequence[Interval], temperatures_K: Sequence[float], survey: Survey, carriers: Carriers, per_fu: float
) -> Band:
    """Return log10 of the conductivity in S/cm; what vacancies block each other counts as on a uniform network."""
    network = survey.network
    n_units = network.n_sites / carriers.sites_per_formula_unit
    density = carrier_density(per_fu, carriers.sites_per_formula_unit, network.volume / n_units)
    band = _band(log10_d, len(temperatures_K))
    lines = [
        [
            None if x is None else float(log10_conductivity(x, density, carriers.charge, T))
            for x, T in zip(line, temperatures_K, strict=True)
        ]
        for line in (band.median, band.low, band.high)
    ]
    return Band(median=lines[0], low=lines[1], high=lines[2])


def _method(surveys: Sequence[Survey], origin: Origin, n_computed: int, n_hops: int) -> str:
    first = surveys[0]
    cells = f" in {len(surveys)} cells" if len(surveys) > 1 else ""
    return (
        f"effective barrier -d ln D/d(1/kT) at {first.aim.reference_temperature_K:g} K of the {first.cell.mobile} "
        f"vacancy by the exact solution on its network; {n_computed} of {n_hops} hops{cells} computed with "
        f"{origin.model}, the others predicted from their surroundings, 90 % interval over draws; fixed cell, neutral "
        "vacancy"
    )


def _notes(surveys: Sequence[Survey]) -> list[str]:
    """Return what a reader of the numbers should know."""
    notes = []
    tried = {hop for survey in surveys[:1] for hop in survey.hop_failures}
    if tried:
        notes.append(f"no saddle was found for {len(tried)} of the hops that were tried; they are predicted")
    unstable = surveys[0].site_failures
    if unstable:
        notes.append(f"{len(unstable)} sites did not hold a vacancy; they are predicted")
    elsewhere = {site.site for sample in surveys[0].samples for site in sample.sites if site.left_basin}
    if elsewhere:
        notes.append(
            f"the vacancies of {len(elsewhere)} sites relaxed into other octahedral tilts than the cell's; their "
            "energies hold that change"
        )
    vacant = [s for s in surveys[0].cell.network.atom_index if s < 0]
    if vacant:
        notes.append(f"{len(vacant)} sites are vacant in the cell; their energies are predicted")
    if surveys[0].network.onto_own_image.any():
        notes.append("some hops lead onto the site's own periodic image; the cell is small, and they are predicted")
    return notes
