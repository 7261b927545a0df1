"""Prompts to sound files that exist: recorded ones first, then spoken and kept.

A fixed prompt is `<sounds_dir>/<language>/<name>`, a number is put together from Asterisk's own English
sounds, everything else is text that the voice speaks once. What cannot be had is left out and
reported: a caller misses a sentence, never the call.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import aiohttp
import msgspec
import structlog
from msgspec import Meta

from ivr.prompts import Fixed, Number, Prompt, Sound, Speech, Spelled
from pbx import numbers_spoken
from pbx.ports import SpokenPrompt
from pbx.speech_cache import MOST_SEEN, TRUSTED_S, SpeechCache
from pbx.speech_makers import CommandMaker, Maker, NotSpokenError, UrlMaker
from pbx.speech_texts import KEY_NAMES, TEXTS

log = structlog.get_logger(__name__)

FALLBACK_LANGUAGE: Final = "en"
ENDINGS: Final = (".wav", ".gsm", ".ulaw", ".alaw", ".sln")
"""What the modules in deploy/asterisk can play; every variant has the same name."""
LONGEST_SPELLED: Final = 40
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8}){0,2}")
_UNSPEAKABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class SpeechSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How prompts are spoken.

    `sounds_dir` holds recorded prompts, `core_sounds_dir` Asterisk's own (`/usr/share/asterisk/sounds`).
    `command` (a list of arguments) or `url` makes a sound of a text, see `pbx/speech_makers.py`; with
    neither only recorded prompts are heard. `voices` says which voice a language has, otherwise the
    language's code is the voice. Both folders and `cache_dir` are read by Asterisk.
    """

    cache_dir: Path
    sounds_dir: Path | None = None
    core_sounds_dir: Path | None = None
    command: Annotated[tuple[str, ...], Meta(max_length=50)] = ()
    url: Annotated[str, Meta(min_length=8, max_length=2048)] | None = None
    voices: dict[str, str] = {}
    limit_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    cache_bytes: Annotated[int, Meta(ge=100_000)] = 256 * 1024 * 1024
    at_once: Annotated[int, Meta(ge=1, le=64)] = 2
    most_waiting: Annotated[int, Meta(ge=1, le=10_000)] = 200
    retry_s: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    longest_text: Annotated[int, Meta(ge=1, le=10_000)] = 2000


class SpokenSounds:
    """The port `pbx.ports.Speech`. `close` it at the end."""

    def __init__(
        self,
        settings: SpeechSettings,
        *,
        session: aiohttp.ClientSession | None = None,
        maker: Maker | None = None,
    ) -> None:
        """`session` is needed for a URL; a `maker` given stands for what the settings say."""
        self._settings = settings
        self._sounds = _absolute(settings.sounds_dir)
        self._core_sounds = _absolute(settings.core_sounds_dir)
        maker = maker or _maker(settings, session)
        self._cache = None if maker is None else _cache(settings, maker)
        self._lately: dict[tuple[Prompt, str], Sequence[str]] = {}
        self._lately_from = (float("-inf"), 0)

    async def speak(self, prompts: tuple[Prompt, ...], language: str) -> SpokenPrompt:
        """Absolute paths without extension, in order; a prompt that cannot be had is left out."""
        lately = self._what_was_there_lately()
        known = [lately.get((prompt, language)) for prompt in prompts]
        if None in known:
            said = await asyncio.gather(*(self._said(prompt, language) for prompt in prompts))
        else:
            said = [sounds for sounds in known if sounds is not None]
        return SpokenPrompt(tuple(sound for sounds in said for sound in sounds))

    def _what_was_there_lately(self) -> dict[tuple[Prompt, str], Sequence[str]]:
        """Nearly all callers hear the same: it is put together, and looked for, once in a while."""
        now_s, made = time.monotonic(), 0 if self._cache is None else self._cache.made
        since_s, made_then = self._lately_from
        if made != made_then or now_s >= since_s + TRUSTED_S:
            self._lately.clear()
            self._lately_from = (now_s, made)
        return self._lately

    async def close(self) -> None:
        if self._cache is not None:
            await self._cache.close()

    async def _said(self, prompt: Prompt, wanted: str) -> Sequence[str]:
        sounds = await self._found(prompt, _language(wanted, FALLBACK_LANGUAGE))
        is_kept = not isinstance(prompt, Spelled)  # no number is ever kept as a whole
        if sounds and is_kept and len(self._lately) < MOST_SEEN:
            self._lately[prompt, wanted] = sounds
        return sounds

    async def _found(self, prompt: Prompt, language: str) -> Sequence[str]:
        try:
            match prompt:
                case Fixed(sound=sound):
                    return (await self._fixed(sound, language),)
                case Number(value=value):
                    return await self._number(value, language)
                case Spelled(digits=digits):
                    return await self._spelled(digits, language)
                case Speech(text=text, locale=locale):
                    return (await self._text(text, _language(locale or language, language)),)
        except NotSpokenError as error:
            name = str(prompt.sound) if isinstance(prompt, Fixed) else type(prompt).__name__.lower()
            log.warning("prompt_left_out", prompt=name, language=language, code=error.code)
            return ()

    async def _fixed(self, sound: Sound, language: str) -> str:
        failure = NotSpokenError("no_voice")
        for spoken in dict.fromkeys((language, _base(language), FALLBACK_LANGUAGE)):
            recorded = await self._recorded(self._sounds, (f"{spoken}/{sound}",))
            if recorded:
                return recorded[0]
            text = TEXTS.get(spoken, {}).get(sound)
            if text is None:
                continue
            try:
                return await self._text(text, spoken)
            except NotSpokenError as error:
                failure = error
        raise failure

    async def _number(self, value: int, language: str) -> Sequence[str]:
        names = numbers_spoken.quantity(value)
        if names is not None and _base(language) == FALLBACK_LANGUAGE:
            recorded = await self._core(names)
            if recorded:
                return recorded
        return (await self._text(str(value), language),)

    async def _spelled(self, digits: str, language: str) -> Sequence[str]:
        """One sound per key, so that no number is ever kept as a whole."""
        keys = [key for key in digits[:LONGEST_SPELLED] if not key.isspace()]
        names = [numbers_spoken.key(key) for key in keys]
        if _base(language) == FALLBACK_LANGUAGE and None not in names:
            recorded = await self._core([name for name in names if name is not None])
            if recorded:
                return recorded
        spoken = KEY_NAMES.get(_base(language), {})
        texts = [spoken.get(key, key) for key in keys if key.isalnum() or key in spoken]
        return await asyncio.gather(*(self._text(text, language) for text in texts))

    async def _core(self, names: Sequence[str]) -> Sequence[str]:
        paths = [f"{FALLBACK_LANGUAGE}/digits/{name}" for name in names]
        return await self._recorded(self._core_sounds, paths)

    async def _recorded(self, folder: Path | None, names: Sequence[str]) -> Sequence[str]:
        """All of them, or none."""
        if folder is None:
            return ()
        paths = [folder / name for name in names]
        there = await asyncio.to_thread(lambda: all(map(_has_sound, paths)))
        return tuple(str(path) for path in paths) if there else ()

    async def _text(self, text: str, language: str) -> str:
        if self._cache is None:
            raise NotSpokenError("no_voice")
        speakable = _UNSPEAKABLE.sub(" ", text).strip()
        if not speakable:
            raise NotSpokenError("empty")
        if len(speakable) > self._settings.longest_text:
            raise NotSpokenError("too_long")
        voices = self._settings.voices
        voice = voices.get(language) or voices.get(_base(language)) or _base(language)
        path = await self._cache.get(speakable, voice)
        return str(path.with_suffix(""))


def _maker(settings: SpeechSettings, session: aiohttp.ClientSession | None) -> Maker | None:
    if settings.command:
        return CommandMaker(settings.command)
    if settings.url is not None and session is not None:
        return UrlMaker(settings.url, session)
    return None


def _cache(settings: SpeechSettings, maker: Maker) -> SpeechCache:
    return SpeechCache(
        settings.cache_dir.absolute(),
        maker,
        most_bytes=settings.cache_bytes,
        limit_s=settings.limit_s,
        at_once=settings.at_once,
        most_waiting=settings.most_waiting,
        retry_s=settings.retry_s,
    )


def _absolute(folder: Path | None) -> Path | None:
    return None if folder is None else folder.absolute()


def _has_sound(path: Path) -> bool:
    return any(path.with_name(path.name + ending).is_file() for ending in ENDINGS)


def _language(tag: str, otherwise: str) -> str:
    """A language tag that can be part of a path and of a command, or the other one."""
    return tag.replace("_", "-") if _LANGUAGE.fullmatch(tag) else otherwise


def _base(language: str) -> str:
    return language.partition("-")[0].lower()
