"""Energies of a walker's sites and of the saddles between them, computed on one host with any calculator."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator
from pymatgen.core import Structure

from hemiec.errors import EngineError, NotConvergedError, StructureError
from hemiec.transport.hops import require_computable
from hemiec.transport.network import HopNetwork
from hemiec.transport.saddles.forces import ForceCalls
from hemiec.transport.saddles.path import FloatArray, MinimumEnergyPath, structure_of, unwrapped
from hemiec.transport.saddles.quasi_newton import minimise, spring_hessian
from hemiec.transport.saddles.saddle import SAME_ENERGY, SaddleSearch, find_saddle

log = logging.getLogger(__name__)

IN_PLACE = "relaxed in place"
#: A site that falls by this, in eV, after a hop was searched from it makes the hop outdated.
OUTDATED = 0.03
_SITE_CALLS = 200
#: An atom that moves by more than this when a vacancy relaxes, in angstrom, has left its site.
_LEFT_SITE = 1.2
#: The relaxed hop may be longer or shorter than in the host by this share.
_LENGTH_TOLERANCE = 0.5
#: Or by this much, in angstrom: Li leans towards one window of its cage or another, and not the same one in every cell.
_LEANING = 2.0


@dataclass(frozen=True)
class SiteRecord:
    """The walker on one site: the relaxed vacancy, or the reason why there is none.

    Parameters
    ----------
    site
        Its number in the network.
    energy
        Energy of the cell in eV, the calculator's own zero; None if it failed.
    structure
        Relaxed host without the ion, the others in the host's order; None if it failed.
    max_force
        Largest force on an atom, in eV/angstrom; None if it failed.
    basin
        ``relaxed in place``, or which hop led to this lower minimum.
    n_force_calls, elapsed_s, seconds_in_calls
        Cost of the relaxation: calls, wall time, and the part of it in the calculator.
    reason
        Why it failed; None if it did not.
    """

    site: int
    energy: float | None
    structure: Structure | None
    max_force: float | None
    basin: str
    n_force_calls: int
    elapsed_s: float
    seconds_in_calls: float
    reason: str | None = None

    @property
    def converged(self) -> bool:
        """Whether the site has an energy."""
        return self.reason is None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON takes it."""
        return _plain(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> SiteRecord:
        """Return the record that :meth:`to_dict` wrote."""
        structure = stored["structure"]
        return cls(**{**stored, "structure": None if structure is None else Structure.from_dict(structure)})


@dataclass(frozen=True)
class HopRecord:
    """One hop: the saddle between its two sites, or the reason why none is known.

    Parameters
    ----------
    hop
        Its number in the network.
    saddle_energy, start_energy, end_energy
        Energies of the cell at the saddle and with the walker on the two sites, in eV, of the calculator's own zero;
        None if it failed. The sites' are those of their lowest minima known.
    energies
        Of the images, relative to ``start_energy``, in eV: the minima beside the saddle and the saddle.
    reaction_coordinate
        Length of the path up to each image, in angstrom.
    searched_from
        Energies of the two end points that the last search began with, in eV; a site that has since been found lower
        makes the hop one of :meth:`HopCalculation.outdated`.
    images
        Structures along the path, atoms of the host without the ion of ``start``; not wrapped, so that each atom's way
        is the difference of its coordinates.
    max_force, curvature
        At the saddle, in eV/angstrom and eV/angstrom^2 (along its mode; None from a band).
    method
        Search that found the saddle; empty if none did.
    attempts
        What the searches before it ended in.
    n_force_calls, elapsed_s, seconds_in_calls
        Cost of the search without the end points: calls, wall time, and the part of it in the calculator.
    reason
        Why it failed; None if it did not.
    """

    hop: int
    saddle_energy: float | None
    start_energy: float | None
    end_energy: float | None
    energies: list[float]
    searched_from: list[float]
    reaction_coordinate: list[float]
    images: list[Structure]
    max_force: float | None
    curvature: float | None
    method: str
    attempts: list[str]
    n_force_calls: int
    elapsed_s: float
    seconds_in_calls: float
    reason: str | None = None

    @property
    def converged(self) -> bool:
        """Whether the hop has a saddle."""
        return self.reason is None

    @property
    def forward_barrier(self) -> float | None:
        """Saddle minus start, in eV; None if it failed."""
        return _difference(self.saddle_energy, self.start_energy)

    @property
    def reverse_barrier(self) -> float | None:
        """Saddle minus end, in eV; None if it failed."""
        return _difference(self.saddle_energy, self.end_energy)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON takes it."""
        return _plain(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> HopRecord:
        """Return the record that :meth:`to_dict` wrote."""
        return cls(**{**stored, "images": [Structure.from_dict(image) for image in stored["images"]]})


class HopCalculation:
    """Sites and hops of one vacancy in one host, each computed once.

    Parameters
    ----------
    host
        Relaxed cell with all ions; its size and shape stay as they are.
    network
        Sites and hops; ``atom_index`` says which ion of the host is on each site.
    calculator
        ASE calculator with energies in eV and forces in eV/angstrom.
    settings
        Convergence and limits; default SaddleSearch().
    known_sites, known_hops
        Records of an earlier run on the same host and network: they are not computed again.

    Raises
    ------
    StructureError
        If the network's atoms are not the host's, or records refer to sites or hops that it does not have.
    """

    def __init__(
        self,
        host: Structure,
        network: HopNetwork,
        calculator: Calculator,
        settings: SaddleSearch | None = None,
        *,
        known_sites: Iterable[SiteRecord] = (),
        known_hops: Iterable[HopRecord] = (),
    ) -> None:
        _check_network(host, network)
        self.host, self.network = host, network
        self.force_calls = ForceCalls(calculator)
        self.settings = settings or SaddleSearch()
        self._atoms = unwrapped(host)
        self._sites = {record.site: record for record in known_sites}
        self._hops = {record.hop: record for record in known_hops}
        if any(not 0 <= n < network.n_sites for n in self._sites):
            raise StructureError(f"{host.formula}: a known site is not in the network of {network.n_sites} sites.")
        if any(not 0 <= n < network.n_hops for n in self._hops):
            raise StructureError(f"{host.formula}: a known hop is not in the network of {network.n_hops} hops.")

    @property
    def sites(self) -> list[SiteRecord]:
        """Records of the sites so far, in order of their number."""
        return [self._sites[n] for n in sorted(self._sites)]

    @property
    def hops(self) -> list[HopRecord]:
        """Records of the hops so far, in order of their number, with the site energies as they are known now."""
        return [self.hop(n) for n in sorted(self._hops)]

    def site(self, site: int) -> SiteRecord:
        """Return the walker on a site, relaxed if it was not yet; a failure is in the record's ``reason``."""
        if site not in self._sites:
            self._sites[site] = self._relaxed(site)
        return self._sites[site]

    def outdated(self) -> list[int]:
        """Return the hops that were searched from a minimum which is not the lowest known of its site any more."""
        return [
            record.hop
            for record in self.hops
            if record.converged
            and any(
                now is not None and now < then - OUTDATED
                for now, then in zip((record.start_energy, record.end_energy), record.searched_from, strict=True)
            )
        ]

    def hop(self, hop: int, *, again: bool = False) -> HopRecord:
        """Return a hop, computed if it was not yet; a failure is in the record's ``reason``.

        Forward minus reverse barrier is the difference of the two site energies: both sites are computed once, and
        if a saddle turns out to lead to a lower minimum of one, that is the site's from then on, for all its hops. If
        it is lower by more than 0.03 eV the hop is searched again from there, and the lower saddle is kept.

        Parameters
        ----------
        hop
            Its number in the network.
        again
            Whether to search again if it was computed, from the minima known now; the lower saddle is kept.
        """
        if again and hop in self._hops:
            self._hops[hop] = _better(self._hops[hop], self._searched(hop))
        elif hop not in self._hops:
            self._hops[hop] = self._searched(hop)
        record = self._hops[hop]
        if not record.converged:
            return record
        start, end = (self._sites.get(int(n[hop])) for n in (self.network.start, self.network.end))
        if start is not None and end is not None:
            record = replace(record, start_energy=start.energy, end_energy=end.energy)
        return record

    def _relaxed(self, site: int) -> SiteRecord:
        """Return a site's vacancy relaxed from the host's positions."""
        cost = _Cost(self.force_calls)
        ion = self._ion(site)
        kept = np.delete(np.arange(len(self.host)), ion)
        atoms = self._atoms[kept]
        reason = None
        try:
            found = minimise(
                lambda x: _gradient(self.force_calls(atoms, x)),
                atoms.positions.ravel(),
                spring_hessian(atoms),
                fmax=self.settings.fmax,
                energy_tolerance=self.settings.energy_tolerance,
                max_calls=_SITE_CALLS,
            )
            if not found.converged:
                reason = (
                    f"the vacancy did not relax in {_SITE_CALLS} calls; the force is {found.max_force:.3f} eV/angstrom."
                )
            positions = found.positions.reshape(-1, 3)
            moved = np.linalg.norm(positions - atoms.positions, axis=1)
            if moved.max() > _LEFT_SITE:
                reason = (
                    f"a {atoms.symbols[int(moved.argmax())]} moved by {moved.max():.2f} angstrom when the vacancy "
                    "relaxed: it left its site."
                )
        except EngineError as error:
            reason = error.message
        if reason is not None:
            log.warning("%s, site %d: %s", self.host.formula, site, reason)
            return SiteRecord(site, None, None, None, IN_PLACE, *cost.so_far(), reason=reason)
        return SiteRecord(site, found.energy, structure_of(atoms, positions), found.max_force, IN_PLACE, *cost.so_far())

    def _searched(self, hop: int) -> HopRecord:
        """Return a hop searched from its sites as they are known, and again if that finds one much lower."""
        record = self._searched_once(hop)
        if record.converged and any(
            now < then - OUTDATED for now, then in zip(self._end_energies(hop), record.searched_from, strict=True)
        ):
            record = _better(record, self._searched_once(hop))
        return record

    def _searched_once(self, hop: int) -> HopRecord:
        cost = _Cost(self.force_calls)
        try:
            require_computable(self.network, hop)
            for n in (int(self.network.start[hop]), int(self.network.end[hop])):
                if not self.site(n).converged:
                    raise NotConvergedError(f"site {n}: {self.site(n).reason}")
            cost = _Cost(self.force_calls)  # the sites have their own
            between = self._end_energies(hop)
            path = find_saddle(*self.end_points(hop), self.force_calls, self.settings, relaxed=between)
        except (EngineError, StructureError) as error:
            log.warning("%s, hop %d: %s", self.host.formula, hop, error.message)
            return HopRecord(
                hop, None, None, None, [], [], [], [], None, None, "", [], *cost.so_far(), reason=error.message
            )
        return self._record(hop, path, between)

    def _record(self, hop: int, path: MinimumEnergyPath, between: tuple[float, float]) -> HopRecord:
        """Return the record of a path, after lowering the sites whose minimum beside the saddle is lower."""
        start, end = int(self.network.start[hop]), int(self.network.end[hop])
        self._compare(start, hop, path.initial_energy, path.images[0])
        self._compare(end, hop, path.initial_energy + path.energies[-1], self._seen_from_end(hop, path.images[-1]))
        energies = self._end_energies(hop)
        record = HopRecord(
            hop=hop,
            saddle_energy=path.initial_energy + path.forward_barrier,
            start_energy=energies[0],
            end_energy=energies[1],
            energies=[path.initial_energy + e - energies[0] for e in path.energies],
            searched_from=list(between),
            reaction_coordinate=path.reaction_coordinate,
            images=path.images,
            max_force=path.max_force,
            curvature=path.curvature,
            method=path.method,
            attempts=path.attempts,
            n_force_calls=path.n_force_calls,
            elapsed_s=path.elapsed_s,
            seconds_in_calls=path.seconds_in_calls,
        )
        forward, reverse = record.forward_barrier, record.reverse_barrier
        assert forward is not None and reverse is not None
        assert abs((forward - reverse) - (energies[1] - energies[0])) < 1e-6
        return record

    def _compare(self, site: int, hop: int, energy: float, structure: Structure) -> None:
        """Keep the lower of a site's minimum and the one below a hop's saddle, and say which it is."""
        known = self.site(site)
        assert known.energy is not None
        gain = known.energy - energy
        if gain > SAME_ENERGY:
            log.info("%s, site %d: %.3f eV lower from hop %d", self.host.formula, site, gain, hop)
            basin = f"below the saddle of hop {hop}, {gain:.3f} eV lower than {known.basin}"
            self._sites[site] = replace(known, energy=energy, structure=structure, basin=basin)

    def end_points(self, hop: int) -> tuple[Structure, Structure]:
        """Return the two relaxed end points of a hop with the same atoms in the same order.

        The order is the host's without the ion of ``start``; the ion of ``end`` hops. Every atom of the final one is
        the periodic image nearest to where it was, and the hopping ion goes the way that the hop names.

        Raises
        ------
        StructureError
            If atoms are missing, species differ, or the hopping ion did not stay on its way.
        """
        start, end = int(self.network.start[hop]), int(self.network.end[hop])
        vacant = [self._ion(start), self._ion(end)]
        before, after = self.site(start).structure, self.site(end).structure
        if before is None or after is None:
            raise NotConvergedError(f"{self.host.formula}: an end point of hop {hop} is not relaxed.")
        if len(before) != len(self.host) - 1 or len(after) != len(self.host) - 1:
            raise StructureError(f"{self.host.formula}: end points must have one atom less than the host.")
        kept = [n for n in range(len(self.host)) if n != vacant[0]]
        row = {n: k for k, n in enumerate(n for n in range(len(self.host)) if n != vacant[1])}
        # The ion that sat on `end` now fills `start`; all others keep their index.
        final = after.frac_coords[[row[vacant[0] if n == vacant[1] else n] for n in kept]]
        species = [site.specie for site in before]
        if [after[row[vacant[0] if n == vacant[1] else n]].specie for n in kept] != species:
            raise StructureError(f"{self.host.formula}: the two end points of hop {hop} hold different species.")
        shift = final - before.frac_coords
        shift -= np.round(shift)
        mover = kept.index(vacant[1])
        way = -self.network.displacements[hop] @ np.linalg.inv(self.network.lattice)
        shift[mover] += np.round(way - shift[mover])
        length, expected = (
            float(np.linalg.norm(self.host.lattice.get_cartesian_coords(x))) for x in (shift[mover], way)
        )
        if abs(length - expected) > max(_LENGTH_TOLERANCE * expected, _LEANING):
            raise StructureError(
                f"{self.host.formula}: hop {hop} is {expected:.2f} angstrom long but its relaxed end points are "
                f"{length:.2f} apart; an end point left its site."
            )
        initial = Structure(before.lattice, species, before.frac_coords)
        return initial, Structure(before.lattice, species, before.frac_coords + shift)

    def _seen_from_end(self, hop: int, image: Structure) -> Structure:
        """Return a path's last image with the atoms in the order of the end site's record."""
        vacant = [self._ion(int(n[hop])) for n in (self.network.start, self.network.end)]
        row = {n: k for k, n in enumerate(n for n in range(len(self.host)) if n != vacant[0])}
        sites = [image[row[vacant[1] if n == vacant[0] else n]] for n in range(len(self.host)) if n != vacant[1]]
        return Structure.from_sites(sites)

    def _end_energies(self, hop: int) -> tuple[float, float]:
        start, end = (self.site(int(n[hop])).energy for n in (self.network.start, self.network.end))
        assert start is not None and end is not None
        return start, end

    def _ion(self, site: int) -> int:
        assert self.network.atom_index is not None
        return int(self.network.atom_index[site])


class _Cost:
    """Force calls, wall time and time in the calculator since it was made."""

    def __init__(self, force_calls: ForceCalls) -> None:
        self.force_calls = force_calls
        self.started, self.calls, self.seconds = time.perf_counter(), force_calls.calls, force_calls.seconds

    def so_far(self) -> tuple[int, float, float]:
        return (
            self.force_calls.calls - self.calls,
            time.perf_counter() - self.started,
            self.force_calls.seconds - self.seconds,
        )


def _check_network(host: Structure, network: HopNetwork) -> None:
    if network.atom_index is None:
        raise StructureError(
            f"{host.formula}: the network comes from no structure; its sites name no ions of the host."
        )
    ions = network.atom_index[network.atom_index >= 0]
    if len(ions) and ions.max() >= len(host):
        raise StructureError(f"{host.formula}: the network names ion {ions.max()}, the host has {len(host)}.")
    species = {host[int(n)].specie.symbol for n in ions}
    if len(species) > 1:
        raise StructureError(
            f"{host.formula}: the sites hold {', '.join(sorted(species))}; a walker is of one species."
        )


def _better(old: HopRecord, new: HopRecord) -> HopRecord:
    """Return the later record if it has the lower saddle, else the earlier one; with the cost of both."""
    earlier = old.saddle_energy is not None and (new.saddle_energy is None or old.saddle_energy <= new.saddle_energy)
    kept = old if earlier else new
    return replace(
        kept,
        searched_from=[e for e in (new.start_energy, new.end_energy) if e is not None] or old.searched_from,
        attempts=kept.attempts if new.reason is None else [*kept.attempts, new.reason],
        n_force_calls=old.n_force_calls + new.n_force_calls,
        elapsed_s=old.elapsed_s + new.elapsed_s,
        seconds_in_calls=old.seconds_in_calls + new.seconds_in_calls,
    )


def _gradient(result: tuple[float, FloatArray]) -> tuple[float, FloatArray]:
    return result[0], -result[1].ravel()


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _plain(record: SiteRecord | HopRecord) -> dict[str, Any]:
    """Return the fields of a record, structures as dictionaries."""

    def plain(value: Any) -> Any:
        if isinstance(value, Structure):
            return value.as_dict()
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value

    return {field.name: plain(getattr(record, field.name)) for field in fields(record)}
