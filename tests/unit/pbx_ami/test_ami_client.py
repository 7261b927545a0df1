"""What the mended connection does, on a real socket."""

import asyncio
from unittest.mock import Mock

import pytest

from pbx.ami import agi, agi_commands, events, unheard
from pbx.ami.actions import (
    UNHEARD,
    Bridge,
    CoreShowChannels,
    Hangup,
    Originate,
    Ping,
    Setvar,
    new_channel_id,
)
from pbx.ami.client import Client, LinkState
from pbx.ami.values import ChannelName, UniqueId
from pbx.errors import (
    AgiRefusedError,
    AmiBusyError,
    AmiDownError,
    ChannelGoneError,
    LoginRefusedError,
    OutcomeUnknownError,
    RefusedError,
    UnsafeValueError,
)
from tests.unit.pbx_ami.fake_ami import Connect, FakeAmi, Seen, soon, wire

CHANNEL = ChannelName("PJSIP/trunk-00000001")
UNIQUE = UniqueId("pbx1-1.1")
UNKNOWN = f"Response: Error\nActionID: @ID\nMessage: Channel {CHANNEL} does not exist."
NOOP = agi.noop()
RING = Originate(channel="PJSIP/6001", channel_id=new_channel_id())


def about(event: str, **headers: str) -> str:
    lines = [f"Event: {event}", f"Channel: {CHANNEL}", f"Uniqueid: {UNIQUE}"]
    return "\n".join(lines + [f"{name}: {value}" for name, value in headers.items()])


async def queue_agi(
    client: Client, server: FakeAmi, **options: bool
) -> "asyncio.Task[agi.AgiResult]":
    """A command that was queued and has no result yet."""
    command = agi.AgiCommand(text="NOOP", **options)
    before = server.count("AGI")
    task = asyncio.create_task(client.agi(CHANNEL, command, soon()))
    await server.until(lambda: server.count("AGI") > before)
    return task


async def test_an_agi_command_ends_with_the_event_of_its_command_id(
    connect: Connect, server: FakeAmi
):
    client = await connect()
    task = await queue_agi(client, server)
    command_id = server.seen[-1].get("commandid") or server.seen[-2]["commandid"]
    server.say(about("AsyncAGIExec", CommandId="other", Result="200%20result%3D9%0A"))
    server.say(about("AsyncAGIExec", CommandId=command_id, Result="200%20result%3D1%20(x y)%0A"))
    assert await task == agi.AgiResult(result="1", data="x y")
    assert len(client.agi_commands) == 0


async def test_a_result_nobody_waits_for_is_an_event(connect: Connect, server: FakeAmi, seen: Seen):
    await connect()
    server.say(about("AsyncAGIExec", CommandId="earlier", Result="200%20result%3D0%0A"))
    await seen.until(lambda: bool(seen.of(events.AgiResultArrived)))
    assert seen.of(events.AgiResultArrived)[0].command_id == "earlier"


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ("AsyncAGIEnd", OutcomeUnknownError),
        ("Hangup", ChannelGoneError),
        ("BridgeEnter", OutcomeUnknownError),
    ],
)
async def test_an_agi_command_ends_when_its_channel_leaves(
    connect: Connect, server: FakeAmi, event: str, error: type[Exception]
):
    client = await connect()
    task = await queue_agi(client, server)
    server.say(about(event, BridgeUniqueid="b1"))
    with pytest.raises(error):
        await task


async def test_a_channel_that_leaves_because_it_hangs_up_is_gone(connect: Connect, server: FakeAmi):
    client = await connect()
    task = await queue_agi(client, server)
    server.say(about("AsyncAGIEnd"), about("Hangup"))
    with pytest.raises(ChannelGoneError):
        await task


async def test_a_channel_that_is_taken_elsewhere_keeps_nobody_waiting(
    connect: Connect, server: FakeAmi, seen: Seen, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agi_commands, "HANGS_UP_S", 60.0)
    client = await connect()
    before = await queue_agi(client, server)
    server.say(about("AsyncAGIEnd"))
    await seen.until(lambda: bool(seen.of(events.AgiEnded)))
    after = await queue_agi(client, server)  # for when it is back
    server.say(about("AsyncAGIStart"))
    with pytest.raises(OutcomeUnknownError):
        async with asyncio.timeout(1):  # long before its deadline
            await before
    assert not after.done()
    after.cancel()


async def test_a_command_that_joins_a_bridge_goes_on_when_the_bridge_is_joined(
    connect: Connect, server: FakeAmi
):
    client = await connect()
    task = await queue_agi(client, server, enters_bridge=True, wakes=False)
    server.say(about("BridgeEnter", BridgeUniqueid="b1"))
    server.say(
        about("AsyncAGIExec", CommandId=server.seen[-1]["commandid"], Result="200%20result%3D0%0A")
    )
    assert (await task).result == "0"


async def test_an_agi_command_without_a_result_is_unknown_at_its_deadline(connect: Connect):
    client = await connect()
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.agi(CHANNEL, NOOP, soon(0.1))
    assert caught.value.command_id
    assert len(client.agi_commands) == 0


async def test_an_agi_command_on_a_channel_that_does_not_exist_is_refused(
    connect: Connect, server: FakeAmi
):
    server.answers["AGI"] = lambda _: UNKNOWN
    client = await connect()
    with pytest.raises(RefusedError) as caught:
        await client.agi(CHANNEL, NOOP, soon())
    assert CHANNEL in caught.value.reason
    assert CHANNEL not in str(caught.value)


async def test_async_agi_is_woken_before_the_answer_and_left_alone_once_there_is_media(
    connect: Connect, server: FakeAmi
):
    client = await connect()
    timeout = agi.set_variable("TIMEOUT(absolute)", "0")
    waking = asyncio.create_task(client.agi(CHANNEL, timeout, soon()))
    await server.until(lambda: server.count("SendFlash") == 1)
    flash = {"receive": "true", "channel": CHANNEL}
    assert server.seen[-1] | flash == server.seen[-1]
    later = (agi.answer(), agi.stream_file("a"), agi.music(on=True))
    others = [asyncio.create_task(client.agi(CHANNEL, command, soon())) for command in later]
    await server.until(lambda: server.count("AGI") == 1 + len(later))
    await client.send(Ping(), soon())
    assert server.count("SendFlash") == 1
    assert server.count("PlayDTMF") == 0
    server.say(about("Hangup"))
    for one in (waking, *others):
        with pytest.raises(ChannelGoneError):
            await one


async def test_a_channel_is_told_things_in_order_and_without_waiting(
    connect: Connect, server: FakeAmi
):
    client = await connect()
    commands = (agi.music(on=False), agi.answer(), agi.music(on=True))
    failed: list[Exception] = []
    for command in commands:
        client.tell_agi(CHANNEL, command, soon(), failed.append)
    await server.until(lambda: server.count("AGI") == len(commands))
    await client.send(Ping(), soon())  # answered behind them
    assert failed == []
    assert len(client._deadlines) == 0
    sent = [one for one in server.seen if one["action"] == "AGI"]
    assert [one["command"] for one in sent] == [command.text for command in commands]
    assert {one["commandid"] for one in sent} == {UNHEARD}
    assert len(client.agi_commands) == 0


async def test_what_a_task_just_begun_says_goes_out_in_the_same_write(
    connect: Connect, server: FakeAmi, monkeypatch: pytest.MonkeyPatch
):
    client = await connect()
    written = Mock(wraps=client._connection.protocol.transport)  # type: ignore[union-attr]
    monkeypatch.setattr(client._connection.protocol, "transport", written)  # type: ignore[union-attr]
    client.tell_agi(CHANNEL, agi.music(on=False), soon(), lambda _: None)
    task = asyncio.create_task(client.agi(CHANNEL, agi.bridge(CHANNEL), soon()))
    await server.until(lambda: server.count("AGI") == 2)
    assert written.write.call_count == 1
    server.say(about("Hangup"))
    with pytest.raises(ChannelGoneError):
        await task


async def test_what_a_channel_cannot_be_told_fails(connect: Connect, server: FakeAmi):
    client = await connect()
    failed: asyncio.Queue[Exception] = asyncio.Queue()

    async def why() -> type[Exception]:
        async with asyncio.timeout(5):
            return type(await failed.get())

    server.answers["AGI"] = lambda _: (
        "Response: Error\nActionID: @ID\nMessage: Channel A does not exist."
    )
    client.tell_agi(CHANNEL, NOOP, soon(), failed.put_nowait)
    assert await why() is RefusedError
    server.answers["AGI"] = lambda _: None
    client.tell_agi(CHANNEL, NOOP, soon(0.05), failed.put_nowait)
    assert await why() is OutcomeUnknownError
    client.tell_agi(CHANNEL, NOOP, soon(), failed.put_nowait)
    server.cut()
    assert await why() is OutcomeUnknownError
    with pytest.raises(AmiDownError):
        client.tell_agi(CHANNEL, NOOP, soon(), failed.put_nowait)
    assert failed.empty()
    assert len(client._deadlines) == 0


async def test_an_answer_that_nobody_waits_for_wakes_nobody(
    connect: Connect, server: FakeAmi, seen: Seen
):
    client = await connect()
    connection = client._connection
    assert connection is not None
    heard_at = connection.heard_at
    failed: list[Exception] = []
    client.tell_agi(CHANNEL, agi.ringing(), soon(), failed.append)  # with the flash that wakes: two
    client.tell(RING, soon(), failed.append)
    task = asyncio.create_task(client.agi(CHANNEL, agi.answer(), soon()))
    await server.until(lambda: server.count("AGI") == 2)
    await asyncio.sleep(0.05)
    assert connection.heard_at == heard_at
    assert len(client._deadlines) == 3
    server.say(about("Newchannel"))
    await seen.until(lambda: bool(seen.of(events.NewChannel)))
    assert connection.heard_at > heard_at
    assert len(client._deadlines) == 1  # the result of ANSWER
    server.say(about("Hangup"))
    with pytest.raises(ChannelGoneError):
        await task
    assert failed == []


async def test_an_answer_that_somebody_waits_for_is_heard_with_those_before_it(
    connect: Connect, server: FakeAmi
):
    client = await connect()
    for _ in range(3):
        client.tell(RING, soon(), lambda _: None)
        await client.send(Ping(), soon(0.5))
        assert len(client._deadlines) == 0


async def test_half_an_answer_is_not_left_lying(connect: Connect, server: FakeAmi, seen: Seen):
    client = await connect()
    server.answers["Originate"] = lambda _: None
    client.tell(RING, soon(), lambda _: None)
    await server.until(lambda: server.count("Originate") == 1)
    message = wire(about("Newchannel", CallerIDName="x" * 100))
    server.say(message[:-2])
    await asyncio.sleep(0.05)
    server.say(message[-2:])
    await seen.until(lambda: bool(seen.of(events.NewChannel)))


async def test_no_answer_is_left_lying_for_long(
    connect: Connect, server: FakeAmi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unheard, "LONGEST_S", 0.1)
    client = await connect()
    for _ in range(2):
        client.tell(RING, soon(), lambda _: None)
        await server.until(lambda: server.count("Originate") >= 1)
        assert len(client._deadlines) == 1
        async with asyncio.timeout(1):
            while len(client._deadlines) > 0:
                await asyncio.sleep(0.01)
        server.seen.clear()


async def test_a_refused_agi_command_raises(connect: Connect, server: FakeAmi):
    client = await connect()
    task = await queue_agi(client, server)
    command_id = next(a["commandid"] for a in server.seen if a["action"] == "AGI")
    server.say(
        about("AsyncAGIExec", CommandId=command_id, Result="510%20Invalid%20or%20unknown%0A")
    )
    with pytest.raises(AgiRefusedError) as caught:
        await task
    assert caught.value.status == 510


@pytest.mark.parametrize(
    "evil", ["a\r\nAction: Originate", "a\nb", "a\rb", "a\x00b", "a\x85b", "\ud800"]
)
async def test_a_line_break_in_a_value_is_refused_before_anything_is_sent(
    connect: Connect, server: FakeAmi, evil: str
):
    client = await connect()
    before = server.raw
    with pytest.raises(UnsafeValueError):
        await client.send(Setvar(channel=CHANNEL, variable="X", value=evil), soon())
    assert server.raw == before


async def test_a_line_that_asterisk_would_refuse_is_not_sent(connect: Connect):
    client = await connect()
    with pytest.raises(UnsafeValueError):
        await client.send(Setvar(channel=CHANNEL, variable="X", value="ü" * 500), soon())
    await client.send(Setvar(channel=CHANNEL, variable="X", value="x" * 990), soon())


async def test_a_receiver_that_raises_does_not_break_the_connection(
    connect: Connect, server: FakeAmi
):
    client = await connect()
    calls: list[events.Event] = []

    def explode(event: events.Event) -> None:
        calls.append(event)
        raise ZeroDivisionError

    client.on_event = explode
    server.say(about("Hangup", Cause="16"), about("Hangup", Cause="17"))
    await client.send(Ping(), soon())
    assert [type(event) for event in calls] == [events.HungUp, events.HungUp]
    assert server.connects == 1


async def test_a_malformed_event_is_skipped(connect: Connect, server: FakeAmi, seen: Seen):
    client = await connect()
    server.say(about("Hangup", Cause="many"), about("Hangup", Cause="16"))
    await client.send(Ping(), soon())
    assert [event.cause for event in seen.of(events.HungUp)] == [16]


async def test_an_unanswered_action_ends_and_is_not_repeated_after_a_reconnect(
    connect: Connect, server: FakeAmi
):
    server.answers["Originate"] = lambda _: None
    client = await connect()
    action = Originate(channel="PJSIP/6001", channel_id=new_channel_id())
    task = asyncio.create_task(client.send(action, soon()))
    await server.until(lambda: server.count("Originate") == 1)
    server.cut()
    with pytest.raises(OutcomeUnknownError):
        await task
    await server.until(lambda: server.logins == 2)
    await client.wait_ready(soon())
    await client.send(Ping(), soon())
    assert server.count("Originate") == 1


async def test_an_action_that_had_its_first_answer_ends_when_the_connection_breaks(
    connect: Connect, server: FakeAmi
):
    server.answers["CoreShowChannels"] = lambda _: (
        "Response: Success\nActionID: @ID\nEventList: start\nMessage: Channels will follow"
    )
    client = await connect()
    task = asyncio.create_task(client.channels(soon()))
    await server.until(lambda: server.count("CoreShowChannels") == 1)
    await client.send(Ping(), soon())
    server.cut()
    with pytest.raises(OutcomeUnknownError):
        await task


async def test_an_agi_command_ends_when_the_connection_breaks(connect: Connect, server: FakeAmi):
    client = await connect()
    task = await queue_agi(client, server)
    server.cut()
    with pytest.raises(OutcomeUnknownError) as caught:
        await task
    assert caught.value.command_id


async def test_nothing_is_sent_while_down(connect: Connect, server: FakeAmi, seen: Seen):
    client = await connect(first_pause_s=30, longest_pause_s=30)
    server.cut()
    await seen.until(lambda: seen.states[-1] is LinkState.DOWN)
    with pytest.raises(AmiDownError):
        await client.send(Ping(), soon())


async def test_an_action_without_an_answer_is_unknown_at_its_deadline(
    connect: Connect, server: FakeAmi
):
    server.answers["Hangup"] = lambda _: None
    client = await connect()
    with pytest.raises(OutcomeUnknownError):
        await client.send(Hangup(channel=CHANNEL), soon(0.05))
    with pytest.raises(AmiBusyError):
        await client.send(Hangup(channel=CHANNEL), soon(-1))
    assert server.count("Hangup") == 1


async def test_a_cancelled_wait_leaves_nothing_behind(connect: Connect, server: FakeAmi):
    server.answers["Hangup"] = lambda _: None
    client = await connect(max_pending=1)
    task = asyncio.create_task(client.send(Hangup(channel=CHANNEL), soon()))
    await server.until(lambda: server.count("Hangup") == 1)
    with pytest.raises(AmiBusyError):
        await client.send(Ping(), soon())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await client.send(Ping(), soon())


async def test_a_refused_list_ends(connect: Connect, server: FakeAmi):
    server.answers["CoreShowChannels"] = lambda _: "Response: Error\nActionID: @ID\nMessage: no"
    client = await connect()
    with pytest.raises(RefusedError):
        await client.channels(soon())


async def test_a_list_is_read_to_its_end(connect: Connect, server: FakeAmi):
    row = "Event: CoreShowChannel\nActionID: @ID\nChannel: A\nUniqueid: u{}\nBridgeId: \nApplication: AGI"
    server.answers["CoreShowChannels"] = lambda _: "\n\n".join(
        ["Response: Success\nActionID: @ID\nEventList: start\nMessage: Channels will follow"]
        + [row.format(i) for i in range(3)]
        + ["Event: CoreShowChannelsComplete\nActionID: @ID\nListItems: 3"]
    )
    client = await connect()
    assert [one.uniqueid for one in await client.channels(soon())] == ["u0", "u1", "u2"]


async def test_where_phones_stand_is_a_list_when_asked_for_and_an_event_otherwise(
    connect: Connect, server: FakeAmi, seen: Seen
):
    row = "Event: DeviceStateChange\nActionID: @ID\nDevice: PJSIP/{}\nState: NOT_INUSE"
    server.answers["DeviceStateList"] = lambda _: "\n\n".join(
        ["Response: Success\nActionID: @ID\nEventList: start"]
        + [row.format(number) for number in (1, 2)]
        + ["Event: DeviceStateListComplete\nActionID: @ID\nListItems: 2"]
    )
    client = await connect()
    listed = await client.device_states(soon())
    assert [one.device for one in listed] == ["PJSIP/1", "PJSIP/2"]
    assert not [one for one in seen.events if isinstance(one, events.DeviceChanged)]
    for name in ("", "\nActionID: long-ago"):
        server.say(f"Event: DeviceStateChange{name}\nDevice: PJSIP/3\nState: INUSE")
    await seen.until(lambda: sum(isinstance(e, events.DeviceChanged) for e in seen.events) == 2)


async def test_a_list_that_is_too_long_ends(connect: Connect, server: FakeAmi):
    row = "Event: CoreShowChannel\nActionID: @ID\nChannel: A\nUniqueid: u"
    server.answers["CoreShowChannels"] = lambda _: "\n\n".join(
        ["Response: Success\nActionID: @ID\nEventList: start"] + [row] * 20
    )
    client = await connect(max_rows=10)
    with pytest.raises(AmiBusyError):
        await client.send_list(CoreShowChannels(), soon())


async def test_a_peer_that_falls_silent_is_noticed_and_left(
    connect: Connect, server: FakeAmi, seen: Seen
):
    client = await connect(ping_every_s=0.05, ping_limit_s=0.1)
    await server.until(lambda: server.count("Ping") >= 2)
    server.answers["Ping"] = lambda _: None
    await seen.until(lambda: LinkState.DOWN in seen.states)
    del server.answers["Ping"]
    await server.until(lambda: server.logins >= 2)
    await client.wait_ready(soon())


async def test_a_peer_that_talks_is_alive_even_when_a_ping_is_not_answered(
    connect: Connect, server: FakeAmi, seen: Seen
):
    await connect(ping_every_s=0.02, ping_limit_s=0.1)

    def talk(_: dict[str, str]) -> str:
        return "Event: Whatever\nX: y"

    server.answers["Ping"] = talk
    await server.until(lambda: server.count("Ping") >= 4)
    assert LinkState.DOWN not in seen.states


async def test_a_wrong_password_is_reported_and_not_hammered(
    connect: Connect, server: FakeAmi, seen: Seen, capsys: pytest.CaptureFixture[str]
):
    client = await connect(is_ready=False, secret="wrong", refused_pause_s=0.3)
    with pytest.raises(LoginRefusedError):
        await client.wait_ready(soon())
    assert seen.states == [LinkState.CONNECTING, LinkState.LOGIN_REFUSED]
    assert server.connects == 1
    await server.until(lambda: server.count("Login") == 2)
    await seen.until(lambda: seen.states.count(LinkState.LOGIN_REFUSED) == 2)
    printed = capsys.readouterr().out
    assert printed.count("ami_login_refused") == 1
    assert "wrong" not in printed


async def test_asterisk_shutting_down_is_no_wrong_password(
    connect: Connect, server: FakeAmi, seen: Seen
):
    stopping = "Response: Error\nActionID: @ID\nMessage: Asterisk is shutting down"
    server.answers["Login"] = lambda _: stopping
    client = await connect(is_ready=False)
    await server.until(lambda: server.count("Login") >= 2)
    del server.answers["Login"]
    await client.wait_ready(soon())
    assert LinkState.LOGIN_REFUSED not in seen.states


async def test_it_is_ready_only_when_asterisk_is_fully_booted(connect: Connect, server: FakeAmi):
    server.is_booted = False
    client = await connect(is_ready=False)
    await server.until(lambda: server.logins == 1)
    with pytest.raises(AmiDownError):
        await client.wait_ready(soon(0.05))
    server.say("Event: FullyBooted\nUptime: 1")
    await client.wait_ready(soon())


async def test_an_event_split_inside_a_character_is_read_whole(
    connect: Connect, server: FakeAmi, seen: Seen
):
    client = await connect()
    data = (about("AsyncAGIStart", CallerIDName="Müller") + "\n\n").replace("\n", "\r\n").encode()
    middle = data.index("ü".encode()) + 1
    server.say(data[:middle])
    connection = client._connection
    assert connection is not None
    while connection.protocol._unread != data[:middle]:
        await asyncio.sleep(0)
    server.say(data[middle:])
    await seen.until(lambda: bool(seen.of(events.AgiStarted)))
    assert seen.of(events.AgiStarted)[0].caller_id_name == "Müller"


async def test_an_event_in_single_bytes_is_read_whole(
    connect: Connect, server: FakeAmi, seen: Seen
):
    client = await connect()
    connection = client._connection
    assert connection is not None
    for byte in (
        (about("AsyncAGIStart", CallerIDName="Jürgen 😀") + "\n\n").replace("\n", "\r\n").encode()
    ):
        connection.protocol.data_received(bytes([byte]))
    assert seen.of(events.AgiStarted)[0].caller_id_name == "Jürgen 😀"


async def test_a_message_without_an_end_is_not_kept(connect: Connect, server: FakeAmi):
    await connect(max_message_bytes=10_000)
    server.say(b"Event: Hangup\r\n" + b"x" * 20_000)
    await server.until(lambda: server.logins == 2)


async def test_a_closed_connection_stays_closed(server: FakeAmi, seen: Seen, connect: Connect):
    client = await connect(first_pause_s=0.05)
    server.cut()
    await seen.until(lambda: seen.states[-1] is LinkState.DOWN)
    await client.close()
    await seen.until(lambda: seen.states[-1] is LinkState.CLOSED)
    assert server.connects == 1
    with pytest.raises(AmiDownError):
        await client.wait_ready(soon())


async def test_a_connection_closed_while_it_connects_ends(server: FakeAmi, connect: Connect):
    server.answers["Login"] = lambda _: None
    client = await connect(is_ready=False)
    await server.until(lambda: server.count("Login") == 1)
    await client.close()
    with pytest.raises(AmiDownError):
        await client.wait_ready(soon())


async def test_a_server_that_is_not_there_yet_is_connected_to_later(
    server: FakeAmi, connect: Connect
):
    port = server.port
    await server.stop()
    client = await connect(is_ready=False)
    with pytest.raises(AmiDownError):
        await client.wait_ready(soon(0.1))
    await server.start(port)
    await client.wait_ready(soon())
    assert server.connects == 1


async def test_a_repeated_header_and_unknown_events_do_no_harm(
    connect: Connect, server: FakeAmi, seen: Seen
):
    client = await connect()
    server.say(
        "Event: VarSet\nChannel: A\nChannel: B",
        about("Hangup") + "\nChanVariable: a=1\nChanVariable: b=2",
    )
    await client.send(Ping(), soon())
    assert len(seen.of(events.HungUp)) == 1


async def test_the_end_of_an_originate_is_an_event_with_its_action_id(
    connect: Connect, server: FakeAmi, seen: Seen
):
    client = await connect()
    answer = await client.ask(Originate(channel="PJSIP/6001", channel_id=new_channel_id()), soon())
    server.say(
        "Event: OriginateResponse\nResponse: Failure\nReason: 3\nUniqueid: <unknown>"
        f"\nActionID: {answer['actionid']}"
    )
    await seen.until(lambda: bool(seen.of(events.OriginateEnded)))
    ended = seen.of(events.OriginateEnded)[0]
    assert isinstance(ended, events.OriginateEnded)
    assert (ended.action_id, ended.reason, ended.is_answered) == (answer["actionid"], 3, False)


async def test_a_bridge_takes_only_channel_names(connect: Connect):
    client = await connect()
    with pytest.raises(UnsafeValueError):
        await client.send(Bridge(channel1=ChannelName("a,b"), channel2=CHANNEL), soon())


async def test_the_secret_is_not_in_the_text_of_the_settings(connect: Connect):
    client = await connect()
    assert "right" not in repr(client.settings)
    assert "right" not in str(client.settings)


async def test_a_peer_that_takes_nothing_more_is_not_written_to_for_ever(connect: Connect):
    client = await connect(max_unsent_bytes=100_000)
    connection = client._connection
    assert connection is not None
    connection.protocol.transport.get_write_buffer_size = lambda: 100_001
    with pytest.raises(AmiBusyError):
        await client.send(Ping(), soon())


async def test_actions_of_one_moment_go_out_in_one_write_in_their_order(
    connect: Connect, server: FakeAmi, monkeypatch: pytest.MonkeyPatch
):
    client = await connect()
    assert client._connection is not None
    protocol = client._connection.protocol
    transport = Mock(wraps=protocol.transport)
    monkeypatch.setattr(protocol, "transport", transport)
    setting = [Setvar(variable=f"V{number}", value="x") for number in range(3)]
    await asyncio.gather(*(client.send(one, soon()) for one in setting))
    assert transport.write.call_count == 1
    assert [one["variable"] for one in server.seen[-3:]] == ["V0", "V1", "V2"]
    await client.send(Ping(), soon())
    assert transport.write.call_count == 2


async def test_what_was_not_sent_when_the_connection_broke_has_an_unknown_outcome(
    connect: Connect, server: FakeAmi
):
    client = await connect()
    asked = asyncio.create_task(client.send(Setvar(variable="V", value="x"), soon()))
    await asyncio.sleep(0)  # put, and not written yet
    assert client._connection is not None
    client._connection.close()
    with pytest.raises(OutcomeUnknownError):
        await asked
    assert server.count("Setvar") == 0
