"""`recordings`: what was recorded, and the files.

A recording belongs to whom its call belongs to: its name begins with the call's id, and that call's
record, which is the tenant's, has to name it. No part of a path ever comes from outside.
"""

import asyncio
import contextlib
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from router.call_record import CallRecord, Direction, Happened, Head
from router.http.downloads import File
from router.http.envelope import Page, timestamp
from router.http.roles import Resource
from router.http.v1.cdrs import FILTERS, find_records
from router.http.v1.endpoints import AnyEndpoint, Asked, Endpoint
from router.http.v1.resources import Nothing, not_found

WAV: Final = "audio/wav"
DELETED: Final = "recording_deleted"
_NAME: Final = re.compile(r"([0-9A-Za-z-]{1,64})\.[0-9A-Za-z-]{1,80}\.wav")


class RecordingForm(msgspec.Struct, frozen=True, kw_only=True):
    """A recording; `mailbox`: a message left for that one. `size_bytes` None: the file is gone (deleted,
    or older than they are kept)."""

    id: str
    call: str
    direction: Direction
    began_at: datetime | None
    queues: list[str]
    agents: list[str]
    mailbox: str | None
    sha256: str
    size_bytes: int | None
    deleted_at: datetime | None


async def list_recordings(asked: Asked[None]) -> Page:
    """Those of the newest calls that fit; limit, offset and total count calls, so a page may be shorter.

    There is a `total` once the end of the records was reached.
    """
    records, is_more = await find_records(asked)
    page = records[asked.offset :]
    names = [one.name for record in page for one in record.recordings]
    sizes = await asyncio.to_thread(_sizes, asked.service.telephony.recordings_dir, names)
    forms: list[object] = [
        _form(record, name, sizes) for record in page for name in _names_of(record)
    ]
    total = None if is_more else len(records)
    return Page(items=forms, total=total, limit=asked.limit, offset=asked.offset)


async def get_recording(asked: Asked[None]) -> RecordingForm:
    record = await _record(asked)
    folder = asked.service.telephony.recordings_dir
    return _form(record, asked.id, await asyncio.to_thread(_sizes, folder, [asked.id]))


async def download_recording(asked: Asked[None]) -> File:
    await _record(asked)
    path = await asyncio.to_thread(_file, asked.service.telephony.recordings_dir, asked.id)
    if path is None:
        raise not_found(asked, "file of the recording")
    return File(path=path, name=asked.id, content_type=WAV)


async def delete_recording(asked: Asked[None]) -> Nothing:
    """The file goes first; that it was deleted is noted in the call's record."""
    record = await _record(asked)
    telephony = asked.service.telephony
    path = await asyncio.to_thread(_file, telephony.recordings_dir, asked.id)
    if path is None:
        raise not_found(asked, "file of the recording")
    await asyncio.to_thread(_remove, path)
    deleted = Happened(
        seq=f"deleted {asked.id}", at_ms=int(time.time() * 1000), what=DELETED, detail=asked.id
    )
    await telephony.records.append(
        asked.tenant,
        _head(record),
        [deleted],
        end=None,
        keep_ms=telephony.keep_records_days * 24 * 3_600_000,
        deadline=asked.deadline,
    )
    return Nothing()


async def _record(asked: Asked[Any]) -> CallRecord:
    """The record of the tenant's call that has this recording."""
    named = _NAME.fullmatch(asked.id)
    if named is not None:
        records = asked.service.telephony.records
        record = await records.get(asked.tenant, named[1], asked.deadline)
        if record is not None and asked.id in _names_of(record):
            return record
    raise not_found(asked, "recording")


def _names_of(record: CallRecord) -> list[str]:
    return [one.name for one in record.recordings]


def _form(record: CallRecord, name: str, sizes: dict[str, int]) -> RecordingForm:
    recorded = next(one for one in record.recordings if one.name == name)
    deleted = (e.at_ms for e in record.events if e.what == DELETED and e.detail == name)
    return RecordingForm(
        id=name,
        call=record.id,
        direction=record.direction,
        began_at=timestamp(record.began_ms),
        queues=list(dict.fromkeys(wait.queue for wait in record.waits)),
        agents=list(record.agents),
        mailbox=recorded.mailbox,
        sha256=recorded.sha256,
        size_bytes=sizes.get(name),
        deleted_at=timestamp(next(deleted, None)),
    )


def _head(record: CallRecord) -> Head:
    return Head(**{name: getattr(record, name) for name in Head.__struct_fields__})


def _file(folder: Path, name: str) -> Path | None:
    """The file, if it is one and lies in the folder itself; links are not followed."""
    path = folder / name
    is_ours = _NAME.fullmatch(name) is not None and path.parent == folder
    return path if is_ours and not path.is_symlink() and path.is_file() else None


def _sizes(folder: Path, names: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        with contextlib.suppress(OSError):
            path = _file(folder, name)
            if path is not None:
                found[name] = path.stat().st_size
    return found


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


_R: Final = Resource.RECORDINGS
ENDPOINTS: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/recordings",
        resource=_R,
        summary="List recordings of calls, newest first; limit and offset count calls",
        handler=list_recordings,
        answer=RecordingForm,
        is_list=True,
        filters=FILTERS,
    ),
    Endpoint(
        method="GET",
        path="/recordings/{id}",
        resource=_R,
        summary="Get what is known of a recording",
        handler=get_recording,
        answer=RecordingForm,
    ),
    Endpoint(
        method="GET",
        path="/recordings/{id}/audio",
        resource=Resource.RECORDING_AUDIO,
        summary="Download a recording; ranges are possible",
        handler=download_recording,
        answer=Nothing,
        file=WAV,
    ),
    Endpoint(
        method="DELETE",
        path="/recordings/{id}",
        resource=_R,
        summary="Delete the file of a recording",
        handler=delete_recording,
        answer=Nothing,
    ),
)
