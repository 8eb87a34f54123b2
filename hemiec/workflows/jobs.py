"""Jobs between the calculations: shake cells, choose hops, find saddles.

They return documents and never open the database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Maker, job
from pymatgen.core import Structure

from hemiec.engines.mlip.anneal import anneal
from hemiec.engines.mlip.potential import calculator, versions
from hemiec.engines.protocol import load_mlip
from hemiec.errors import NotConvergedError
from hemiec.schemas.documents import BasinDoc, Hop, HopBarrierDoc
from hemiec.transport.hops import choose_walk, end_points, label_sites
from hemiec.transport.saddle import SaddleSearch, find_saddle


@dataclass
class AnnealMaker(Maker):
    """Shake a relaxed cell by short molecular dynamics.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped MLIP protocol, or all of another one.
    seed
        Seed of velocities and thermostat.
    """

    name: str = "anneal"
    protocol: str | dict[str, Any] = "mlip-chgnet"
    seed: int = 0

    @job
    def make(self, structure: Structure) -> dict[str, Any]:
        """Return {"structure": ...}, unrelaxed."""
        protocol = load_mlip(self.protocol)
        shaken = anneal(structure, calculator(protocol), protocol.anneal, seed=self.seed)
        return {"structure": shaken.as_dict(), "versions": versions(protocol)}


@dataclass
class BasinMaker(Maker):
    """Keep the lowest of several relaxations of one cell.

    Parameters
    ----------
    name
        Job name.
    protocol
        The MLIP protocol that relaxed them.
    """

    name: str = "lowest basin"
    protocol: str | dict[str, Any] = "mlip-chgnet"

    @job
    def make(self, relaxations: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Return a BasinDoc for step name to the CalculationDoc of each relaxation.

        Raises
        ------
        NotConvergedError
            If the lowest one has not converged.
        """
        energies = {step: float(found["energy_per_atom"]) for step, found in relaxations.items()}
        lowest = min(energies, key=lambda step: energies[step])
        found = relaxations[lowest]
        if not found["converged"]:
            raise NotConvergedError(
                f"cell relaxation ({lowest}) stopped with a force of {found['max_force']:.3f} eV/angstrom, "
                f"expected at most {load_mlip(self.protocol).relax.allowed_force:.3f}.",
                mend="raise `max_steps` of the protocol",
            )
        return BasinDoc(
            structure=as_structure(found["structure"]).as_dict(),
            step=lowest,
            energy_per_atom=energies[lowest],
            max_force=found["max_force"],
            energies_per_atom=energies,
        ).to_mongo()


@dataclass
class GivenMomentsMaker(Maker):
    """Write starting magnetic moments into a structure, for calculations that start from given ones.

    Parameters
    ----------
    name
        Job name.
    moments
        Of each site, in Bohr magnetons.
    """

    name: str = "starting moments"
    moments: list[float] = field(default_factory=list)

    @job
    def make(self, structure: Structure) -> Structure:
        """Return a copy of the structure with the moments as site property ``magmom``."""
        copy = structure.copy()
        copy.add_site_property("magmom", list(self.moments))
        return copy


@dataclass
class PathMomentsMaker(Maker):
    """Give the images of a path the magnetic arrangement of the cell they come from.

    Parameters
    ----------
    name
        Job name.
    """

    name: str = "moments along the path"

    @job(data=["images"])
    def make(self, path: dict[str, Any], host: dict[str, Any]) -> dict[str, Any]:
        """Return {"images": ...} with the starting moments in site property ``magmom``.

        Parameters
        ----------
        path
            HopBarrierDoc: its images lack one ion of the host and keep the order of all that do not move.
        host
            CalculationDoc of the cell without vacancy, with its starting moments (none: all zero).
        """
        structure = as_structure(host["structure"])
        moments = host["initial_moments"] or [0.0] * len(structure)
        given: dict[str, list[float]] = {}
        for site, moment in zip(structure, moments, strict=True):
            given.setdefault(site.specie.symbol, []).append(moment)
        images = []
        for image in map(as_structure, path["images"]):
            left = {symbol: iter(values) for symbol, values in given.items()}
            copy = image.copy()
            copy.add_site_property("magmom", [next(left[site.specie.symbol]) for site in image])
            images.append(copy.as_dict())
        return {"images": images}


@dataclass
class HopWalkMaker(Maker):
    """Choose the vacancy hops of a relaxed cell.

    Parameters
    ----------
    name
        Job name.
    mobile
        Species that moves.
    n_hops
        Hops along the walk.
    seed
        Seed of the walk.
    """

    name: str = "choose hops"
    mobile: str = "O"
    n_hops: int = 3
    seed: int = 0

    @job
    def make(self, structure: Structure, ideal: Structure) -> dict[str, Any]:
        """Return a HopWalkDoc for a relaxed structure and the ideal SQS it came from."""
        host = label_sites(structure, ideal)
        return choose_walk(host, self.mobile, n_hops=self.n_hops, seed=self.seed).to_mongo()


@dataclass
class HopBarrierMaker(Maker):
    """Find the saddle point of one hop with the protocol's potential.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped MLIP protocol, or all of another one.
    """

    name: str = "hop barrier"
    protocol: str | dict[str, Any] = "mlip-chgnet"

    @job(data=["images"])
    def make(self, host: Structure, hop: dict[str, Any], before: Structure, after: Structure) -> dict[str, Any]:
        """Return a HopBarrierDoc for a hop between two relaxed vacancies; the path goes to GridFS."""
        protocol = load_mlip(self.protocol)
        the_hop = Hop.model_validate(hop)
        saddle = protocol.saddle
        path = find_saddle(
            *end_points(host, the_hop, before, after),
            calculator(protocol),
            SaddleSearch(
                n_images=saddle.n_images,
                band_fmax=saddle.band_fmax_eV_per_A,
                band_max_steps=saddle.band_max_steps,
                spring=saddle.spring_eV_per_A2,
                fmax=saddle.fmax_eV_per_A,
                max_steps=saddle.max_steps,
            ),
        )
        return HopBarrierDoc(
            hop=the_hop,
            forward_barrier=path.forward_barrier,
            reverse_barrier=path.reverse_barrier,
            reaction_coordinate=path.reaction_coordinate,
            energies=path.energies,
            initial_energy=path.initial_energy,
            max_force=path.max_force,
            n_images=saddle.n_images,
            n_steps=path.n_steps,
            n_force_calls=path.n_force_calls,
            elapsed_s=path.elapsed_s,
            method=f"improved-tangent band of {saddle.n_images} images, minimum-mode following to "
            f"{saddle.fmax_eV_per_A} eV/angstrom, relaxation to both sides; fixed cell, neutral vacancy",
            protocol=protocol.name,
            protocol_hash=protocol.hash_of("saddle"),
            images=[image.as_dict() for image in path.images],
            versions=versions(protocol),
        ).to_mongo()


def as_structure(stored: Structure | dict[str, Any]) -> Structure:
    """Return a structure that a reference brought as an object or as it was stored."""
    return stored if isinstance(stored, Structure) else Structure.from_dict(stored)
