"""What may stand in a value for Asterisk: the one place that knows its quoting.

The manager interface is lines: a line break inside a value would start another action. Behind it, dialplan
applications split their arguments at commas and know options, commands and paths. So values are refused or
quoted by kind; nothing is silently removed.
"""

import re
from collections.abc import Sequence
from typing import NewType

from pbx.errors import UnsafeValueError

ChannelName = NewType("ChannelName", str)  # "PJSIP/trunk-00000001"; restarts at 0 with Asterisk
UniqueId = NewType("UniqueId", str)  # "pbx1-1795188652.1", or the id that was asked for
CommandId = NewType("CommandId", str)

# Asterisk refuses lines of 1024 bytes, and cuts the request at 128 headers.
MAX_LINE_BYTES = 1000
MAX_HEADERS = 120
_MOST_BYTES = 4  # of one character

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_FUNCTION = re.compile(r"[A-Z][A-Z0-9_]{0,39}\([A-Za-z0-9_:/-]{0,79}\)")
_SIP_HEADER = re.compile(r"X-[A-Za-z0-9-]{1,60}")
_PATH = re.compile(r"[A-Za-z0-9._/-]{1,400}")
_FOLDER = re.compile(r"[A-Za-z0-9._/-]{1,250}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_CHANNEL = re.compile(r"[A-Za-z0-9_.:@/;+*#=~-]{1,200}")
_DIGITS = re.compile(r"[0-9A-D*#]{0,32}")


def line(key: str, value: str) -> str:
    """A header line as text. Raises UnsafeValueError for control characters and for what is too long."""
    text = f"{key}: {value}"
    if _CONTROL.search(text):
        raise UnsafeValueError(f"control characters in {key!r}" if key.isalnum() else None)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UnsafeValueError(f"{key!r} is not valid text") from None
    if size > MAX_LINE_BYTES:
        raise UnsafeValueError(f"{key!r} has {size} bytes; {MAX_LINE_BYTES} are possible")
    return text


def lines(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Header lines. Raises as `line`; what is plainly harmless is looked at in one go."""
    made = [f"{key}: {value}" for key, value in pairs]
    is_short = max(map(len, made)) * _MOST_BYTES <= MAX_LINE_BYTES
    if is_short and "".join(made).isprintable():  # no control characters, no line ends
        return made
    return [line(key, value) for key, value in pairs]


def quoted(value: str) -> str:
    """The value as one argument of an AGI command or one variable: commas, blanks and quotes lose their meaning."""
    if _CONTROL.search(value):
        raise UnsafeValueError("control characters in a quoted value")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def assignment(name: str, value: str) -> str:
    """`NAME="value"` for a Variable header; NAME is a plain variable name."""
    return f"{_checked(_NAME, name, 'variable name')}={quoted(value)}"


def sip_header(name: str, value: str) -> str:
    """The assignment that adds a header to the outgoing INVITE; only X- headers."""
    return f"PJSIP_HEADER(add,{_checked(_SIP_HEADER, name, 'SIP header')})={quoted(value)}"


def variable(name: str) -> str:
    """A plain variable name, or a function of one plain argument such as `CHANNEL(language)`."""
    if _FUNCTION.fullmatch(name):
        return name
    return _checked(_NAME, name, "variable name")


def channel(name: str) -> str:
    """The name or unique id of a channel, or a dial string: no blanks, commas, `&`, quotes or brackets."""
    return _checked(_CHANNEL, name, "channel")


def shown_number(number: str | None) -> str:
    """What a phone may show of who calls; empty for what may not stand there: better no number than no call."""
    return number if number and _CHANNEL.fullmatch(number) else ""


def sound(name: str) -> str:
    """A sound without extension, absolute or relative to Asterisk's sounds; no `..` and nothing to split at."""
    if ".." in name:
        raise UnsafeValueError("a sound leaves its folder")
    return _checked(_PATH, name, "sound")


def is_folder(name: str) -> bool:
    """Whether Asterisk can be told of files in it: letters, digits and `._-/`, with room for their names."""
    return _FOLDER.fullmatch(name) is not None and ".." not in name


def file_name(name: str) -> str:
    """A plain file name: no folder, no hidden file."""
    return _checked(_FILE, name, "file name")


def digits(text: str) -> str:
    """Keys of a telephone."""
    return _checked(_DIGITS, text, "digits")


def word(text: str) -> str:
    """A name of the configuration: a music class, a context, an extension."""
    return _checked(_FILE, text, "word")


def _checked(pattern: re.Pattern[str], text: str, kind: str) -> str:
    if not pattern.fullmatch(text):
        raise UnsafeValueError(f"not a {kind}")
    return text
