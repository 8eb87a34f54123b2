"""Synthetic results of ion transport for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from crystals import perovskite

from hemiec.schemas.dynamics import ArrheniusDoc, ArrheniusPoint
from hemiec.schemas.quantity import Quantity
from hemiec.schemas.transport import Band, NetworkDoc, TransportSummary
from hemiec.transport.hops import hop_environments, perovskite_network
from hemiec.transport.kinetics.diffusion import diffusion

TEMPERATURES = [600.0, 700.0, 800.0, 1000.0, 1300.0]


def summary(seed: int = 0, *, mean: float = 0.6, spread: float = 0.15, **changes: Any) -> TransportSummary:
    """Return transport on the 36 oxygen sites of a 60-atom cell with normal energies, a third of the hops computed."""
    host = perovskite(np.diag([2, 2, 3]), ("La", "Sr", "Ba"))
    network, rng = perovskite_network(host, "O"), np.random.default_rng(seed)
    sites = rng.normal(scale=spread / 2, size=network.n_sites)
    saddles = mean + rng.normal(scale=spread, size=network.n_hops)
    found = {T: diffusion(network, sites, saddles, T) for T in TEMPERATURES}
    at = found[1000.0]
    level = float(at.occupation @ sites)
    log10_d = [of.log10_d or 0.0 for of in found.values()]
    known = rng.random(network.n_hops) < 1 / 3
    barriers = np.concatenate([(saddles - sites[e])[known] for e in (network.start, network.end)])
    fields: dict[str, Any] = {
        "mobile": "O", "charge": -2.0,
        "network": NetworkDoc(
            lattice=network.lattice.tolist(), frac_coords=network.frac_coords.tolist(),
            atom_index=list(range(network.n_sites)), start=network.start.tolist(), end=network.end.tolist(),
            image=network.image.tolist(), environments=hop_environments(host, network),
        ),
        "site_energies": (sites - level).tolist(), "site_energy_std": [0.0] * network.n_sites,
        "site_computed": [True] * network.n_sites, "saddle_energies": (saddles - level).tolist(),
        "saddle_energy_std": np.where(known, 0, 0.05).tolist(), "hop_computed": known.tolist(),
        "hop_failures": {str(np.flatnonzero(~known)[0]): "the search left the hop"}, "site_failures": {},
        "occupation": at.occupation.tolist(), "hop_share": at.hop_share.tolist(), "reference_temperature_K": 1000.0,
        "effective_barrier": Quantity(
            value=at.effective_barrier, unit="eV", method="synthetic", n=int(known.sum()), std=0.02,
            interval=((at.effective_barrier or 0) - 0.03, (at.effective_barrier or 0) + 0.04),
        ),
        "effective_barriers_by_axis": list(at.effective_barriers),
        "hop_barrier": Quantity(value=float(np.median(barriers)), unit="eV", method="synthetic", n=int(known.sum())),
        "temperatures_K": TEMPERATURES,
        "log10_diffusivity": band(log10_d), "log10_conductivity": band([d + 3 - np.log10(T) for d, T in
                                                                        zip(log10_d, TEMPERATURES, strict=True)]),
        "carriers_per_formula_unit": 0.1, "carriers_source": "the campaign's `hops.carriers`",
        "attempt_frequency_THz": 10.0, "percolates": [True] * 3, "bottlenecks": [0.5, 0.55, None],
        "correlation_factor": at.correlation_factor, "sites_in_use": 0.7, "hops_in_use": at.hop_participation,
        "site_model_error": 0.04, "saddle_model_error": 0.06, "n_hops": network.n_hops, "n_computed": int(known.sum()),
        "n_failed": 1, "n_force_calls": 1234, "stopped": "the interval is narrow enough", "notes": ["a note"],
        "method": "exact solution on the network (synthetic)", "protocol": "synthetic", "protocol_hash": "p-1",
        "versions": {"hemiec": "0.0.0"},
    }  # fmt: skip
    return TransportSummary.model_validate(fields | changes)


def band(median: list[float]) -> Band:
    return Band(median=list(median), low=[m - 0.2 for m in median], high=[m + 0.25 for m in median])


def dynamics() -> ArrheniusDoc:
    """Return runs at three temperatures, at the lowest of which nothing was seen."""
    unit, method = "cm^2/s", "molecular dynamics (synthetic)"
    unseen = Quantity(value=None, unit=unit, method=method, reason="3 hops seen within 100 ps, a value needs 10")
    points = [
        ArrheniusPoint(temperature_K=1200, vacancy_diffusivity=unseen, tracer_diffusivity=unseen, n_hops=3,
                       vacancy_upper_bound=4e-5, tracer_upper_bound=1e-6, time_ps=100),
        *(
            ArrheniusPoint(
                temperature_K=T, time_ps=100, n_hops=n,
                vacancy_diffusivity=Quantity(value=d, unit=unit, method=method, n=n, interval=(d * 0.6, d * 1.5)),
                tracer_diffusivity=Quantity(value=d / 40, unit=unit, method=method, n=n, interval=(d / 80, d / 30)),
            )
            for T, d, n in ((1500.0, 9e-5, 40), (1800.0, 2.1e-4, 110))
        ),
    ]  # fmt: skip
    energy = Quantity(value=0.66, unit="eV", method=method, n=2, interval=(0.4, 0.9))
    return ArrheniusDoc(
        mobile="O", points=points, activation_energy=energy, log10_prefactor=-2.0, missing=["the run at 900 K failed"],
        n_force_calls=150000, method=method, protocol="synthetic", protocol_hash="p-1", versions={"hemiec": "0.0.0"},
    )  # fmt: skip
