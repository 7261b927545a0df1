"""Text to a WAV file: a program, or a service behind a URL. Text never becomes part of a log or a URL."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from pbx.wav8k import is_playable

LARGEST_SOUND: Final = 20 * 1024 * 1024
"""Bytes: three minutes of 48 kHz mono."""
_CHUNK: Final = 65_536


class NotSpokenError(Exception):
    """No sound was made. `code`: failed, too_long, too_large, refused, unreachable, not_speech."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Maker(Protocol):
    """Speaks a text. Raises NotSpokenError, or TimeoutError when its caller's patience ends."""

    name: str
    """What tells this voice from another: part of the cache's key."""

    async def make(self, text: str, voice: str) -> bytes: ...


class CommandMaker:
    """A program, given as a list of arguments; no shell.

    `{voice}` in an argument is replaced by the voice, `{out}` by a file to write (without it the
    sound is read from standard output), `{text}` by the text (without it the text goes to standard
    input, where no other user of the machine can see it).
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.name = "\0".join(command)
        self._command = tuple(command)

    async def make(self, text: str, voice: str) -> bytes:
        writes_file = any("{out}" in part for part in self._command)
        with tempfile.TemporaryDirectory(prefix="speech-") if writes_file else _nowhere() as folder:
            out = Path(folder) / "out.wav"
            values = {"{text}": text, "{voice}": voice, "{out}": str(out)}
            arguments = [_filled(part, values) for part in self._command]
            reads = not any("{text}" in part for part in self._command)
            printed = await run(arguments, text.encode() if reads else b"")
            return await asyncio.to_thread(_read, out) if writes_file else printed


class UrlMaker:
    """A service: POST of `{"text", "voice"}` as JSON, answered by a WAV file."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.name = url
        self._url = url
        self._session = session

    async def make(self, text: str, voice: str) -> bytes:
        try:
            body = {"text": text, "voice": voice}
            async with self._session.post(self._url, json=body, allow_redirects=False) as reply:
                if reply.status != 200:
                    raise NotSpokenError("refused")
                sound = bytearray()
                async for chunk in reply.content.iter_chunked(_CHUNK):
                    sound += chunk
                    if len(sound) > LARGEST_SOUND:
                        raise NotSpokenError("too_large")
                return bytes(sound)
        except (aiohttp.ClientError, OSError) as error:
            raise NotSpokenError("unreachable") from error


async def to_telephone(sound: bytes) -> bytes:
    """The sound as Asterisk plays it, converted where it must be, by a process of its own.

    A thread would take turns with the event loop and cost every call's reaction.
    """
    if await asyncio.to_thread(is_playable, sound):
        return sound
    try:
        return await run([sys.executable, "-m", "pbx.wav8k"], sound)
    except NotSpokenError as error:
        raise NotSpokenError("not_speech") from error


async def run(arguments: Sequence[str], given: bytes) -> bytes:
    """What a program prints. It is killed, with its children, when this ends in any other way."""
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise NotSpokenError("failed") from error
    try:
        _, printed = await asyncio.gather(_give(process, given), _take(process))
        if await process.wait() != 0:
            raise NotSpokenError("failed")
        return printed
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _give(process: asyncio.subprocess.Process, given: bytes) -> None:
    stdin = process.stdin
    # A program that does not read to the end says by its exit code whether that matters. Where it has
    # gone already, uvloop refuses to write with an error of its own.
    if stdin is None or stdin.is_closing():
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(given)
        await stdin.drain()
    stdin.close()


async def _take(process: asyncio.subprocess.Process) -> bytes:
    stdout = process.stdout
    sound = bytearray()
    while stdout is not None and (chunk := await stdout.read(_CHUNK)):
        sound += chunk
        if len(sound) > LARGEST_SOUND:
            raise NotSpokenError("too_large")
    return bytes(sound)


def _filled(part: str, values: dict[str, str]) -> str:
    """One pass: what a value holds is never replaced again."""
    for name, value in values.items():
        before, found, after = part.partition(name)
        if found:
            return _filled(before, values) + value + _filled(after, values)
    return part


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            sound = file.read(LARGEST_SOUND + 1)
    except OSError as error:
        raise NotSpokenError("failed") from error
    if len(sound) > LARGEST_SOUND:
        raise NotSpokenError("too_large")
    return sound


def _nowhere() -> contextlib.AbstractContextManager[str]:
    return contextlib.nullcontext("")
