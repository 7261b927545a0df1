"""Sounds made from text, kept in one bounded folder: made once, by one, however many ask.

File names are hashes of voice and text. A sound appears whole (written beside, then renamed); what was
not played for longest goes first. A text that could not be spoken is not tried again for a while, so
that a dead voice costs one caller a pause and not every caller.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from pbx.speech_makers import Maker, NotSpokenError, to_telephone

V = TypeVar("V")
MOST_FAILURES_KNOWN: Final = 1000
MOST_SEEN: Final = 1000
TRUSTED_S: Final = 2.0
"""A sound that was there so recently is not looked for again: looking wakes two threads."""
STALE_PART_S: Final = 3600


class SpeechCache:
    """Sounds of one maker. `close` ends what is being made."""

    def __init__(
        self,
        folder: Path,
        maker: Maker,
        *,
        most_bytes: int,
        limit_s: float,
        at_once: int,
        most_waiting: int,
        retry_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._maker = maker
        self._most_bytes = most_bytes
        self._limit_s = limit_s
        self._most_waiting = most_waiting
        self._retry_s = retry_s
        self._now_s = now_s
        self._turns = asyncio.Semaphore(at_once)
        self._making: dict[str, asyncio.Task[Path]] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._seen_at: dict[str, float] = {}
        self.made = 0
        """How many were made: each may have made room for itself."""

    async def get(self, text: str, voice: str) -> Path:
        """The sound's file, made now if need be. Raises NotSpokenError."""
        key = _key(self._maker.name, voice, text)
        path = self._folder / f"{key}.wav"
        if self._seen_at.get(key, float("-inf")) > self._now_s() - TRUSTED_S:
            return path
        if await asyncio.to_thread(_is_there, path):
            _put_last(self._seen_at, key, self._now_s(), MOST_SEEN)
            return path
        failed_at, code = self._failed.get(key, (float("-inf"), ""))
        if self._now_s() < failed_at + self._retry_s:
            raise NotSpokenError(code)
        task = self._making.get(key)
        if task is None:
            if len(self._making) >= self._most_waiting:
                raise NotSpokenError("busy")
            task = self._making[key] = asyncio.create_task(self._make(key, path, text, voice))
            task.add_done_callback(lambda done: self._made(key, done))
        # Whoever asked may hang up: the others, and the next one, still want the sound.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End what is being made."""
        making = list(self._making.values())
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    def _made(self, key: str, done: asyncio.Task[Path]) -> None:
        self._making.pop(key, None)
        if not done.cancelled():
            done.exception()  # nobody may be waiting any more, and that is fine

    async def _make(self, key: str, path: Path, text: str, voice: str) -> Path:
        has_turn = False
        try:
            async with asyncio.timeout(self._limit_s), self._turns:
                has_turn = True
                sound = await to_telephone(await self._maker.make(text, voice))
            await asyncio.to_thread(self._keep, path, sound)
            self._seen_at.clear()  # others may have made room for it
            self.made += 1
        except (TimeoutError, OSError, NotSpokenError) as error:
            code = error.code if isinstance(error, NotSpokenError) else _code(error)
            if has_turn:  # otherwise the text may be fine
                self._note_failure(key, code)
            raise NotSpokenError(code) from error
        self._failed.pop(key, None)
        return path

    def _note_failure(self, key: str, code: str) -> None:
        _put_last(self._failed, key, (self._now_s(), code), MOST_FAILURES_KNOWN)

    def _keep(self, path: Path, sound: bytes) -> None:
        """Write the sound beside its place and rename it, then make room. Blocks."""
        if len(sound) > self._most_bytes:
            raise NotSpokenError("too_large")
        self._folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.part")
        try:
            part.write_bytes(sound)
            part.chmod(0o644)  # Asterisk is another user
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._make_room(spared=path)

    def _make_room(self, spared: Path) -> None:
        found: list[tuple[float, int, Path]] = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another process makes room as well
                status = entry.stat()
                if entry.name.endswith(".wav"):
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
                elif entry.name.endswith(".part") and status.st_mtime < time.time() - STALE_PART_S:
                    Path(entry.path).unlink(missing_ok=True)
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._most_bytes:
                return
            if path != spared:
                path.unlink(missing_ok=True)
                total -= size


def _put_last(known: dict[str, V], key: str, value: V, most: int) -> None:
    """Know a thing as the newest; of too many the oldest is forgotten."""
    known.pop(key, None)
    known[key] = value
    while len(known) > most:
        del known[next(iter(known))]


def _is_there(path: Path) -> bool:
    """Whether the sound is there; notes that it was wanted."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:  # not ours, or a read-only folder: it is there all the same
        return path.is_file()
    return True


def _key(maker: str, voice: str, text: str) -> str:
    joined = f"{maker}\0{voice}\0{text}".encode()
    return hashlib.sha256(joined).hexdigest()


def _code(error: BaseException) -> str:
    return "too_long" if isinstance(error, TimeoutError) else "not_written"
