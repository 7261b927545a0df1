"""Prompts become files that exist: recorded, put together, or spoken once and kept."""

# ruff: noqa: ASYNC240 - looking at a file in a test holds nobody up

import asyncio
import os
import sys
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import structlog
import uvloop
from aiohttp import web

from deploy.asterisk.instance import TREE, write_tone
from ivr.prompts import Fixed, Number, Prompt, Sound, Speech, Spelled
from pbx import speech_cache
from pbx.speech import SpeechSettings, SpokenSounds
from pbx.speech_cache import SpeechCache
from pbx.speech_makers import LARGEST_SOUND, NotSpokenError, run
from pbx.speech_texts import TEXTS
from tests.unit.pbx_speech.test_wav8k import tone

PIECE = tone(700, 8000, seconds=0.1)


class Voice:
    """A maker that remembers what it was asked, and can be held up."""

    name = "test voice"

    def __init__(self, sound: bytes = PIECE) -> None:
        self.asked: list[tuple[str, str]] = []
        self.sound = sound
        self.fails = False
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.at_once = self.most_at_once = 0

    async def make(self, text: str, voice: str) -> bytes:
        self.asked.append((text, voice))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        if self.fails:
            raise NotSpokenError("failed")
        return self.sound


Make = Callable[..., SpokenSounds]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[SpokenSounds] = []

    def build(maker: Voice | None = None, **changes: object) -> SpokenSounds:
        values: dict[str, object] = {
            "cache_dir": tmp_path / "cache",
            "sounds_dir": tmp_path / "sounds",
            "core_sounds_dir": tmp_path / "core",
        }
        settings = SpeechSettings(**(values | changes))  # type: ignore[arg-type]  # keywords
        made.append(SpokenSounds(settings, maker=maker))
        return made[-1]

    yield build
    for one in made:
        await one.close()


async def said(speech: SpokenSounds, *prompts: Prompt, language: str = "en") -> list[str]:
    return list((await speech.speak(prompts, language)).sounds)


def put(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tone(path, hz=500, seconds=0.1)
    return str(path.with_suffix(""))


async def test_a_recorded_prompt_is_played_in_the_language_of_the_call(make: Make, tmp_path: Path):
    german = put(tmp_path / "sounds" / "de" / "goodbye.wav")
    english = put(tmp_path / "sounds" / "en" / "goodbye.wav")
    speech = make()
    assert await said(speech, Fixed(Sound.GOODBYE), language="de-AT") == [german]
    assert await said(speech, Fixed(Sound.GOODBYE), language="pt") == [english]


async def test_every_fixed_prompt_has_words_in_every_language_built_in(make: Make):
    for language, texts in TEXTS.items():
        voice = Voice()
        prompts = [Fixed(sound) for sound in Sound]
        assert len(await said(make(voice), *prompts, language=language)) == len(Sound)
        assert {text for text, _ in voice.asked} <= set(texts.values())


@pytest.mark.parametrize("sound", [Sound.RECORDING_CONSENT, Sound.CALLBACK_CHOICE])
@pytest.mark.parametrize("language", TEXTS)
def test_a_question_names_both_keys_that_answer_it(language: str, sound: Sound):
    assert {"1", "2"} <= set(TEXTS[language][sound])


async def test_what_is_spoken_exists_is_absolute_and_has_no_ending(make: Make):
    (sound,) = await said(make(Voice()), Speech("Hello"))
    assert Path(sound).is_absolute()
    assert not Path(sound).exists()
    with wave.open(f"{sound}.wav") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
    assert Path(f"{sound}.wav").stat().st_mode & 0o044 == 0o044


async def test_a_number_is_put_together_from_asterisks_own_sounds_or_spoken(
    make: Make, tmp_path: Path
):
    voice = Voice()
    speech = make(voice)
    twenty = put(tmp_path / "core" / "en" / "digits" / "20.wav")
    assert len(await said(speech, Number(21))) == 1
    one = put(tmp_path / "core" / "en" / "digits" / "1.wav")
    assert await said(speech, Number(21)) == [twenty, one]
    await said(speech, Number(21), language="de")
    assert voice.asked == [("21", "en"), ("21", "de")]


async def test_a_phone_number_is_never_kept_as_a_whole(make: Make):
    voice = Voice()
    assert len(await said(make(voice), Spelled("+49 30 11#"), language="de")) == 8
    assert {text for text, _ in voice.asked} == {"plus", "4", "9", "3", "0", "1", "Raute"}


async def test_a_text_is_made_once_however_many_ask(make: Make):
    voice = Voice()
    voice.go_on.clear()
    speech = make(voice)
    asking = [asyncio.create_task(said(speech, Speech("Hello"))) for _ in range(20)]
    while not voice.asked:
        await asyncio.sleep(0)
    voice.go_on.set()
    assert len({tuple(sounds) for sounds in await asyncio.gather(*asking)}) == 1
    await said(speech, Speech("Hello"))
    assert voice.asked == [("Hello", "en")]
    await said(make(voice), Speech("Hello", locale="es"))
    assert voice.asked == [("Hello", "en"), ("Hello", "es")]


async def test_a_caller_who_hangs_up_does_not_take_the_sound_from_the_next(make: Make):
    voice = Voice()
    voice.go_on.clear()
    speech = make(voice)
    first = asyncio.create_task(said(speech, Speech("Hello")))
    while not voice.asked:
        await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(said(speech, Speech("Hello")))
    await asyncio.sleep(0)
    voice.go_on.set()
    assert len(await second) == 1
    assert len(voice.asked) == 1


async def test_only_so_many_are_made_at_once_and_only_so_many_may_wait(make: Make):
    voice = Voice()
    voice.go_on.clear()
    speech = make(voice, at_once=2, most_waiting=5)
    asking = [asyncio.create_task(said(speech, Speech(f"text {i}"))) for i in range(8)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [[]] * len(done)
    voice.go_on.set()
    assert sum(len(sounds) for sounds in await asyncio.gather(*asking)) == 5
    assert voice.most_at_once == 2


async def test_a_dead_voice_costs_one_caller_the_pause_and_is_tried_again_later(make: Make):
    voice = Voice()
    voice.fails = True
    speech = make(voice, retry_s=3600)
    assert await said(speech, Speech("Hello")) == []
    assert await said(speech, Speech("Hello")) == []
    assert len(voice.asked) == 1
    again = make(voice, retry_s=0)
    assert await said(again, Speech("Hello")) == []
    voice.fails = False
    assert len(await said(again, Speech("Hello"))) == 1


async def test_a_voice_that_never_ends_is_given_up_in_time_and_the_rest_is_said(
    make: Make, tmp_path: Path
):
    voice = Voice()
    voice.go_on.clear()
    goodbye = put(tmp_path / "sounds" / "en" / "goodbye.wav")
    speech = make(voice, limit_s=0.05)
    async with asyncio.timeout(5):
        assert await said(speech, Speech("Hello"), Fixed(Sound.GOODBYE)) == [goodbye]


async def test_a_german_caller_hears_the_english_recording_where_there_is_no_voice(
    make: Make, tmp_path: Path
):
    goodbye = put(tmp_path / "sounds" / "en" / "goodbye.wav")
    assert await said(make(), Fixed(Sound.GOODBYE), language="de") == [goodbye]


@pytest.mark.parametrize(
    "prompt",
    [Speech(""), Speech("\r\n"), Speech("a" * 2001), Speech("x"), Number(3), Spelled("12")],
)
async def test_a_prompt_that_cannot_be_had_is_reported_and_never_an_error(
    make: Make, prompt: Prompt
):
    voice = Voice(b"no sound at all")
    with structlog.testing.capture_logs() as logs:
        assert await said(make(voice), prompt) == []
    assert [entry["event"] for entry in logs] == ["prompt_left_out"]


async def test_text_is_neither_in_logs_nor_in_file_names(make: Make, tmp_path: Path):
    voice = Voice()
    speech = make(voice)
    with structlog.testing.capture_logs() as logs:
        await said(speech, Speech("Dear Mrs Secret"))
        voice.fails = True
        await said(speech, Speech("Dear Mr Secret"))
    assert "Secret" not in repr(logs)
    assert "Secret" not in repr(list(tmp_path.rglob("*")))


@pytest.mark.parametrize("language", ["../../etc", "-x", "en;ls", "en us", ""])
async def test_a_language_that_is_none_reaches_neither_a_path_nor_a_command(
    make: Make, language: str
):
    voice = Voice()
    await said(make(voice), Speech("one"), Speech("two", locale=language), language=language)
    assert [spoken for _, spoken in voice.asked] == ["en", "en"]


async def test_the_folder_stays_below_its_bound_and_loses_what_was_not_played_for_longest(
    make: Make, tmp_path: Path
):
    voice = Voice(tone(700, 8000, seconds=3))
    speech = make(voice, cache_bytes=200_000)
    (first,) = await said(speech, Speech("first"))
    (second,) = await said(speech, Speech("second"))
    os.utime(f"{first}.wav", (1, 1))
    os.utime(f"{second}.wav", (2, 2))
    await said(speech, Speech("first"))  # played: younger than the second now
    for number in range(3):
        await said(speech, Speech(f"more {number}"))
        sizes = [file.stat().st_size for file in (tmp_path / "cache").iterdir()]
        assert sum(sizes) <= 200_000
    assert not Path(f"{second}.wav").exists()


async def test_a_sound_is_looked_for_once_in_a_while_and_again_when_others_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    looked: list[Path] = []

    def look(path: Path) -> bool:
        looked.append(path)
        return path.is_file()

    monkeypatch.setattr(speech_cache, "_is_there", look)
    now = [0.0]
    cache = SpeechCache(
        tmp_path, Voice(), most_bytes=10**6, limit_s=5, at_once=1, most_waiting=9, retry_s=9,
        now_s=lambda: now[0],
    )  # fmt: skip
    path = await cache.get("Hello", "en")
    looked.clear()
    for _ in range(3):
        assert await cache.get("Hello", "en") == path
    assert looked == [path]
    await cache.get("Goodbye", "en")
    path.unlink()  # made room for it
    looked.clear()
    await cache.get("Hello", "en")
    assert looked == [path]
    await cache.get("Hello", "en")
    now[0] += speech_cache.TRUSTED_S
    looked.clear()
    await cache.get("Hello", "en")
    assert looked == [path]


async def test_nothing_half_written_is_left_where_the_folder_cannot_be_written(
    make: Make, tmp_path: Path
):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert await said(make(Voice()), Speech("Hello")) == []


# --- programs


def python(script: str, *more: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script, *more)


PRINTS = f"import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write({PIECE!r})"


async def test_a_program_is_given_the_text_on_its_input_and_never_by_a_shell(
    make: Make, tmp_path: Path
):
    out = tmp_path / "seen"
    script = (
        "import sys, pathlib; "
        f"pathlib.Path({str(out)!r}).write_text(repr((sys.stdin.read(), sys.argv[1:]))); "
        f"sys.stdout.buffer.write({PIECE!r})"
    )
    text = "$(touch /tmp/x); `id` {voice} 'Grüße'"
    speech = make(command=python(script, "-v", "{voice}"))
    assert len(await said(speech, Speech(text), language="de")) == 1
    assert out.read_text() == repr((text, ["-v", "de"]))


async def test_a_program_may_write_a_file_and_take_the_text_as_one_argument(make: Make):
    script = (
        "import sys, pathlib; assert sys.argv[2] == chr(123) + 'out} and ' + chr(123) + 'voice}'; "
        f"pathlib.Path(sys.argv[1]).write_bytes({PIECE!r})"
    )
    speech = make(command=python(script, "{out}", "{text}"))
    assert len(await said(speech, Speech("{out} and {voice}"))) == 1


@pytest.mark.parametrize(
    "script",
    [
        "import sys; sys.exit(3)",
        "print('not a sound')",
        "pass",
        f"import sys; sys.stdout.buffer.write(bytes({LARGEST_SOUND + 1}))",
        "import time; time.sleep(60)",
    ],
    ids=["fails", "prints text", "prints nothing", "prints too much", "hangs"],
)
async def test_a_program_that_misbehaves_costs_the_prompt_only(make: Make, script: str):
    async with asyncio.timeout(20):
        assert await said(make(command=python(script), limit_s=2), Speech("Hello")) == []


def test_a_program_that_ends_without_reading_the_text_has_still_spoken():
    """On uvloop, as in the real process: there a pipe that is gone is another error than on asyncio."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(60):
            assert runner.run(run(["echo", "sound"], b"text")) == b"sound\n"


async def test_a_program_that_is_not_there_costs_the_prompt_only(make: Make):
    assert await said(make(command=("/nowhere/voice",)), Speech("Hello")) == []


async def test_the_children_of_a_program_given_up_end_with_it(make: Make, tmp_path: Path):
    out = tmp_path / "pid"
    script = (
        "import subprocess, pathlib; child = subprocess.Popen(['sleep', '60']); "
        f"pathlib.Path({str(out)!r}).write_text(str(child.pid)); child.wait()"
    )
    assert await said(make(command=python(script), limit_s=1), Speech("Hello")) == []
    status = Path(f"/proc/{out.read_text()}/stat")
    async with asyncio.timeout(5):
        while status.exists() and status.read_text().split()[2] != "Z":
            await asyncio.sleep(0.01)


# --- services


async def test_a_service_is_asked_once_and_its_answer_is_kept_within_limits(
    make: Make, tmp_path: Path
):
    asked: list[object] = []

    async def speak(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(body)
        match body["text"]:
            case "large":
                return web.Response(body=bytes(LARGEST_SOUND + 1))
            case "elsewhere":
                raise web.HTTPFound("/other")
            case "broken":
                raise web.HTTPInternalServerError
        return web.Response(body=tone(700, 22_050, seconds=0.2))

    app = web.Application()
    app.router.add_post("/speak", speak)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/speak"
    async with aiohttp.ClientSession() as session:
        settings = SpeechSettings(cache_dir=tmp_path / "cache", url=url, voices={"de": "Ada"})
        speech = SpokenSounds(settings, session=session)
        for _ in range(2):
            (sound,) = await said(speech, Speech("Hallo"), language="de-DE")
        assert asked == [{"text": "Hallo", "voice": "Ada"}]
        with wave.open(f"{sound}.wav") as file:
            assert file.getframerate() == 8000
        for text in ("large", "elsewhere", "broken"):
            assert await said(speech, Speech(text)) == []
        await runner.cleanup()
        assert await said(speech, Speech("nobody there")) == []
        await speech.close()


# --- a real voice


@pytest.fixture
def espeak() -> tuple[str, ...]:
    if (TREE / "packages").exists() and "espeak-ng " in (TREE / "packages").read_text():
        return (str(TREE / "run"), "espeak-ng", "--stdin", "--stdout", "-v", "{voice}")
    missing = "no espeak-ng: run deploy/asterisk/fetch.sh once (no root needed)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "For sales, press 1. For support, press 2."),
        ("de", "Für den Vertrieb drücken Sie die 1."),
        ("es", "Para español, oprima el 2."),
    ],
)
async def test_a_real_voice_is_heard_in_telephone_quality(
    make: Make, espeak: tuple[str, ...], language: str, text: str
):
    (sound,) = await said(make(command=espeak, limit_s=20), Speech(text), language=language)
    with wave.open(f"{sound}.wav") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        seconds = file.getnframes() / 8000
        samples = memoryview(file.readframes(file.getnframes())).cast("h")
    loud = [sum(map(abs, samples[i : i + 800])) / 800 for i in range(0, len(samples) - 800, 800)]
    assert 1 < seconds < 6
    assert sum(level > 300 for level in loud) > len(loud) / 2
    assert max(map(abs, samples)) > 5000


async def test_every_built_in_text_can_be_spoken_by_a_real_voice(
    make: Make, espeak: tuple[str, ...]
):
    speech = make(command=espeak, limit_s=60)
    some = [Fixed(Sound.POSITION_IS), Number(3), Fixed(Sound.ESCAPE_HINT), Spelled("*")]
    for language in TEXTS:
        sounds = await said(speech, *some, language=language)
        assert len(set(sounds)) == len(some)


async def test_what_all_callers_hear_is_looked_for_once_in_a_while(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "sounds" / "en"
    folder.mkdir(parents=True)
    recorded = folder / f"{Sound.GOODBYE}.wav"
    recorded.write_bytes(PIECE)
    voice = Voice()
    speech = make(voice)
    first = await said(speech, Speech("Hello."), Fixed(Sound.GOODBYE), Spelled("12"))
    await said(speech, Speech("Hello."))  # room was made for it: looked for anew
    visits: list[object] = []
    visit = asyncio.to_thread

    async def count(*work: object) -> object:
        visits.append(work)
        return await visit(*work)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(asyncio, "to_thread", count)
    await said(speech, Fixed(Sound.GOODBYE))
    visits.clear()
    for _ in range(3):
        assert await said(speech, Speech("Hello."), Fixed(Sound.GOODBYE)) == [first[0], first[1]]
    assert visits == []
    assert not [one for one, _ in speech._lately if isinstance(one, Spelled)]
    recorded.unlink()
    speech._lately_from = (float("-inf"), speech._lately_from[1])  # so much later
    assert (await said(speech, Fixed(Sound.GOODBYE)))[0] != first[1]
