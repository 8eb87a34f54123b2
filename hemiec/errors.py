"""The errors hemiec raises on purpose.

```
HemiecError                 anything a user can mend; exit code 1
├── InputError              a file, field or argument is wrong; exit code 2
│   ├── CampaignError       the campaign YAML: key, value or protocol
│   ├── CompositionError    fractions, elements or charge of one candidate
│   └── QueryError          a query expression
├── StoreError              MongoDB missing, unreachable, full or refusing
├── EngineError             a calculator is missing or failed
│   └── NotConvergedError   a calculation ran and did not converge
├── StructureError          a structure lacks what a step needs
├── ThermoError             a reference phase is missing or energies may not be mixed
└── LaunchError             submission or workers
    └── TrustError          a document names code that may not run here
```
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HemiecError(Exception):
    """Base of all hemiec errors: what is wrong, and how to mend it.

    Parameters
    ----------
    message
        What was expected and what was got, for which file or composition.
    mend
        What the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message if mend is None else f"{message} Mend: {mend}")
        self.message = message
        self.mend = mend


class InputError(HemiecError):
    """A file, a field or an argument is not what was expected."""

    exit_code = 2


class CampaignError(InputError):
    """A campaign file has a wrong key, value or protocol name."""


class CompositionError(InputError):
    """A composition has an unknown element, bad fractions or no charge balance."""


class QueryError(InputError):
    """A query expression cannot be parsed or names an unknown field."""


class StoreError(HemiecError):
    """MongoDB is missing, unreachable, full or refuses."""


class EngineError(HemiecError):
    """A calculator is missing or failed."""


class NotConvergedError(EngineError):
    """A calculation ran to its limit without converging."""


class StructureError(HemiecError):
    """A structure lacks what a step needs."""


class ThermoError(HemiecError):
    """A reference phase is missing, or energies of different protocols would be mixed."""


class LaunchError(HemiecError):
    """Submission or a worker failed."""


class TrustError(LaunchError):
    """A document of the database names code that may not run here."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the nearest known word, or the list of what is known."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"use one of: {', '.join(choices)}."
