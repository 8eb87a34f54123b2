"""The latest of what was worked out, by what it was worked out from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

Made = TypeVar("Made")


class Latest:
    """What was made last, by what it was made from; each is made once, however many ask for it at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._made: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what was made for a key, or make it."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
                while len(self._made) > self.size:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
            return cast(Made, self._made[key])


class Kept:
    """The latest of what was found out, by what it is of."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._found: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._found

    def of(self, key: Hashable) -> Any:
        """Return what was kept; None if it is not known."""
        return self._found.get(key)

    def keep(self, key: Hashable, found: Any) -> None:
        """Keep something; what was kept first is forgotten."""
        with self._lock:
            self._found[key] = found
            while len(self._found) > self.size:
                self._found.popitem(last=False)
