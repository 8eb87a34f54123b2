"""A leaderboard as a LaTeX table for a paper: booktabs and nothing else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from hemiec.ranking.columns import Column
from hemiec.ranking.entries import quantity
from hemiec.ranking.export.cells import (
    FORMULA_AMOUNT,
    Methods,
    counted,
    missing_reasons,
    percent,
    rank_interval,
    tells_top,
)
from hemiec.schemas.leaderboard import LeaderboardDoc, LeaderboardEntry

#: More rows than this go over pages, with longtable.
ROWS_ON_A_PAGE = 40
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "{''}", "'": "{'}", "`": "{`}",
    "−": "$-$", "–": r"\textendash{}", "—": r"\textemdash{}", "·": r"$\cdot$", "×": r"$\times$", "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "≥": r"$\geq$", "≤": r"$\leq$", "°": r"$^{\circ}$", "²": "$^{2}$", "³": "$^{3}$", "⁺": "$^{+}$",
    "Å": r"\AA{}", "μ": r"$\mu$", "µ": r"$\mu$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$",
    "δ": r"$\delta$", "σ": r"$\sigma$", "τ": r"$\tau$", "Γ": r"$\Gamma$", "Δ": r"$\Delta$",
    "‘": "`", "’": "'", "“": "``", "”": "''", "…": r"\ldots{}",
}  # fmt: skip


def escape(text: str) -> str:
    """Return text that LaTeX prints as it is, on one line and in ASCII.

    Letters with accents lose them where LaTeX would need a package; what else is not in ASCII is written as its code,
    such as [U+4E2D].
    """
    plain = "".join(_letter(letter) for letter in " ".join(text.split()))
    # Two hyphens would join into a dash.
    return plain.replace("--", "-{}-").replace("--", "-{}-")


def chemical(formula: str) -> str:
    """Return a formula with its amounts as subscripts, all else as :func:`escape` writes it."""
    parts = FORMULA_AMOUNT.split(formula)
    return "".join(f"$_{{{part}}}$" if index % 2 else escape(part) for index, part in enumerate(parts))


def to_latex(doc: LeaderboardDoc) -> str:
    r"""Return the leaderboard as a LaTeX table: rank, candidate, what counts with its interval, and probabilities.

    It needs ``\usepackage{booktabs}``, and ``\usepackage{longtable}`` with more than 40 candidates. The caption names
    the methods, and why values are missing.
    """
    columns = counted(doc)
    methods = {column.property: Methods.of(doc.entries, column.property) for column in columns}
    drawn = any(entry.uncertainty is not None for entry in doc.entries)
    long = len(doc.entries) > ROWS_ON_A_PAGE
    spec = "rl" + "r" * len(columns) + ("r" + "r" * tells_top(doc) + "r" * drawn)
    head = _head(doc, columns, drawn)
    rows = [_row(doc, entry, methods, drawn) for entry in doc.entries]
    label = f"tab:{re.sub(r'[^A-Za-z0-9-]', '-', doc.name)}"
    caption = _caption(doc, columns, methods, drawn)
    needs = r"\usepackage{booktabs}" + (r" and \usepackage{longtable}" if long else "")
    lines = [f"% {escape(doc.title)}; needs {needs}", f"% leaderboard {escape(doc.leaderboard_id)}"]
    if long:
        lines += [
            r"{\footnotesize", rf"\begin{{longtable}}{{{spec}}}", rf"\caption{{{caption}}}\label{{{label}}}\\",
            r"\toprule", *head, r"\midrule", r"\endfirsthead",
            r"\toprule", *head, r"\midrule", r"\endhead", r"\bottomrule", r"\endlastfoot", *rows,
            r"\end{longtable}", "}",
        ]  # fmt: skip
    else:
        lines += [
            r"\begin{table*}", r"\centering", r"\footnotesize", rf"\caption{{{caption}}}", rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{spec}}}", r"\toprule", *head, r"\midrule", *rows, r"\bottomrule",
            r"\end{tabular}", r"\end{table*}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _head(doc: LeaderboardDoc, columns: Sequence[Column], drawn: bool) -> list[str]:
    names = ["Rank", "Candidate", *(escape(column.heading) for column in columns), "Score"]
    names += [f"$P$(top {doc.top})"] * tells_top(doc) + ["$P$(Pareto)"] * drawn
    units = ["", "", *(f"({escape(column.unit)})" for column in columns)]
    units += [""] * (len(names) - len(units))
    return [" & ".join(names) + r" \\", " & ".join(units) + r" \\"]


def _row(doc: LeaderboardDoc, entry: LeaderboardEntry, methods: Mapping[str, Methods], drawn: bool) -> str:
    rank = "---" if entry.rank is None else str(entry.rank)
    within = rank_interval(entry, "--")
    cells = [f"{rank} [{within}]" if within else rank, chemical(entry.label)]
    cells += [_value(entry, column, methods[column.property]) for column in counted(doc)]
    cells.append("---" if entry.score is None else f"{entry.score:.3f}")
    of = entry.uncertainty
    shares = (None, None) if of is None else (of.probability_top, of.probability_pareto)
    texts = ["---" if share is None else escape(percent(share)) for share in shares]
    cells += texts[:1] * tells_top(doc) + texts[1:] * drawn
    return " & ".join(cells) + r" \\"


def _value(entry: LeaderboardEntry, column: Column, methods: Methods) -> str:
    found = quantity(entry, column.property)
    if found.value is None:
        return "---"
    marks = ("*" if found.calibration else "") + methods.mark(found.method)
    text = _number(found.value, column.digits) + (f"$^{{\\mathrm{{{marks}}}}}$" if marks else "")
    if found.interval is not None:
        low, high = (_number(end, column.digits) for end in found.interval)
        text += f" [{low}, {high}]"
    return text


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return f"$-${text[1:]}" if text.startswith("-") else text


def _caption(doc: LeaderboardDoc, columns: Sequence[Column], methods: Mapping[str, Methods], drawn: bool) -> str:
    sentences = [f"{escape(doc.title)}."]
    for column in columns:
        named = [f"{mark + ': ' if mark else ''}{escape(text)}" for mark, text in methods[column.property].named()]
        if named:
            sentences.append(f"{column.title}: {'; '.join(named)}.")
    found = [quantity(entry, column.property) for entry in doc.entries for column in columns]
    if any(one.interval for one in found):
        sentences.append("In brackets: 90\\,\\% intervals.")
    if any(one.calibration for one in found):
        sentences.append("$^{*}$Corrected towards DFT by a calibration.")
    if drawn:
        sentences.append(f"$P$: share of {doc.draws} draws of all values from their intervals.")
    for column in columns:
        for reason, entries in missing_reasons(doc.entries, column.property).items():
            who = ", ".join(dict.fromkeys(chemical(entry.label) for entry in entries))
            sentences.append(f"{column.title} of {who} missing: {escape(reason)}.")
    return " ".join(sentences)


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if " " <= letter <= "~":
        return letter
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    if plain and unicodedata.category(letter).startswith("L") and all(" " <= one <= "~" for one in plain):
        return "".join(_SPECIAL.get(one, one) for one in plain)
    return f"[U+{ord(letter):04X}]"
