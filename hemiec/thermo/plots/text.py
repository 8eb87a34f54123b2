"""Text in figures of thermodynamics: formulas, products, numbers."""

from __future__ import annotations

from collections.abc import Sequence

from hemiec.schemas.thermo import PhaseAmount

#: Width of a column of a journal, in inches.
COLUMN = 3.5
#: Size of small text in points, and how many of its letters fit into one column.
SMALL, LETTERS = 7, 62


def products_text(products: Sequence[PhaseAmount]) -> str:
    """Return products with their share of the atoms, such as ``LaCoO3 62 %, SrO 38 %``, the largest first."""
    ordered = sorted(products, key=lambda product: -product.amount)
    # No line breaks within "LaCoO3 62 %".
    return ", ".join(f"{product.formula}\u00a0{signed(100 * product.amount, 0)}\u00a0%" for product in ordered)


def formula_text(text: str) -> str:
    """Return a formula with its amounts as subscripts, as matplotlib writes them."""
    from pymatgen.util.string import latexify

    return str(latexify(text.replace("$", r"\$")))


def signed(value: float, digits: int) -> str:
    """Return a number with a true minus sign, and without one if it is rounded to zero."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")
