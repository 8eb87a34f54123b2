"""Compute the SQS patterns that are shipped with hemiec, and the table of cubic shapes: python tools/make_templates.py.

Takes about a quarter of an hour on two cores. Run it after a change of the search that raises ENGINE_VERSION.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from hemiec.structures.cells import write_table
from hemiec.structures.templates import ENGINE_VERSION, TemplateKey, allowed_shapes, as_stored, find_templates

FOLDER = Path(__file__).parent.parent / "hemiec" / "structures"
#: Patterns kept per key; an ensemble of more deals species anew.
KEPT = 24
#: Squared image distances that 8.5 angstrom asks for with lattice parameters from 3.75 to 4.4 angstrom.
IMAGES = (4, 5, 6)
#: Numbers of equal species on one sublattice, with the formula units of common cells.
EQUAL = {
    2: (2, 4, 6, 8, 10, 12, 16, 20),
    3: (3, 6, 9, 12, 15, 18, 24),
    4: (4, 8, 12, 16, 20, 24),
    5: (5, 10, 15, 20, 25, 30),
    6: (6, 12, 18, 24, 30),
}
#: The same numbers of equal species on A and B.
BOTH = {2: (4, 8, 12, 16), 5: (5, 10, 15, 20)}


def keys() -> list[TemplateKey]:
    """Return the keys that are shipped, each once."""
    found: dict[str, TemplateKey] = {}
    wanted = [((("A", (n // k,) * k),), n) for k, units in EQUAL.items() for n in units]
    wanted += [((("A", (n // k,) * k), ("B", (n // k,) * k)), n) for k, units in BOTH.items() for n in units]
    for amounts, n in wanted:
        for shape in ("free", "compact"):
            for image in IMAGES:
                allowed = allowed_shapes(n, shape=shape, min_image_squared=image, tilt="none")
                nearest = min(round(s.shortest**2) for s in allowed)
                key = TemplateKey(amounts, n, shape, nearest, "best", "none", "warren-cowley")
                found[key.name] = key
    return list(found.values())


def main() -> None:
    """Write both files."""
    (FOLDER / "cubic_shapes.json").write_text(write_table())
    stored = {}
    for number, key in enumerate(wanted := keys()):
        templates = find_templates(key, n_cores=2)
        stored[key.name] = as_stored(key, replace(templates, patterns=templates.patterns[:KEPT]))
        best = templates.patterns[0]
        print(f"{number + 1}/{len(wanted)} {key.amounts} {key.shape} {best.rows} {best.error:.4f}", flush=True)
    path = FOLDER / "templates.json"
    path.write_text(json.dumps({"engine": ENGINE_VERSION, "templates": stored}, separators=(",", ":")) + "\n")
    print(f"wrote {path}, {math.ceil(path.stat().st_size / 1000)} kB")


if __name__ == "__main__":
    main()
