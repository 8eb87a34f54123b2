"""The dictionary of a structure that is made without pymatgen's objects."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from hemiec.structures.plain import as_dict


@pytest.mark.parametrize("sites", [None, ["A", "B", "X"]])
def test_it_is_what_pymatgen_writes(sites: list[str] | None) -> None:
    lattice = Lattice(np.array([[3.9, 0.1, 0], [0, 4.0, 0.2], [0.3, 0, 4.1]]))
    fractional = np.array([[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0.01, 0.99]])
    properties = {"site": sites} if sites else None
    expected = Structure(lattice, ["Sr", "Ti", "O"], fractional, site_properties=properties)
    found = as_dict(lattice, ["Sr", "Ti", "O"], fractional, expected.cart_coords, sites=sites)
    assert found == expected.as_dict()
    assert Structure.from_dict(found) == expected
