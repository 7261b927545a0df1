"""The setting `pbx.speech_url`: prompts are spoken by a service."""

import io
import wave
from pathlib import Path

from aiohttp import web

from ivr.prompts import Speech
from router.processes.taking_calls import speaking
from router.settings import PbxSettings
from router.site.secret_refs import SecretRef


def a_second_of_sound() -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, 8000, 8000, "NONE", ""))
        file.writeframes(b"\x10\x20" * 8000)
    return made.getvalue()


def size_of(sound: str) -> int:
    return Path(f"{sound}.wav").stat().st_size


async def test_a_text_is_spoken_by_the_service_that_the_settings_name(tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    async def say(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.Response(body=a_second_of_sound(), content_type="audio/wav")

    application = web.Application()
    application.add_routes([web.post("/say", say)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        pbx = PbxSettings(
            secret=SecretRef(value="s" * 32),
            speech_dir=tmp_path / "speech",
            speech_url=f"http://{host}:{port}/say",
        )
        async with speaking(pbx) as speech:
            spoken = await speech.speak((Speech("For sales, press 1."),), "en")
            again = await speech.speak((Speech("For sales, press 1."),), "en")
    finally:
        await runner.cleanup()
    (sound,) = spoken.sounds
    assert size_of(sound) > 16_000
    assert again == spoken
    assert [one["text"] for one in asked] == ["For sales, press 1."]
