"""Lower convex hull of points over the simplex of compositions, facet by facet, as far as it is asked for.

The hull at a composition c is the linear program ``min e.x`` with ``P^T x = c, x >= 0`` (one row of P per phase): x are
the amounts of the products, and the duals mu the chemical potentials. A set of phases is a facet if no phase lies below
its plane (``e - P mu >= 0``), whatever c is; it is the answer at c if c lies inside (``x >= 0``). So a facet once found
answers for every composition inside it, exactly, with one matrix product, and a program is solved only for a
composition in none of those found. Nothing is spent on the other facets: 133 phases of ten elements have 2,786, and the
candidates of a campaign lie in a few of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from hemiec.errors import ThermoError

Floats = NDArray[np.float64]
#: Shares of atoms below which a phase counts as absent: far above rounding, far below anything that matters.
AMOUNT_TOLERANCE = 1e-9
#: How far, in eV/atom, a phase may lie below the plane of a facet by rounding.
ENERGY_TOLERANCE = 1e-8
#: HiGHS's tightest.
_SOLVER_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Facet:
    """A facet of the lower hull.

    ``members`` are the rows of its phases, ``inverse`` (members, elements) turns a composition into their amounts, and
    ``potentials`` (elements,) are the chemical potentials in eV/atom.
    """

    members: NDArray[np.intp]
    inverse: Floats
    potentials: Floats


class Facets:
    """Facets of a lower hull, found when a composition asks for them.

    Parameters
    ----------
    points
        Fractions of the elements in every phase, shape (phases, elements); rows sum to one.
    energies
        Energy of every phase, in eV/atom, shape (phases,).
    """

    def __init__(self, points: Floats, energies: Floats) -> None:
        self.points = points
        self.energies = energies
        self.found: list[Facet] = []
        self._rank = int(np.linalg.matrix_rank(points))
        self._inverses = np.empty((0, self._rank, points.shape[1]))

    def at(self, compositions: Floats) -> NDArray[np.intp]:
        """Return the number of the facet that each composition lies on.

        Parameters
        ----------
        compositions
            Fractions of the elements, shape (compositions, elements).

        Raises
        ------
        ThermoError
            If no mixture of the phases has a composition.
        """
        answer = self._known(compositions)
        open_rows = np.flatnonzero(answer < 0)
        while len(open_rows):
            facet = self._solve(compositions[open_rows[0]])
            self.found.append(facet)
            self._inverses = np.concatenate([self._inverses, facet.inverse[None]])
            inside = self._inside(facet, compositions[open_rows])
            # The program was solved for it: rounding at the border must not ask again.
            inside[0] = True
            answer[open_rows[inside]] = len(self.found) - 1
            open_rows = open_rows[~inside]
        return answer

    def _known(self, compositions: Floats) -> NDArray[np.intp]:
        """Return the facet among those found, or -1."""
        answer = np.full(len(compositions), -1, dtype=np.intp)
        if len(compositions) == 1 and self.found:
            # One composition, all facets at once.
            inside = np.flatnonzero((self._inverses @ compositions[0] >= -AMOUNT_TOLERANCE).all(axis=1))
            for number in inside.tolist():
                if self._inside(self.found[number], compositions)[0]:
                    answer[0] = number
                    break
            return answer
        for number, facet in enumerate(self.found):
            open_rows = np.flatnonzero(answer < 0)
            if not len(open_rows):
                break
            answer[open_rows[self._inside(facet, compositions[open_rows])]] = number
        return answer

    def _inside(self, facet: Facet, compositions: Floats) -> NDArray[np.bool_]:
        amounts = compositions @ facet.inverse.T
        inside = np.asarray((amounts >= -AMOUNT_TOLERANCE).all(axis=1))
        if self._rank < self.points.shape[1]:  # the phases do not span every composition
            off = np.abs(amounts @ self.points[facet.members] - compositions).max(axis=1)
            inside &= off < AMOUNT_TOLERANCE
        return inside

    def _solve(self, composition: Floats) -> Facet:
        found = linprog(
            self.energies,
            A_eq=self.points.T,
            b_eq=composition,
            method="highs-ds",
            options={
                "primal_feasibility_tolerance": _SOLVER_TOLERANCE,
                "dual_feasibility_tolerance": _SOLVER_TOLERANCE,
            },
        )
        if found.status == 2:
            raise ThermoError("no mixture of the phases has that composition.")
        if found.status != 0:
            raise ThermoError(f"the hull could not be found: {found.message}")
        members = self._independent(np.flatnonzero(found.x > AMOUNT_TOLERANCE), np.asarray(found.eqlin.marginals))
        inverse = np.linalg.pinv(self.points[members].T)
        potentials = np.linalg.pinv(self.points[members]) @ self.energies[members]
        below = float((self.energies - self.points @ potentials).min())
        if below < -ENERGY_TOLERANCE:
            raise ThermoError(
                f"the hull could not be found: a phase lies {-below:.1e} eV/atom below it; its phases "
                f"{members.tolist()} are nearly dependent."
            )
        return Facet(members, np.asarray(inverse), np.asarray(potentials))

    def _independent(self, support: NDArray[np.intp], potentials: Floats) -> NDArray[np.intp]:
        """Return the phases of a facet around the products, as many as there are dimensions.

        At a border of facets there are fewer products. The plane is turned about them until it meets further phases;
        it stays below all others.
        """
        members = list(support)
        # What the duals of the solver leave open is decided by the products alone.
        while len(members) < self._rank:
            plane = potentials + np.linalg.pinv(self.points[members]) @ (
                self.energies[members] - self.points[members] @ potentials
            )
            slack = np.maximum(self.energies - self.points @ plane, 0.0)
            outside = self._outside(members)
            slope = self.points @ outside
            if not (slope > 1e-9).any():
                slope, outside = -slope, -outside
            rows = np.flatnonzero(slope > 1e-9)
            step = slack[rows] / slope[rows]
            members.append(rows[np.argmin(step)])
            potentials = plane + step.min() * outside
        return np.array(members, dtype=np.intp)

    def _outside(self, members: list[np.intp]) -> Floats:
        """Return a direction in which the plane can turn: no member changes with it, some other phase does."""
        held, *_ = np.linalg.svd(self.points[members].T, full_matrices=True)
        free = held[:, len(members) :]
        # The free direction in which the phases differ most.
        _, _, directions = np.linalg.svd(self.points @ free, full_matrices=False)
        return np.asarray(free @ directions[0])
