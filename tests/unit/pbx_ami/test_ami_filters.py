"""The filters of `deploy/asterisk/etc/manager.conf` let through what is read, and nothing else."""

import re
from pathlib import Path

import pytest

from pbx.ami import events
from pbx.ami.actions import UNHEARD
from pbx.phones import phone_state

CONF = Path(__file__).parents[3] / "deploy/asterisk/etc/manager.conf"
FILTERS = re.findall(r"^eventfilter = (.*)$", CONF.read_text(), re.MULTILINE)
READ = {
    "AsyncAGIStart",
    "AsyncAGIExec",
    "AsyncAGIEnd",
    "BridgeEnter",
    "BridgeLeave",
    "DTMFEnd",
    "DeviceStateChange",
    "FullyBooted",
    "Hangup",
    "Newchannel",
    "OriginateResponse",
    "Shutdown",
    "SoftHangupRequest",
}


def is_sent(name: str, *headers: str) -> bool:
    """As Asterisk decides: some pattern must match, none that begins with `!` may."""
    text = "\r\n".join([f"Event: {name}", "Privilege: call,all", *headers, "", ""])

    def matches(pattern: str) -> bool:
        posix = pattern.replace("[[:cntrl:]]", "[\\x00-\\x1f]")
        return re.search(posix, text, re.DOTALL) is not None

    wanted = [one for one in FILTERS if not one.startswith("!")]
    unwanted = [one[1:] for one in FILTERS if one.startswith("!")]
    return any(map(matches, wanted)) and not any(map(matches, unwanted))


def test_every_event_that_is_read_is_sent():
    assert {name.lower() for name in READ} == events.READ
    headers = ("Cause: 1", "Device: PJSIP/6001", "State: INUSE")
    assert all(is_sent(name, *headers) for name in READ)


@pytest.mark.parametrize(
    "name",
    [
        "AGIExecStart",
        "DTMFBegin",
        "HangupRequest",
        "NewConnectedLine",
        "Newexten",
        "Newstate",
        "VarSet",
    ],
)
def test_what_nobody_reads_is_not_sent(name: str):
    assert not is_sent(name)


def test_of_keys_only_those_of_the_phone_are_sent():
    assert is_sent("DTMFEnd", "Digit: 1", "Direction: Received")
    assert not is_sent("DTMFEnd", "Digit: 1", "Direction: Sent")


def test_of_requests_to_hang_up_only_asterisks_own_are_sent():
    assert is_sent("SoftHangupRequest", "Cause: 1", "ConnectedLineName: x")
    assert not is_sent("SoftHangupRequest", "Cause: 16")


def test_of_phones_that_were_rung_only_those_that_failed_are_sent():
    assert is_sent("OriginateResponse", "Response: Failure")
    assert is_sent("OriginateResponse", "Response: Failure", "CallerIDName: Response: Success")
    assert not is_sent("OriginateResponse", "Response: Success")


@pytest.mark.parametrize("state", ["NOT_INUSE", "INUSE", "BUSY", "ONHOLD", "UNAVAILABLE"])
def test_where_a_phone_stands_is_sent(state: str):
    assert is_sent("DeviceStateChange", "Device: PJSIP/6001", f"State: {state}")
    assert phone_state(state) is not None


@pytest.mark.parametrize(
    ("device", "state"),
    [
        ("PJSIP/6001", "RINGING"),
        ("PJSIP/6001", "UNKNOWN"),
        ("PJSIP/trunk", "INUSE"),
        ("Local/1@x", "INUSE"),
        ("confbridge:1", "INUSE"),
    ],
)
def test_what_says_nothing_of_a_phone_is_not_sent(device: str, state: str):
    assert not is_sent("DeviceStateChange", f"Device: {device}", f"State: {state}")


def test_results_that_nobody_wants_are_not_sent():
    assert is_sent("AsyncAGIExec", "CommandId: 1f", "Result: 200")
    assert is_sent("AsyncAGIExec", "CallerIDName: CommandId: unheard", "CommandId: 1f")
    assert not is_sent("AsyncAGIExec", f"CommandId: {UNHEARD}", "Result: 200")
