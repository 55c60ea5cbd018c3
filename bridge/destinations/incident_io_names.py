"""incident.io's lists of names: where each is, page by page, and which of its entries a rule's word may mean.

In: a kind and a cursor, then the answer. Out: an address, then a NamesPage. Facts: incident.io's OpenAPI document and
its prose, https://github.com/incident-io/sdk-go openapi3.json ("spec"), read 2026-08; of the catalog
https://api-docs.incident.io/tag/Catalog-V3, read 2026-11.

The options of custom fields, and the entries of the catalogs that stand in some, are lists of lists: the first page of
these kinds are the custom fields, every further one belongs to one of them. What is still to be read is the cursor.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from bridge.destinations import wire
from bridge.destinations.incident_io_fields import ENTRY, OPTION, SELECTS
from bridge.domain.delivery import HttpRequest, HttpResponse, NamedThing, NamesPage
from bridge.domain.names import CUT_OFF, OF, VALUES_KIND, VALUES_OF
from bridge.domain.text import storable

CLOSED = "closed"
PAGE_SIZE = 250  # prose: the most a page holds, whatever the schema says
PAGES_MAX = CUT_OFF // PAGE_SIZE  # of one part: a catalog may have 50,000 entries (prose, POST catalog_entries)
_FIELDS_PATH = "v2/custom_fields"


@dataclass(frozen=True, slots=True, kw_only=True)
class _NameList:
    """One list: its path, whose last part is also its key in the answer, and what is kept of its entries."""

    path: str
    keep: tuple[str, ...] = ()
    paged: bool = False
    part: str = ""  # the query parameter that says which part of it; such a list is read part by part


_LISTS: Mapping[str, _NameList] = MappingProxyType(
    {
        "severity": _NameList(path="v1/severities", keep=("rank",)),
        "incident_type": _NameList(path="v1/incident_types", keep=("is_default", "create_in_triage")),
        "incident_status": _NameList(path="v1/incident_statuses", keep=("category", "rank")),
        "custom_field": _NameList(path=_FIELDS_PATH, keep=("field_type",)),
        OPTION: _NameList(path="v1/custom_field_options", paged=True, part="custom_field_id"),
        ENTRY: _NameList(path="v3/catalog_entries", paged=True, part="catalog_type_id"),
        "incident_role": _NameList(path="v2/incident_roles", keep=("role_type",)),
        "incident_timestamp": _NameList(path="v2/incident_timestamps"),
        "user": _NameList(path="v2/users", paged=True),
    }
)
KINDS = tuple(_LISTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """How far the reading of a paged list has come."""

    after: str | None = None  # the last id of the page before
    part: str | None = None  # the custom field or the catalog type being read
    parts: tuple[str, ...] = ()  # those still to be read
    pages: int = 1  # of this part

    def as_text(self) -> str:
        return json.dumps([self.after, self.part, *self.parts, self.pages], separators=(",", ":"))


def _walk_of(text: str) -> _Walk:
    after, part, *parts, pages = json.loads(text)
    return _Walk(after=after, part=part, parts=tuple(parts), pages=pages)


def address(base_url: str, kind: str, cursor: str | None) -> str:
    """The address of one page.

    What is still to be read stands in the fragment: a client keeps it to itself (RFC 9110, 7.1), and whoever reads
    the answer finds it there.
    """
    about = _LISTS[kind]
    if not about.paged:
        return f"{base_url}/{about.path}"
    if cursor is None and about.part:
        return f"{base_url}/{_FIELDS_PATH}"
    walk = _Walk() if cursor is None else _walk_of(cursor)
    query = {"page_size": str(PAGE_SIZE)}
    query |= {about.part: walk.part} if walk.part is not None else {}
    query |= {"after": walk.after} if walk.after is not None else {}
    return f"{base_url}/{about.path}?{urlencode(query)}#{quote(walk.as_text())}"


def page(kind: str, request: HttpRequest, response: HttpResponse) -> NamesPage | None:
    """The entries of the page; None when the answer is not a list we can trust."""
    about = _LISTS[kind]
    asked = urlsplit(request.url)
    if about.part and asked.path.endswith(_FIELDS_PATH):
        fields = wire.entries_in(response, _FIELDS_PATH)
        return None if fields is None else _first_part(_fields(fields), kind)
    entries = wire.entries_in(response, about.path)
    if entries is None:
        return None
    if not about.paged:
        return NamesPage(things=_things(kind, entries, about))
    walk = _walk_of(unquote(asked.fragment))
    things = _paged_things(kind, entries, walk.part)
    return NamesPage(things=things, next_cursor=_next(walk, entries, wire.json_in(response.body)))


def closing(statuses: tuple[Any, ...]) -> str:
    """The id of the status that closes an incident: the one named so, else the first of the category.

    Empty when the organisation's list has none, which incident.io refuses in words a person can act on.
    """
    closed = [status for status in statuses if status.extra.get("category") == CLOSED]
    called_so = [status for status in closed if status.name.strip().casefold() == CLOSED]
    return min(called_so or closed, key=_rank).id if closed else ""


def _first_part(fields: tuple[NamedThing, ...], kind: str) -> NamesPage:
    """Which parts there are: one per custom field with options, or one per catalog that stands in some."""
    parts = [str(field.extra[VALUES_OF]) for field in fields if field.extra.get(VALUES_KIND) == kind]
    rest = tuple(dict.fromkeys(parts))
    return NamesPage(things=(), next_cursor=_Walk(part=rest[0], parts=rest[1:]).as_text() if rest else None)


def _next(walk: _Walk, entries: list[Any], content: Any) -> str | None:
    """Where to read on: the next page of this part, else, or when it is too much, the next part; None at the end."""
    after = wire.identifier_in(wire.within(content, "pagination_meta", "after"))
    if after is not None and entries and after != walk.after and walk.pages < PAGES_MAX:
        return replace(walk, after=after, pages=walk.pages + 1).as_text()
    if walk.parts:
        return _Walk(part=walk.parts[0], parts=walk.parts[1:]).as_text()
    return None


def _things(kind: str, entries: list[Any], about: _NameList) -> tuple[NamedThing, ...]:
    if kind == "custom_field":
        return _fields(entries)
    things = wire.named(entries, keep=about.keep)
    return _by_category(things) if kind == "incident_status" else things


def _fields(entries: Iterable[Any]) -> tuple[NamedThing, ...]:
    """The custom fields, each with what may stand in it: options of its own, entries of a catalog, or any text."""
    things = wire.named(entries, keep=("field_type", "catalog_type_id"))
    return tuple(replace(thing, extra=_holds(thing)) for thing in things)


def _holds(field: NamedThing) -> dict[str, Any]:
    """A select with a catalog_type_id is filled from that catalog, else from its options (spec, CustomFieldV2)."""
    kind = field.extra.get("field_type")
    catalog = wire.identifier_in(field.extra.get("catalog_type_id"))
    if not isinstance(kind, str):
        return {}
    about: dict[str, Any] = {"field_type": kind}
    if kind not in SELECTS:
        return about
    return about | {VALUES_KIND: OPTION if catalog is None else ENTRY, VALUES_OF: catalog or field.id}


def _paged_things(kind: str, entries: list[Any], part: str | None) -> tuple[NamedThing, ...]:
    of = {OF: part} if part is not None else {}
    objects = wire.objects(entries)
    match kind:
        case "custom_field_option":  # its name is called value (spec, CustomFieldOptionV1)
            named = ({"id": one.get("id"), "name": one.get("value", one.get("name"))} for one in objects)
            return tuple(replace(thing, extra=of) for thing in wire.named(named))
        case "catalog_entry":
            current = [one for one in objects if not one.get("archived_at")]
            return tuple(replace(_called(thing, one), extra=of) for one in current for thing in wire.named([one]))
        case _:
            return tuple(_called(thing, one) for one in objects for thing in wire.named([one]))


def _called(thing: NamedThing, entry: Mapping[str, Any]) -> NamedThing:
    """What else people call it: a person's e-mail address and Slack id, a catalog entry's external id and aliases."""
    words = [entry.get("email"), entry.get("slack_user_id"), entry.get("external_id")]
    aliases = [*wire.texts(words), *wire.texts(entry.get("aliases"))]
    return replace(thing, aliases=tuple(dict.fromkeys(storable(alias) for alias in aliases if alias)))


def _by_category(statuses: tuple[NamedThing, ...]) -> tuple[NamedThing, ...]:
    """The statuses, the first of each category also called by it: a rule may say `triage` or `live`."""
    firsts: dict[Any, NamedThing] = {}
    for status in sorted(statuses, key=_rank, reverse=True):
        category = status.extra.get("category")
        if isinstance(category, str):
            firsts[category] = status
    return tuple(
        replace(status, aliases=tuple(category for category, first in firsts.items() if first is status))
        for status in statuses
    )


def _rank(status: Any) -> tuple[float, str]:
    rank = status.extra.get("rank")
    sorts = isinstance(rank, int) or (isinstance(rank, float) and not math.isnan(rank))  # no float holds every integer
    return (rank if sorts else 0, status.id)
