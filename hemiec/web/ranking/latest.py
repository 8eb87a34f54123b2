"""The latest of what was worked out, by what it was worked out from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from hemiec.web.problems import Problem

Made = TypeVar("Made")
#: Requests that wait for one kind of work; all kinds together leave threads of the server's 40 to everybody else.
MAX_WAITING = 5
RETRY_S = 1


class Latest:
    """What was made last, by what it was made from; each is made once, and one at a time, however many ask for it.

    Parameters
    ----------
    size
        How many are kept; with 0 each is made anew.
    waiting
        How many requests may wait for what is being made; what was made before is had without waiting.
    """

    def __init__(self, size: int, *, waiting: int = MAX_WAITING) -> None:
        self.size = size
        self.waiting = waiting
        self._made: OrderedDict[Hashable, Any] = OrderedDict()
        self._n_waiting = 0
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what was made for a key, or make it.

        Raises
        ------
        Problem
            If it would have to be made, and too many wait for that already.
        """
        with self._lock:
            if key in self._made:
                return self._kept(key)
            if self._n_waiting >= self.waiting:
                raise Problem(
                    429,
                    "too many questions of this kind are being answered.",
                    mend="try again in a second",
                    headers={"Retry-After": str(RETRY_S)},
                )
            self._n_waiting += 1
        try:
            with self._making:
                with self._lock:
                    if key in self._made:
                        return self._kept(key)
                made = make()
                with self._lock:
                    self._made[key] = made
                    while len(self._made) > self.size:
                        self._made.popitem(last=False)
                return made
        finally:
            with self._lock:
                self._n_waiting -= 1

    def _kept(self, key: Hashable) -> Any:
        self._made.move_to_end(key)
        return self._made[key]


class Kept:
    """The latest of what was found out, by what it is of."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._found: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: Hashable) -> Any:
        """Return what was kept; None if it is not known."""
        return self._found.get(key)

    def keep(self, key: Hashable, found: Any) -> None:
        """Keep something; what was kept first is forgotten."""
        with self._lock:
            self._found[key] = found
            while len(self._found) > self.size:
                self._found.popitem(last=False)


def compute(owner: object, *names: str) -> None:
    """Compute cached properties now: once, instead of by several requests at once when each first needs them."""
    for name in names:
        getattr(owner, name)
