"""Call records and recordings over the API: filters, paging, CSV, ranges, and whose they are."""

import asyncio
import csv
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from router.call_record import QUEUED, RECORDED, Direction, End, Happened, Head
from router.deadline import in_s
from router.http.downloads import prefers, safe_cell
from router.store import keys
from tests.integration.http.api_server import ApiServer, api_server

BEGAN_MS = 1_790_000_000_000
SOUND = b"RIFF" + bytes(range(256)) * 40


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with api_server(redis_url, tmp_path) as server:
        server.telephony.recordings_dir.mkdir()
        yield server


def event(seq: int, what: str, **more: object) -> Happened:
    return Happened(seq=str(seq), at_ms=BEGAN_MS + seq * 1000, what=what, **more)  # type: ignore[arg-type]


async def write(
    api: ApiServer,
    call: str,
    *events: Happened,
    tenant: str = "acme",
    after_s: int = 0,
    is_over: bool = True,
    **head: object,
) -> None:
    began_ms = BEGAN_MS + after_s * 1000
    known: dict[str, object] = {"caller": "+4930555123", "called": "+4930100"}
    await api.telephony.records.append(
        tenant,
        Head(
            id=call,
            kind="inbound",
            pbx="pbx",
            began_ms=began_ms,
            **{"direction": Direction.INBOUND, **known, **head},  # type: ignore[arg-type]
        ),
        events,
        end=End(at_ms=began_ms + 90_000, cause=16, digits={"pin": "…"}) if is_over else None,
        keep_ms=10**12,
        deadline=in_s(5),
    )


SERVED = (
    event(1, QUEUED, queue="support"),
    event(2, "offered", leg="l1", agent="bea"),
    event(8, "offer_no_answer", leg="l1", agent="bea"),
    event(9, "offered", leg="l2", agent="ada"),
    event(11, "answered", leg="l2", agent="ada"),
    event(12, "talking", agent="ada"),
)


async def record_sound(
    api: ApiServer, call: str, *, tenant: str = "acme", data: bytes = SOUND, **head: object
) -> str:
    name = f"{call}.{'5' * 32}.wav"
    (api.telephony.recordings_dir / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    recorded = event(20, RECORDED, detail=f"{name} {digest}")
    await write(api, call, *SERVED, recorded, tenant=tenant, **head)  # type: ignore[arg-type]  # keywords
    return name


# --- records


async def test_a_message_says_whose_mailbox_it_is_for(api: ApiServer):
    name = f"m1.{'5' * 32}.wav"
    await write(api, "m1", event(1, RECORDED, detail=f"{name} 0abc department-42"))
    await record_sound(api, "c1")
    found = (await api.ask("GET", "/recordings")).data
    assert sorted((one["call"], one["mailbox"]) for one in found) == [
        ("c1", None),
        ("m1", "department-42"),
    ]


async def test_a_record_tells_waits_offers_talk_and_end(api: ApiServer):
    await write(api, "c1", *SERVED)
    record = (await api.ask("GET", "/cdrs/c1")).data
    assert (record["disposition"], record["cause"], record["agents"]) == ("answered", 16, ["ada"])
    assert (record["waited_seconds"], record["talked_seconds"]) == (11, 78)
    assert [offer["outcome"] for offer in record["offers"]] == ["no_answer", "answered"]
    assert record["began_at"] == "2026-09-21T14:13:20Z"
    assert [one["what"] for one in record["events"]] == [one.what for one in SERVED]
    assert (await api.ask("GET", "/cdrs/none")).status == 404
    assert (await api.ask("GET", "/cdrs/c1", tenant="other")).status == 404


async def test_records_are_filtered_and_paged(api: ApiServer):
    for number in range(5):
        await write(api, f"in{number}", event(1, QUEUED, queue="sales"), after_s=number * 60)
    await write(api, "served", *SERVED, after_s=600)
    await write(api, "out", after_s=700, direction=Direction.OUTBOUND)

    async def ids(query: str) -> list[str]:
        reply = await api.ask("GET", "/cdrs?" + query)
        assert reply.status == 200, reply.body
        return [record["id"] for record in reply.data]

    assert await ids("") == ["out", "served", "in4", "in3", "in2", "in1", "in0"]
    assert await ids("queue=support") == ["served"]
    assert await ids("agent=bea") == ["served"]
    assert await ids("disposition=abandoned&limit=2") == ["in4", "in3"]
    assert await ids("direction=outbound") == ["out"]
    assert await ids("from=2026-09-21T14:14:20Z&to=2026-09-21T14:15:20Z") == ["in1"]
    assert await ids("limit=2&offset=1") == ["served", "in4"]
    assert await ids("before=in3&limit=2") == ["in2", "in1"]
    first = await api.ask("GET", "/cdrs?limit=3")
    assert "total" not in first.body  # there is more
    assert (await api.ask("GET", "/cdrs?limit=7")).body["total"] == 7
    for query in ("disposition=odd", "direction=up", "from=yesterday", "offset=9999"):
        bad = await api.ask("GET", "/cdrs?" + query)
        assert (bad.status, bad.data["field"]) == (400, query.partition("=")[0])


async def test_numbers_are_masked_but_for_admins(api: ApiServer):
    await write(api, "c1")
    assert (await api.ask("GET", "/cdrs")).data[0]["caller"] == "+4930555123"
    seen = (await api.ask("GET", "/cdrs", role="supervisor")).data[0]
    assert seen["caller"] == "+493…23"
    api.telephony.shows_numbers = True
    seen = (await api.ask("GET", "/cdrs", role="supervisor")).data[0]
    assert seen["caller"] == "+4930555123"


async def test_an_agent_sees_only_records_of_its_own(api: ApiServer):
    await write(api, "c1", *SERVED)
    await write(api, "c2")
    mine = await api.ask("GET", "/cdrs", role="agent", sub="ada")
    assert [record["id"] for record in mine.data] == ["c1"]
    for path in ("/cdrs?agent=bea", "/cdrs/c2", "/cdrs/none"):
        assert (await api.ask("GET", path, role="agent", sub="ada")).status == 403
    assert (await api.ask("GET", "/cdrs/c1", role="agent", sub="ada")).status == 200


async def ask_csv(api: ApiServer, accept: str) -> tuple[str, str]:
    headers = {"Authorization": f"Bearer {api.token()}", "Accept": accept}
    async with api.session.get(api.url + "/api/v1/cdrs", headers=headers) as response:
        return response.headers["Content-Type"], await response.text()


async def test_records_come_as_csv_and_no_cell_is_a_formula(api: ApiServer):
    await write(api, "c1", *SERVED, caller='=HYPERLINK("http://evil.example","x")')
    await api.ask("PUT", "/calls/c1/labels", {"labels": ["@SUM(A1)", 'say "hi", ok']})
    kind, text = await ask_csv(api, "text/csv")
    assert kind == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["caller"].startswith("'=HYPERLINK")
    assert row["called"] == "+4930100"
    assert row["labels"].startswith("'@SUM")
    assert row["labels"].endswith('say "hi", ok')
    assert (row["queues"], row["agents"], row["talked_seconds"]) == ("support", "ada", "78")
    for accept in ("application/json", "*/*", "application/json, text/csv;q=0.5", "text/csv;q=0"):
        assert (await ask_csv(api, accept))[0].startswith("application/json"), accept


@pytest.mark.parametrize(
    ("text", "is_harmless"),
    [
        ("=1+1", False),
        (" =1+1", False),
        ("@A1", False),
        ("+A1", False),
        ("-2+3+cmd|' /C calc'!A0", False),
        ("\t=1", False),
        ("\r\n=1", False),
        ("+4930100", True),
        ("-5", True),
        ("support", True),
        ("", True),
    ],
)
def test_a_cell_that_a_spreadsheet_would_compute_is_made_text(text: str, is_harmless: bool):
    assert safe_cell(text) == (text if is_harmless else f"'{text}")


def test_the_better_liked_type_wins_and_then_the_first():
    assert prefers(["text/csv"], "text/csv", "application/json")
    assert prefers(["application/json;q=0.1, text/csv;q=0.2"], "text/csv", "application/json")
    assert prefers(["text/csv, application/json"], "text/csv", "application/json")
    assert not prefers(["application/json, text/csv"], "text/csv", "application/json")
    assert not prefers(["text/csv;q=x"], "text/csv", "application/json")
    assert not prefers([], "text/csv", "application/json")


# --- recordings


async def get_audio(
    api: ApiServer, name: str, headers: dict[str, str] | None = None, **who: str
) -> tuple[int, "aiohttp.typedefs.CIMultiDictProxy[str]", bytes]:
    sent = {"Authorization": f"Bearer {api.token(**who)}", **(headers or {})}  # type: ignore[arg-type]
    url = f"{api.url}/api/v1/recordings/{name}/audio"
    async with api.session.get(url, headers=sent) as response:
        return response.status, response.headers, await response.read()


async def test_a_recording_is_listed_with_its_checksum_and_downloaded_whole(api: ApiServer):
    name = await record_sound(api, "c1")
    await write(api, "c0", after_s=-60)
    reply = await api.ask("GET", "/recordings", role="supervisor")
    (found,) = reply.data
    assert (found["id"], found["call"], found["queues"]) == (name, "c1", ["support"])
    assert found["sha256"] == hashlib.sha256(SOUND).hexdigest()
    assert (found["size_bytes"], found["deleted_at"]) == (len(SOUND), None)
    assert (await api.ask("GET", f"/recordings/{name}")).data == found
    status, headers, body = await get_audio(api, name)
    assert (status, headers["Content-Type"], body) == (200, "audio/wav", SOUND)
    assert headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_a_part_of_a_recording_is_downloaded(api: ApiServer):
    name = await record_sound(api, "c1")
    status, headers, body = await get_audio(api, name, {"Range": "bytes=100-199"})
    assert (status, body) == (206, SOUND[100:200])
    assert headers["Content-Range"] == f"bytes 100-199/{len(SOUND)}"
    status, _, body = await get_audio(api, name, {"Range": "bytes=-16"})
    assert (status, body) == (206, SOUND[-16:])
    status, headers, _ = await get_audio(api, name, {"Range": f"bytes={len(SOUND)}-"})
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(SOUND)}")


async def test_only_the_tenants_supervisors_hear_a_recording(api: ApiServer):
    name = await record_sound(api, "c1")
    assert (await get_audio(api, name, role="agent", sub="ada"))[0] == 403
    assert (await get_audio(api, name, tenant="other"))[0] == 404
    assert (await api.ask("DELETE", f"/recordings/{name}", tenant="other")).status == 404
    assert (await api.ask("DELETE", f"/recordings/{name}", role="supervisor")).status == 403
    status, _, _ = await get_audio(api, name, {"Authorization": ""})
    assert status == 401
    assert (api.telephony.recordings_dir / name).exists()


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fsecret.wav",
        "%2e%2e%2fsecret.wav",
        "..",
        "c1.%2e%2e%2f%2e%2e%2fsecret.wav",
        "%2fetc%2fpasswd",
        "c1.wav%00",
        "c1.other.wav",
        "secret.wav",
    ],
)
async def test_no_path_leads_out_of_the_recordings(api: ApiServer, name: str):
    await record_sound(api, "c1")
    secret = api.telephony.recordings_dir.parent / "secret.wav"
    secret.write_bytes(b"hunter2")
    (api.telephony.recordings_dir / "c1.other.wav").write_bytes(b"nobody's")
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /api/v1/recordings/{name}/audio HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {api.token()}\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert b" 404 " in answer.split(b"\r\n")[0]
    assert b"hunter2" not in answer
    assert b"nobody's" not in answer


async def test_a_record_that_names_a_link_or_a_path_gives_nothing_away(api: ApiServer):
    secret = api.telephony.recordings_dir.parent / "secret.wav"
    secret.write_bytes(b"hunter2")
    name = f"c1.{'6' * 32}.wav"
    (api.telephony.recordings_dir / name).symlink_to(secret)
    await write(
        api,
        "c1",
        event(1, RECORDED, detail=f"{name} 00"),
        event(2, RECORDED, detail="../secret.wav 00"),
    )
    assert (await get_audio(api, name))[0] == 404
    sizes = [found["size_bytes"] for found in (await api.ask("GET", "/recordings")).data]
    assert sizes == [None, None]


async def test_to_delete_a_recording_neither_prolongs_nor_changes_its_record(api: ApiServer):
    name = await record_sound(api, "c1", callback="cb-1")
    link = api.links.link_for("acme")
    kept = [name_of("acme", "c1") for name_of in (keys.call_record, keys.call_events)]
    for key in kept:
        await link.call("PEXPIRE", key, 60_000, deadline=in_s(5))
    before = (await api.ask("GET", "/cdrs/c1")).data
    assert (await api.ask("DELETE", f"/recordings/{name}")).status == 200
    for key in kept:
        left_ms = await link.call("PTTL", key, deadline=in_s(5))
        assert isinstance(left_ms, int)
        assert 0 < left_ms <= 60_000
    after = (await api.ask("GET", "/cdrs/c1")).data
    assert {key for key in before if before[key] != after[key]} == {"events"}
    assert after["callback"] == "cb-1"
    (listed,) = (await api.ask("GET", "/cdrs?callback=cb-1")).data
    assert listed["id"] == "c1"


async def test_a_deleted_recording_leaves_a_note_and_no_file(api: ApiServer):
    name = await record_sound(api, "c1")
    assert (await api.ask("DELETE", f"/recordings/{name}")).status == 200
    assert not (api.telephony.recordings_dir / name).exists()
    left = (await api.ask("GET", f"/recordings/{name}")).data
    assert left["size_bytes"] is None
    assert left["deleted_at"] is not None
    assert left["sha256"] == hashlib.sha256(SOUND).hexdigest()
    assert (await get_audio(api, name))[0] == 404
    assert (await api.ask("DELETE", f"/recordings/{name}")).status == 404
