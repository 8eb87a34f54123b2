"""Numbers and formulas as people read them, safe in a page."""

from __future__ import annotations

import html

from markupsafe import Markup, escape

from hemiec.ranking.export.cells import FORMULA_AMOUNT, MISSING
from hemiec.schemas.quantity import Quantity


def number(value: float | None, digits: int) -> str:
    """Return a number for people: fixed digits, a true minus sign, a dash if it is missing."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    # -0.00 reads as a result; it is a rounded zero.
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def spread(found: Quantity, digits: int) -> str:
    """Return the range or the deviation of the samples and their number, such as ``0.31–0.82 (n = 6)``."""
    if found.value is None or found.n == 0:
        return ""
    if found.n > 1 and found.min is not None and found.max is not None:
        separator = "–" if found.min >= 0 else " to "
        return f"{number(found.min, digits)}{separator}{number(found.max, digits)} (n = {found.n})"
    if found.std is not None:
        return f"± {number(found.std, digits)} (n = {found.n})"
    return f"n = {found.n}"


def interval(found: Quantity, digits: int) -> str:
    """Return the 90 % interval, such as ``[0.38, 0.71]``; nothing if there is none."""
    if found.value is None or found.interval is None:
        return ""
    return f"[{number(found.interval[0], digits)}, {number(found.interval[1], digits)}]"


def chemical(formula: str) -> Markup:
    """Return a formula as safe HTML with its amounts as subscripts."""
    parts = FORMULA_AMOUNT.split(formula)
    return Markup("").join(
        Markup("<sub>{}</sub>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def plotly_text(text: str) -> str:
    """Return text that plotly shows as it is: its HTML subset and its TeX are switched off."""
    return html.escape(text).replace("$", "&#36;").replace("\n", " ")


def plotly_formula(formula: str) -> str:
    """Return a formula that plotly shows with its amounts as subscripts, and all else as it is."""
    parts = FORMULA_AMOUNT.split(formula)
    return "".join(f"<sub>{part}</sub>" if index % 2 else plotly_text(part) for index, part in enumerate(parts))
