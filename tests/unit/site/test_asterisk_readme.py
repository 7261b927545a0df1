"""What `deploy/asterisk/README.md` tells an integrator to write is what Crosspoint and `etc/` take."""

import re
from pathlib import Path

from pbx.ami import values
from router.settings import parse_settings

DEPLOY = Path(__file__).parents[3] / "deploy/asterisk"
README = (DEPLOY / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def lines_of(text: str) -> list[str]:
    """Without comments and the blanks before them."""
    found = (line.partition(" ;")[0].rstrip() for line in text.splitlines())
    return [line for line in found if line and not line.startswith(";")]


def test_the_settings_are_settings():
    (text,) = blocks("yaml")
    settings = parse_settings(text.encode(), "crosspoint.yaml", Path("/etc/crosspoint"), {})
    assert settings.pbx is not None
    assert settings.pbx.trunk_endpoint is not None
    values.channel(settings.pbx.trunk_endpoint.replace("{number}", "+12125550142"))


def test_the_dialplan_is_ours():
    dialplan, _ = blocks("ini")
    ours = set(lines_of((DEPLOY / "etc/extensions.conf").read_text()))
    assert [line for line in lines_of(dialplan) if line not in ours] == [
        "exten => T,1,Playback(crosspoint/sorry)"  # ours answers first
    ]


def test_the_manager_user_is_ours_but_for_the_secret():
    _, manager = blocks("ini")
    ours = set(lines_of((DEPLOY / "etc/manager.conf").read_text()))
    assert [line for line in lines_of(manager) if line not in ours] == ["secret = ..."]
