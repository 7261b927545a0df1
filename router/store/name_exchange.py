"""Names that resources hand on among themselves: what no order of single writes can do.

A name (user, call center, number) belongs to one resource at a time. Where each waits for what another
has, in a circle, all of a circle are given their names in one operation of the store; the rest of what
is wanted of them is written afterwards, one by one, as ever.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from router.deadline import Deadline
from router.site.resources import Kind, Resource, kind_of
from router.store import keys
from router.store.link import Link
from router.store.operations import bytes_of, list_of, text_of
from router.store.resource_keys import names_of
from router.store.resource_reading import CHUNK, MOST_CHANGES_KEPT, name_of
from router.store.scripts import load_script, run_script
from router.store.stored_forms import read_stored
from router.store.wire import Word

MOST_IN_A_CIRCLE: Final = 500
"""Resources of one operation, which the store does nothing else beside for a few milliseconds."""

_encoder: Final = msgspec.json.Encoder(order="deterministic")


class _One(msgspec.Struct, frozen=True):
    """A resource in the store, and what it is to be; `wanted` None: its names are given up."""

    id: str
    text: bytes
    present: Resource
    wanted: Resource | None


async def exchange_names(
    link: Link,
    tenant: str,
    wanted: Sequence[Resource],
    given_up: Sequence[Resource],
    deadline: Deadline,
) -> bool:
    """Give those of `wanted` (all of one kind) their names that wait for one another; whether any were.

    `given_up` are about to be removed: their names are free for others. Whoever waits for anybody else
    goes on waiting.
    """
    kind = kind_of(wanted[0])
    known = await _read(link, tenant, kind, wanted, given_up, deadline)
    waits_for = await _waiting(link, tenant, kind, wanted, deadline)
    _drop_hopeless(waits_for, known)
    has_exchanged = False
    for circle in _circles(waits_for):
        some = [known[id_] for id_ in circle if id_ in known]
        if 0 < len(some) <= MOST_IN_A_CIRCLE:
            has_exchanged |= await _exchange(link, tenant, kind, some, deadline)
    return has_exchanged


async def _read(  # noqa: PLR0917 - private
    link: Link,
    tenant: str,
    kind: Kind,
    wanted: Sequence[Resource],
    given_up: Sequence[Resource],
    deadline: Deadline,
) -> dict[str, _One]:
    """Those that are there, by id."""
    to_be: dict[str, Resource | None] = {one.id: None for one in given_up}
    to_be |= {one.id: one for one in wanted}
    found: dict[str, _One] = {}
    ids = list(to_be)
    for start in range(0, len(ids), CHUNK):
        some = ids[start : start + CHUNK]
        reply = await link.call("HMGET", keys.resources(tenant, kind), *some, deadline=deadline)
        for id_, text in zip(some, list_of(reply), strict=True):
            present = None if text is None else read_stored(kind, bytes_of(text))
            if present is not None:
                found[id_] = _One(id_, bytes_of(text), present, to_be[id_])
    return found


async def _waiting(
    link: Link, tenant: str, kind: Kind, wanted: Sequence[Resource], deadline: Deadline
) -> dict[str, set[str]]:
    """By id, who has the names that each is to have."""
    waits_for: dict[str, set[str]] = {one.id: set() for one in wanted}
    for start in range(0, len(wanted), CHUNK):
        some = wanted[start : start + CHUNK]
        for place, index in enumerate(name.index for name in names_of(tenant, kind, some[0].id)):
            names = [names_of(tenant, kind, one.id)[place].of(one) for one in some]
            reply = await link.call("HMGET", index, *names, deadline=deadline)
            for one, name, owner in zip(some, names, list_of(reply), strict=True):
                if name and owner is not None and text_of(owner) != one.id:
                    waits_for[one.id].add(text_of(owner))
    return waits_for


def _drop_hopeless(waits_for: dict[str, set[str]], known: Mapping[str, _One]) -> None:
    """Leave out who waits, through whomever, for somebody that keeps the name."""

    def gives_way(id_: str) -> bool:
        return id_ in waits_for or (id_ in known and known[id_].wanted is None)

    while hopeless := [id_ for id_, owners in waits_for.items() if not all(map(gives_way, owners))]:
        for id_ in hopeless:
            del waits_for[id_]


def _circles(waits_for: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Who has to be written together: each with all whom it waits for."""
    seen: set[str] = set()
    for first in waits_for:
        circle, to_see = [], [first]
        while to_see:
            id_ = to_see.pop()
            if id_ not in seen:
                seen.add(id_)
                circle.append(id_)
                to_see.extend(waits_for.get(id_, ()))
        if len(circle) > 1:
            yield circle


async def _exchange(
    link: Link, tenant: str, kind: Kind, circle: Sequence[_One], deadline: Deadline
) -> bool:
    words: list[Word] = [MOST_CHANGES_KEPT]
    for one in circle:
        names = names_of(tenant, kind, one.id)
        named = msgspec.structs.replace(
            one.present, **{name.field: getattr(one.wanted, name.field, None) for name in names}
        )
        words += [name_of(kind, one.id), one.id, one.text, _encoder.encode(named)]
        for name in names:
            words += [name.of(one.present), "" if one.wanted is None else name.of(named)]
    indexes = [name.index for name in names_of(tenant, kind, circle[0].id)]
    reply = await run_script(
        link,
        load_script("names_exchange"),
        [keys.resources(tenant, kind), keys.version(tenant), keys.changes(tenant), *indexes],
        words,
        deadline,
    )
    return text_of(reply) == "exchanged"
