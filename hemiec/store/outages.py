"""Which errors of MongoDB pass by themselves: it is away, going down, coming up, electing, or its disk is full."""

from __future__ import annotations

from typing import Any

from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

#: Server error codes, from MongoDB's error_codes.yml: those that drivers may retry, and those of a write that a server
#: took while it was going down or without room on its disk.
_PASSING = frozenset(
    {
        *(6, 7, 89, 9001),  # host unreachable, host not found, network timeout, socket exception
        *(91, 189, 10107, 11600, 11602, 13435, 13436),  # shutting down, stepping down, not the primary, recovering
        *(64, 262),  # a write concern that was not met in time
        14031,  # out of disk space
    }
)


def is_outage(error: PyMongoError) -> bool:
    """Return whether an operation may succeed when it is tried again later."""
    if isinstance(error, ConnectionFailure):
        return True
    return isinstance(error, OperationFailure) and not _PASSING.isdisjoint(_codes(error))


def _codes(error: OperationFailure) -> set[Any]:
    """Return the codes of an error and, of a bulk write, of its parts."""
    details = error.details or {}
    concern = details.get("writeConcernError") or {}
    parts = [concern, *details.get("writeConcernErrors", []), *details.get("writeErrors", [])]
    return {error.code, *(part.get("code") for part in parts)}
