"""What a caller, an agent or an API client could put into a value cannot become anything but that value."""

import contextlib
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.ami import agi, values
from pbx.ami.actions import (
    Agi,
    Originate,
    Redirect,
    Status,
    new_channel_id,
    new_command_id,
    redirect_both,
)
from pbx.ami.values import ChannelName
from pbx.errors import AgiRefusedError, UnsafeValueError

EVIL = [
    "rec,b,touch /x",
    "../../etc/passwd",
    "a&b",
    "a b",
    "a\r\nb",
    "a|b",
    "${X}",
    "a(b)",
    '"',
    "",
    "a\\",
]


@pytest.mark.parametrize("evil", EVIL)
def test_a_recording_name_is_only_a_name(evil: str):
    with pytest.raises(UnsafeValueError):
        agi.mix_monitor(PurePosixPath("/rec"), evil)


@pytest.mark.parametrize("evil", [*EVIL, ".."])
def test_a_sound_is_only_a_path(evil: str):
    with pytest.raises(UnsafeValueError):
        agi.stream_file(evil)


@pytest.mark.parametrize("evil", [one for one in EVIL if ".." not in one])  # a name is no path
def test_a_channel_in_a_bridge_command_is_only_a_channel(evil: str):
    with pytest.raises(UnsafeValueError):
        agi.bridge(ChannelName(evil))
    with pytest.raises(UnsafeValueError):
        agi.spy(ChannelName(evil))


@pytest.mark.parametrize("evil", EVIL)
def test_a_variable_name_is_only_a_name(evil: str):
    with pytest.raises(UnsafeValueError):
        agi.set_variable(evil, "x")
    with pytest.raises(UnsafeValueError):
        Status(variables=(evil,)).headers()


@pytest.mark.parametrize("evil", ["From", "X-A,B", "X-A\r\nY", "X-A)=", "Call-ID"])
def test_only_x_headers_are_added_to_an_invite(evil: str):
    with pytest.raises(UnsafeValueError):
        originate(sip_headers={evil: "1"}).headers()


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_quoted_value_ends_where_it_should(text: str):
    try:
        quoted = values.quoted(text)
    except UnsafeValueError:
        assert any(not char.isprintable() for char in text)
        return
    read, rest = unquoted(quoted)
    assert (read, rest) == (text, "")


@given(st.text(max_size=1100))
@settings(max_examples=200, deadline=None)
def test_a_line_is_one_line_and_short(text: str):
    try:
        made = values.line("Value", text)
    except UnsafeValueError:
        return
    assert len(made.splitlines()) == 1
    assert len(made.encode()) <= values.MAX_LINE_BYTES


def unquoted(text: str) -> tuple[str, str]:
    """Read one quoted argument as Asterisk does; what is left over."""
    assert text[0] == '"'
    read, position = "", 1
    while text[position] != '"':
        position += text[position] == "\\"
        read += text[position]
        position += 1
    return read, text[position + 1 :]


def originate(**changes: object) -> Originate:
    return Originate(channel="PJSIP/6001", channel_id=new_channel_id(), **changes)  # type: ignore[arg-type]


def test_an_originate_is_asynchronous_and_quotes_what_it_passes_on():
    headers = originate(
        caller_name='O"Neil, Süß',
        caller_number="+4930111",
        variables={"A": "1,B=2"},
        sip_headers={"X-T": "a,b"},
    ).headers()
    assert headers["Async"] == "true"
    assert headers["CallerID"] == '"O\\"Neil, Süß" <+4930111>'
    assert headers["Variable"] == ['A="1,B=2"', 'PJSIP_HEADER(add,X-T)="a,b"']


@pytest.mark.parametrize("timeout_ms", [0, 999, 300_001])
def test_an_originate_rings_within_limits(timeout_ms: int):
    with pytest.raises(UnsafeValueError):
        originate(timeout_ms=timeout_ms).headers()


def test_channel_ids_have_one_length_and_never_repeat():
    made = {new_channel_id() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(one) for one in made} == {36}


def test_field_names_are_header_names():
    assert redirect_both(ChannelName("A"), ChannelName("B")).headers() == {
        "Action": "Redirect",
        "Channel": "A",
        "Context": "crosspoint",
        "Exten": "agi",
        "Priority": "1",
        "ExtraChannel": "B",
        "ExtraContext": "crosspoint",
        "ExtraExten": "agi",
        "ExtraPriority": "1",
    }
    assert "ExtraChannel" not in Redirect(channel=ChannelName("A")).headers()
    action = Agi(channel=ChannelName("A"), command="NOOP", command_id=new_command_id())
    assert set(action.headers()) == {"Action", "Channel", "Command", "CommandID"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200 result=0", agi.AgiResult(result="0")),
        ("200 result=53 endpos=16640", agi.AgiResult(result="53", end_sample=16640)),
        ("200 result=1 (a (b) c)\n", agi.AgiResult(result="1", data="a (b) c")),
        ("200 result=0012", agi.AgiResult(result="0012")),
        ("200 result= (timeout)", agi.AgiResult(result="", data="timeout")),
        ("200 result=3 (timeout)", agi.AgiResult(result="3", data="timeout")),
        ("200 result=-1", agi.AgiResult(result="-1")),
    ],
)
def test_results_are_read(text: str, expected: agi.AgiResult):
    assert agi.parse_result(text) == expected


def test_a_result_knows_what_it_means():
    assert agi.parse_result("200 result=53 endpos=1").key == "5"
    assert agi.parse_result("200 result=0 endpos=1").key is None
    assert agi.parse_result("200 result=-1").has_failed
    assert agi.parse_result("200 result=-1").digits == ""
    assert agi.parse_result("200 result=*12 (timeout)").digits == "*12"
    assert agi.parse_result("200 result=3 (timeout)").is_timeout
    assert agi.parse_result("200 result=123").number == 123


@pytest.mark.parametrize(
    "text", ["510 Invalid or unknown command", "520-Usage\n520 End", "511 dead", "", "x"]
)
def test_a_refusal_raises(text: str):
    with pytest.raises(AgiRefusedError):
        agi.parse_result(text)


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_answer_is_read_or_refused(text: str):
    with contextlib.suppress(AgiRefusedError):
        agi.parse_result(text)


def test_async_agi_is_woken_before_the_answer_only():
    assert all(one.wakes for one in (agi.set_variable("V", "1"), agi.ringing(), agi.progress()))
    collecting = agi.get_data("a", first_digit_ms=1, max_digits=1)
    later = (agi.answer(), agi.stream_file("a"), agi.music(on=True), collecting)
    assert not any(one.wakes for one in later)


def test_a_recording_of_both_sides_is_one_argument():
    command = agi.mix_monitor(PurePosixPath("/rec"), "x", per_side=True)
    assert command.text == (
        'EXEC MixMonitor "/rec/x.wav,i(CROSSPOINT_MIX)r(/rec/x-in.wav)t(/rec/x-out.wav)"'
    )
