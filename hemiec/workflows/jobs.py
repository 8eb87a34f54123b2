"""Jobs around the calculations: relax cells to the lowest basin, hand on magnetic moments.

They return documents and never open the database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Maker, job
from pymatgen.core import Structure

from hemiec.engines.mlip.anneal import anneal
from hemiec.engines.mlip.cell import lowest_basin
from hemiec.engines.mlip.potential import calculator, versions
from hemiec.engines.protocol import load_mlip
from hemiec.errors import StructureError
from hemiec.schemas.documents import BasinDoc
from hemiec.structures.tilts import basin_starts
from hemiec.transport.hops import label_sites


@dataclass
class BasinMaker(Maker):
    """Relax a cell from every octahedral-tilt system that it can hold, and keep the lowest.

    Parameters
    ----------
    name
        Job name.
    protocol
        Name of a shipped MLIP protocol, or all of another one.
    seed
        Seed of displacements and anneal.
    """

    name: str = "lowest basin"
    protocol: str | dict[str, Any] = "mlip-chgnet"
    seed: int = 0

    @job
    def make(self, ideal: Structure) -> dict[str, Any]:
        """Return a BasinDoc for a special quasirandom structure on ideal sites, labelled A, B and X.

        A cell whose shape cuts the periods of all tilt systems is relaxed, shaken by short molecular dynamics, and
        relaxed again.

        Raises
        ------
        NotConvergedError
            If no start relaxed.
        """
        protocol = load_mlip(self.protocol)
        potential, fmax = calculator(protocol), protocol.relax.fmax_eV_per_A
        starts = basin_starts(ideal, seed=self.seed)
        basins = lowest_basin(starts, potential, fmax=fmax)
        if len(starts) == 1:
            first = basins.found[basins.lowest].structure
            shaken = label_sites(anneal(first, potential, protocol.anneal, seed=self.seed), ideal)
            basins = lowest_basin({"annealed": shaken}, potential, fmax=fmax, known=basins)
        kept, tilts = basins.found[basins.lowest], basins.tilts[basins.lowest]
        return BasinDoc(
            structure=kept.structure.as_dict(),
            step=basins.lowest,
            energy_per_atom=kept.energy / len(ideal),
            max_force=kept.max_force,
            energies_per_atom={name: cell.energy / len(ideal) for name, cell in basins.found.items()},
            tilt=tilts.label,
            space_group=tilts.space_group,
            tilts={name: system.label for name, system in basins.tilts.items()},
            failed=basins.failed,
            n_force_calls=basins.n_force_calls,
            protocol=protocol.name,
            protocol_hash=protocol.hash_of("relax"),
            versions=versions(protocol),
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
    hop
        Which of the paths, from 0.
    """

    name: str = "moments along the path"
    hop: int = 0

    @job(data=["images"])
    def make(self, paths: list[dict[str, Any]], host: dict[str, Any]) -> dict[str, Any]:
        """Return {"images": ...} with the starting moments in site property ``magmom``.

        Parameters
        ----------
        paths
            HopBarrierDocs: their images lack one ion of the host and keep the order of all that do not move.
        host
            CalculationDoc of the cell without vacancy, with its starting moments (none: all zero).

        Raises
        ------
        StructureError
            If there are fewer paths.
        """
        if self.hop >= len(paths):
            raise StructureError(
                f"hop {self.hop + 1} was to be confirmed, and only {len(paths)} saddles were found.",
                mend="set `hops: {confirm: ...}` lower",
            )
        path = paths[self.hop]
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


def as_structure(stored: Structure | dict[str, Any]) -> Structure:
    """Return a structure that a reference brought as an object or as it was stored."""
    return stored if isinstance(stored, Structure) else Structure.from_dict(stored)
