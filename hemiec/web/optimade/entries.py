"""Entries of the OPTIMADE server: read from MongoDB, in a stable order, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import copy
from functools import cached_property
from typing import Any

from bson.errors import InvalidDocument
from optimade.exceptions import BadRequest, Forbidden
from optimade.models import EntryResource
from optimade.server.config import ServerConfig
from optimade.server.entry_collections import EntryCollection
from optimade.server.mappers import BaseResourceMapper
from optimade.server.query_params import EntryListingQueryParams, SingleEntryQueryParams
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import ExecutionTimeout, OperationFailure

from hemiec.store.database import Database, Document
from hemiec.web.optimade.configuration import properties
from hemiec.web.optimade.filters import compile_filter

#: Matches are counted up to here; a larger number is not reported.
COUNT_CAP = 10_000
COUNT_TIME_MS = 500
#: Entries that may be skipped by page_offset or page_number; links to the next page have no such limit.
MAX_SKIP = 10_000
MAX_SORT_FIELDS = 3
#: Opens a context with the store.
Lend = Callable[[], AbstractContextManager[Database]]
#: Error codes of MongoDB for filters that it cannot use: bad value, failed to parse, type mismatch, bad regular
#: expression.
_BAD_FILTER = {2, 9, 14, 51091}
_SHOWN = 60


class ListingParams(EntryListingQueryParams):
    """Parameters of a listing, with remarks on those that were ignored."""

    def check_params(self, query_params: Iterable[str], base_resource_mapper: BaseResourceMapper) -> None:
        """Refuse unknown parameters; those with the prefix of another provider are ignored."""
        self.remarks = _checked_params(self, query_params, base_resource_mapper)


class SingleParams(SingleEntryQueryParams):
    """Parameters of a request for one entry."""

    #: Id of the entry.
    entry_id = ""

    def check_params(self, query_params: Iterable[str], base_resource_mapper: BaseResourceMapper) -> None:
        """Refuse unknown parameters; those with the prefix of another provider are ignored."""
        self.remarks = _checked_params(self, query_params, base_resource_mapper)


def _checked_params(
    params: EntryListingQueryParams | SingleEntryQueryParams, given: Iterable[str], mapper: BaseResourceMapper
) -> list[str]:
    remarks = []
    for name in given:
        prefix = name.split("_")[1] if name.startswith("_") and name.count("_") > 1 else None
        if name in params.unsupported_params or (prefix and prefix not in mapper.SUPPORTED_PREFIXES):
            remarks.append(f"parameter {name[:_SHOWN]} was ignored.")
        elif name not in vars(params) or name in ("remarks", "entry_id"):
            raise BadRequest(f"unknown parameter {name[:_SHOWN]!r}.")
    return remarks


class StoredEntries(EntryCollection):
    """Entries in a collection of the store.

    Parameters
    ----------
    lend
        Opens a context with the store.
    name
        The collection; its documents are flat entries.
    resource_cls
        The library's model of an entry.
    mapper
        The library's mapper for it.
    config
        Settings of the library.
    max_time_ms
        How long MongoDB may work on a request, in ms.
    """

    def __init__(
        self,
        lend: Lend,
        name: str,
        *,
        resource_cls: type[EntryResource],
        mapper: BaseResourceMapper,
        config: ServerConfig,
        max_time_ms: int,
    ) -> None:
        super().__init__(resource_cls, mapper, None, config)
        self.lend = lend
        self.name = name
        self.max_time_ms = max_time_ms

    @cached_property
    def properties(self) -> dict[str, dict[str, Any]]:
        """Field to its description, unit, type and whether it can be sorted by."""
        return properties(self.resource_mapper.ENDPOINT, self.config)

    def __len__(self) -> int:
        with self.lend() as database:
            return database[self.name].estimated_document_count(maxTimeMS=self.max_time_ms)

    def insert(self, data: list[Any]) -> None:
        """Refuse: the server only reads."""
        raise NotImplementedError("the OPTIMADE server only reads.")

    def count(self, **kwargs: Any) -> int | None:
        """Return how many entries match ``filter``, or None if they are more than the cap or counting takes long."""
        where = kwargs.get("filter")
        if not where:
            return len(self)
        found = self._count(where)
        return found if found is not None and found <= COUNT_CAP else None

    def handle_query_params(self, params: EntryListingQueryParams | SingleEntryQueryParams) -> dict[str, Any]:
        """Return what to ask MongoDB for: filter, projection, sort, limit and skip, and the fields of the answer."""
        if params.response_format != "json":
            raise BadRequest(f"response_format: expected json, got {params.response_format[:_SHOWN]!r}.")
        fields = self._fields(params.response_fields)
        criteria: dict[str, Any] = {"projection": {**dict.fromkeys(fields, True), "_id": False}, "fields": fields}
        if isinstance(params, SingleParams):
            return criteria | {"filter": {"id": params.entry_id}, "limit": 1, "sort": [("id", ASCENDING)]}
        assert isinstance(params, EntryListingQueryParams)
        types = {name: about["type"] for name, about in self.properties.items()}
        where, remarks = compile_filter(params.filter, self.parser, self.resource_mapper, types)
        if isinstance(params, ListingParams):
            params.remarks += remarks
        if params.page_limit > self.config.page_limit_max:
            raise Forbidden(f"page_limit: expected at most {self.config.page_limit_max}, got {params.page_limit}.")
        sort = self.parse_sort_params(params.sort)
        limit = params.page_limit or self.config.page_limit
        criteria |= {"filter": where, "sort": sort, "limit": limit, "skip": _skip(params, limit)}
        if params.page_above is not None:
            criteria["after"] = self._after(params.page_above, sort)
        return criteria

    def parse_sort_params(self, sort_params: str) -> list[tuple[str, int]]:
        """Return fields and directions; the id settles the order of equal entries, so that an index serves both.

        Raises
        ------
        BadRequest
            If a field is unknown or cannot be sorted by, or there are too many.
        """
        sort = []
        for field in filter(None, sort_params.split(",")):
            name = field.removeprefix("-")
            if not self.properties.get(name, {}).get("sortable"):
                raise BadRequest(f"sort: {name[:_SHOWN]!r} is no field that can be sorted by.")
            sort.append((name, DESCENDING if field.startswith("-") else ASCENDING))
        if len(sort) > MAX_SORT_FIELDS:
            raise BadRequest(f"sort: expected at most {MAX_SORT_FIELDS} fields, got {len(sort)}.")
        # In the direction of the others: an index of both can be read either way, but not both ways at once.
        return sort if "id" in dict(sort) else [*sort, ("id", sort[-1][1] if sort else ASCENDING)]

    def get_next_query_params(self, params: EntryListingQueryParams, results: Any) -> dict[str, list[str]]:
        """Return the parameters of the link to the next page: it starts behind the last entry of this one."""
        last = {"page_above": [results[-1]["id"]], "page_offset": [], "page_number": []}
        # The library drops parameters without a value, of which this one means something.
        return last | {"include": [params.include]}

    def _fields(self, response_fields: str) -> set[str]:
        required: set[str] = self.resource_mapper.get_required_fields()
        if not response_fields:
            return set(self.all_fields)
        fields = set(response_fields.split(","))
        for field in fields - self.all_fields:
            foreign = field.startswith("_") and not field.startswith(f"_{self.provider_prefix}_")
            if not foreign or not field.replace("_", "").isalnum() or field == "_id":
                raise BadRequest(f"response_fields: unknown field {field[:_SHOWN]!r}.")
        return fields | required

    def _after(self, name: str, sort: Sequence[tuple[str, int]]) -> Document:
        """Return the filter of the entries that come after one in an order; missing values come before all others."""
        found = next(iter(self._find({"id": name}, {"projection": dict(sort) | {"_id": False}, "limit": 1})), None)
        if found is None:
            raise BadRequest(
                f"page_above: there is no entry {name[:_SHOWN]!r} any more; start again at the first page."
            )
        ways: list[Document] = []
        for place, (field, direction) in enumerate(sort):
            value = found.get(field)
            equal = {before: found.get(before) for before, _ in sort[:place]}
            if value is None:
                # Everything else is above it.
                ways += [equal | {field: {"$ne": None}}] if direction == ASCENDING else []
            else:
                # Below it are missing values too.
                beyond = {"$gt": value} if direction == ASCENDING else {"$not": {"$gte": value}}
                ways.append(equal | {field: beyond})
        return {"$or": ways}

    def _run_db_query(
        self, criteria: dict[str, Any], single_entry: bool = False
    ) -> tuple[list[dict[str, Any]], int | None, bool]:
        where, after, limit = criteria["filter"], criteria.pop("after", None), criteria["limit"]
        options = {key: criteria[key] for key in ("projection", "sort", "skip") if key in criteria}
        page = where if after is None else {"$and": [where, after]} if where else after
        found = self._find(page, options | {"limit": limit + 1})
        more = len(found) > limit and not single_entry
        entries = [_shown(entry) for entry in found[:limit]]
        return entries, len(entries) if single_entry else self.count(filter=where), more

    def _find(self, where: Document, options: dict[str, Any]) -> list[Document]:
        with self.lend() as database, _filter_errors():
            return list(database[self.name].find(where, max_time_ms=self.max_time_ms, **options))

    def _count(self, where: Document) -> int | None:
        with self.lend() as database, suppress(ExecutionTimeout):
            return database[self.name].count_documents(where, limit=COUNT_CAP + 1, maxTimeMS=COUNT_TIME_MS)
        return None


class LiteralEntries(StoredEntries):
    """A few entries that are not stored: MongoDB filters and sorts them as it does others.

    ``documents`` are the entries, flat.
    """

    documents: Sequence[Document] = ()

    def of(self, documents: Sequence[Document]) -> LiteralEntries:
        """Return the same with these entries."""
        other = copy(self)
        other.documents = documents
        return other

    def __len__(self) -> int:
        return len(self.documents)

    def _find(self, where: Document, options: dict[str, Any]) -> list[Document]:
        stages: list[Document] = [{"$documents": self.documents}, {"$match": where}]
        if "sort" in options:
            stages.append({"$sort": dict(options["sort"])})
        stages += [{"$skip": options.get("skip", 0)}, {"$limit": options["limit"]}, {"$project": options["projection"]}]
        with self.lend() as database, _filter_errors():
            return list(database.mongo.aggregate(stages, maxTimeMS=self.max_time_ms))

    def _count(self, where: Document) -> int | None:
        return len(self._find(where, {"limit": COUNT_CAP + 1, "projection": {"id": True}}))


@contextmanager
def _filter_errors() -> Iterator[None]:
    """Tell whoever sent a filter that MongoDB cannot use it."""
    try:
        yield
    except OperationFailure as error:
        if error.code not in _BAD_FILTER:
            raise
        raise BadRequest("filter: MongoDB cannot use it.") from error
    except (OverflowError, InvalidDocument) as error:
        raise BadRequest("filter: a value that MongoDB cannot hold.") from error


def _skip(params: EntryListingQueryParams, limit: int) -> int:
    if params.page_above is not None:
        return 0
    offset = (
        params.page_offset or (max(params.page_number, 1) - 1) * limit if params.page_number else params.page_offset
    )
    if offset > MAX_SKIP:
        raise Forbidden(f"page_offset: expected at most {MAX_SKIP}; follow the links to the next page.")
    return offset


def _shown(entry: Document) -> Document:
    """Return an entry with its time as RFC 3339 wants it; MongoDB's times are in UTC."""
    moment = entry.get("last_modified")
    return entry if moment is None else entry | {"last_modified": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
