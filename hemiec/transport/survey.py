"""One cell whose hops are computed bit by bit: what is known, what to compute next, and when it is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pymatgen.core import Structure

from hemiec.schemas.transport import HopNetworkDoc, NetworkDoc, SampleDoc
from hemiec.transport.kinetics.percolation import percolation
from hemiec.transport.learning.environments import describe
from hemiec.transport.learning.local_model import Posterior, fit_local_model
from hemiec.transport.learning.sampling import Estimate, estimate, is_converged, next_hops
from hemiec.transport.network import FloatArray, HopNetwork

#: Draws behind an interval while hops are chosen, and in the end.
CHOICE_DRAWS, FINAL_DRAWS = 200, 400


@dataclass(frozen=True)
class Aim:
    """What the hops are computed for.

    Parameters
    ----------
    interval_eV
        Half of the 90 % interval of the effective barrier that is good enough, in eV.
    reference_temperature_K
        Temperature of the effective barrier, in K.
    oxidation_states
        Formal charges by element, in e.
    seed
        Of the draws.
    """

    interval_eV: float
    reference_temperature_K: float
    oxidation_states: Mapping[str, float]
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Survey:
    """A cell's network and what has been computed on it.

    Parameters
    ----------
    cell
        Host and network.
    samples
        Sites and hops computed so far; of several energies of one site the lowest holds.
    aim
        What for.
    """

    cell: HopNetworkDoc
    samples: Sequence[SampleDoc]
    aim: Aim

    @cached_property
    def network(self) -> HopNetwork:
        """Sites and hops."""
        return network_of(self.cell.network)

    @cached_property
    def host(self) -> Structure:
        """The relaxed cell without walker."""
        return Structure.from_dict(self.cell.host)

    @cached_property
    def site_energies(self) -> FloatArray:
        """Energies of the computed sites in eV, NaN of the others, shape=(n_sites,)."""
        energies = np.full(self.network.n_sites, np.nan)
        for sample in self.samples:
            for site in sample.sites:
                energies[site.site] = np.fmin(energies[site.site], site.energy)
        return energies

    @cached_property
    def saddle_energies(self) -> FloatArray:
        """Energies of the computed saddles in eV, NaN of the others, shape=(n_hops,)."""
        energies = np.full(self.network.n_hops, np.nan)
        for sample in self.samples:
            for hop in sample.hops:
                energies[hop.hop] = hop.initial_energy + hop.forward_barrier
        return energies

    @property
    def hop_failures(self) -> dict[int, str]:
        """Hops whose saddle was not found, with the reason."""
        return {hop.hop: hop.reason for sample in self.samples for hop in sample.failed_hops}

    @property
    def site_failures(self) -> dict[int, str]:
        """Sites that did not hold the vacancy, with the reason."""
        return {site.site: site.reason for sample in self.samples for site in sample.failed_sites}

    @property
    def n_force_calls(self) -> int:
        """Energy-and-force evaluations spent on all of it, failures included."""
        sites = sum(x.n_force_calls for s in self.samples for x in s.sites)
        hops = sum(x.n_force_calls for s in self.samples for x in s.hops)
        failed_sites = sum(x.n_force_calls for s in self.samples for x in s.failed_sites)
        return sites + hops + failed_sites + sum(x.n_force_calls for s in self.samples for x in s.failed_hops)

    @cached_property
    def posterior(self) -> Posterior:
        """What is known of all energies."""
        environments = describe(self.host, self.network, oxidation_states=self.aim.oxidation_states)
        return fit_local_model(environments, self.network, self.site_energies, self.saddle_energies)

    @property
    def percolates(self) -> bool:
        """Whether the hops lead through the crystal in any direction."""
        network = self.network
        return percolation(network, np.zeros(network.n_sites), np.zeros(network.n_hops)).rank > 0

    @property
    def out_of_reach(self) -> list[int]:
        """Hops that were tried in vain, or begin or end where no vacancy can be computed."""
        index = self.network.atom_index
        unusable = set(self.site_failures)
        if index is not None:
            unusable |= set(np.flatnonzero(index < 0).tolist())
        ends = zip(self.network.start.tolist(), self.network.end.tolist(), strict=True)
        return sorted({h for h, (i, j) in enumerate(ends) if i in unusable or j in unusable} | set(self.hop_failures))

    def estimate(self, temperatures_K: Sequence[float], n_draws: int = FINAL_DRAWS) -> Estimate:
        """Return diffusion with intervals at some temperatures, in K."""
        return estimate(
            self.network,
            self.posterior,
            temperatures_K,
            reference_temperature_K=self.aim.reference_temperature_K,
            n_draws=n_draws,
            seed=self.aim.seed,
        )

    def why_enough(self) -> str | None:
        """Return why no more hops need to be computed; None while some do."""
        if not self.samples:
            return None
        if not self.percolates:
            return "the network does not lead through the crystal: more hops would not tell more"
        found = self.estimate([], CHOICE_DRAWS)
        if is_converged(found, self.aim.interval_eV):
            return f"the effective barrier is known to ±{found.effective_barrier.half_width:.3f} eV"
        return None

    def choose(self, n: int) -> list[int]:
        """Return the hops, at most n, that say most about the effective barrier for what they cost."""
        return next_hops(
            self.network,
            self.posterior,
            n,
            temperature_K=self.aim.reference_temperature_K,
            excluded=self.out_of_reach,
            seed=self.aim.seed,
        )


def network_of(doc: NetworkDoc) -> HopNetwork:
    """Return the network of a document."""
    return HopNetwork(
        lattice=np.array(doc.lattice, dtype=float),
        frac_coords=np.array(doc.frac_coords, dtype=float).reshape(-1, 3),
        start=np.array(doc.start, dtype=np.int64),
        end=np.array(doc.end, dtype=np.int64),
        image=np.array(doc.image, dtype=np.int64).reshape(-1, 3),
        atom_index=np.array(doc.atom_index, dtype=np.int64),
    )


def network_doc(network: HopNetwork, environments: Sequence[str]) -> NetworkDoc:
    """Return the document of a network and of what each hop passes."""
    index = np.full(network.n_sites, -1) if network.atom_index is None else network.atom_index
    return NetworkDoc(
        lattice=network.lattice.tolist(),
        frac_coords=network.frac_coords.tolist(),
        atom_index=index.tolist(),
        start=network.start.tolist(),
        end=network.end.tolist(),
        image=network.image.tolist(),
        environments=list(environments),
    )
