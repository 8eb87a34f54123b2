"""A strict reader of the LaTeX that hemiec writes: what it lets pass, LaTeX with booktabs and longtable compiles."""

from __future__ import annotations

import re

#: Commands that only math knows.
ONLY_IN_MATH = frozenset(
    f"\\{name}"
    for name in ("mathrm", "cdot", "times", "pm", "rightarrow", "geq", "leq", "circ", "mu", "alpha", "beta", "gamma",
                 "delta", "sigma", "tau", "Gamma", "Delta")
)  # fmt: skip
#: These, and commands of LaTeX itself, of booktabs and of longtable; anything else is an error.
COMMANDS = ONLY_IN_MATH | frozenset(
    f"\\{name}"
    for name in ("begin", "end", "caption", "label", "centering", "footnotesize", "toprule", "midrule", "bottomrule",
                 "endfirsthead", "endhead", "endlastfoot", "\\", "{", "}", "$", "&", "#", "%", "_", ",",
                 "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar",
                 "textendash", "textemdash", "AA", "ldots")
)  # fmt: skip
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}$&#^_~%\n]|[^\\{}$&#^_~%\n]+")


def check(text: str) -> None:
    """Raise AssertionError at the first thing that LaTeX would stop at, or read as another thing than text."""
    assert text.isascii(), "letters beyond ASCII"
    body = "\n".join(line for line in text.split("\n") if not line.startswith("%"))
    assert all(letter.isprintable() or letter == "\n" for letter in body), "a control character"
    braces, math, expects = 0, False, None
    environments: list[tuple[str, int]] = []
    tokens = _TOKEN.findall(body)
    for place, token in enumerate(tokens):
        if token in ("\\begin", "\\end"):
            expects = token
        elif expects and token not in ("{", "}"):
            if expects == "\\begin":
                environments.append((token, braces - 1))
            else:
                assert environments.pop()[0] == token, f"\\end{{{token}}} without its \\begin"
            expects = None
        if token.startswith("\\"):
            assert token in COMMANDS, f"unknown command {token}"
            assert math or token not in ONLY_IN_MATH, f"{token} outside of math"
        elif token == "{":
            braces += 1
        elif token == "}":
            braces -= 1
            assert braces >= 0, "a brace too many"
        elif token == "$":
            math = not math
        elif token in ("^", "_"):
            assert math, f"{token} outside of math: {''.join(tokens[max(0, place - 5) : place + 5])}"
        elif token == "&":
            assert not math and braces == environments[-1][1], "a cell within a group"
        assert token not in ("#", "~", "%"), f"{token} is not escaped"
    assert braces == 0, "braces are not balanced"
    assert not math, "math is not closed"
    assert not environments, f"{environments} are not closed"
    _check_rows(body)


def _check_rows(body: str) -> None:
    specs = re.findall(r"\\begin\{(?:tabular|longtable)\}\{([lcr]+)\}", body)
    assert len(specs) == 1, "expected one table"
    rows = [line for line in body.split("\n") if line.endswith(r" \\")]
    assert rows, "no rows"
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == len(specs[0]) - 1, f"expected {len(specs[0])} cells: {row}"
        assert not re.match(r"\s*[\[*]", row), "a row that begins like an argument of the line before"
