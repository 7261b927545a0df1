"""What `doctor` says of the PBX: manager user, folders, tenant."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from router.cli.findings import Finding
from router.cli.shell import Shell
from router.errors import InvalidInputError

if TYPE_CHECKING:
    from pbx.ami.settings import AmiSettings
    from router.settings import PbxSettings, Settings

_LOGIN_S: Final = 5.0
_MANAGER: Final = "the user in manager.conf, see deploy/asterisk/README.md"


def pbx_findings(shell: Shell) -> Iterator[Finding]:
    """Nothing, where the settings name no Asterisk."""
    settings = shell.settings
    pbx = settings.pbx
    if pbx is None:
        return
    yield from _tenant(settings, pbx)
    both = "make it: Asterisk and crosspoint both write it"
    yield _folder("pbx.spool_dir", pbx.spool_dir, todo=both)
    ours = "crosspoint writes it, Asterisk reads it"
    yield _folder("pbx.speech_dir", pbx.speech_dir, todo=ours, is_made=True)
    recordings_dir = settings.recordings_dir or settings.data_dir / "recordings"
    yield _folder("recordings_dir", recordings_dir, todo="crosspoint writes it", is_made=True)
    yield from _sounds("pbx.sounds_dir", pbx.sounds_dir)
    yield from _sounds("pbx.core_sounds_dir", pbx.core_sounds_dir)
    yield _manager(shell, pbx)


def _tenant(settings: "Settings", pbx: "PbxSettings") -> Iterator[Finding]:
    from router.processes.site_at_start import read_site  # noqa: PLC0415 - start-up time
    from rules.problems import FileError  # noqa: PLC0415

    site = None
    with contextlib.suppress(FileError):  # another check says so
        site = read_site(settings)
    if site is not None and site.tenant != pbx.tenant:
        found = f"{pbx.tenant!r}, but the site is {site.tenant!r}"
        yield Finding(what="pbx.tenant", found=found, todo="calls would find no call router")


def _sounds(what: str, folder: Path | None) -> Iterator[Finding]:
    """Prompts that nobody finds are left out, or spoken by the voice; no call ends for it."""
    if folder is not None:
        is_there = folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
        todo = None if is_there else "crosspoint and Asterisk read it: correct it, or leave it out"
        found = str(folder) if is_there else f"{folder} is not there, or cannot be read"
        yield Finding(what=what, found=found, todo=todo)


def _folder(what: str, folder: Path, *, todo: str, is_made: bool = False) -> Finding:
    """`is_made`: it is made when it is first needed."""
    there = folder
    while is_made and not there.exists() and there != there.parent:
        there = there.parent
    if not there.exists():
        return Finding(what=what, found=f"{folder} is not there", todo=todo)
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(what=what, found=f"{there} cannot be written", todo=todo)
    return Finding(what=what, found=str(folder))


def _manager(shell: Shell, pbx: "PbxSettings") -> Finding:
    from router.processes.taking_calls import ami_secret  # noqa: PLC0415 - start-up time
    from router.telephony.exchange import ami_settings  # noqa: PLC0415

    what = f"Asterisk {pbx.host}:{pbx.port}"
    try:
        ami = ami_settings(pbx, ami_secret(shell.settings, pbx))
    except (InvalidInputError, OSError) as error:
        return Finding(what=what, found=str(error), todo=f"give it the secret of {_MANAGER}")
    return shell.run(_log_in(what, ami))


async def _log_in(what: str, ami: "AmiSettings") -> Finding:
    from pbx.ami.client import Client  # noqa: PLC0415 - start-up time
    from pbx.errors import AmiDownError, LoginRefusedError, PbxError  # noqa: PLC0415

    client = Client(ami, on_event=lambda _: None)
    task = asyncio.create_task(client.run())
    by_s = asyncio.get_running_loop().time() + _LOGIN_S
    try:
        await client.wait_ready(by_s)
        calls = len(await client.channels(by_s))
        await client.device_states(by_s)
    except LoginRefusedError:
        return Finding(
            what=what, found="refuses the login", todo=f"compare name and secret with {_MANAGER}"
        )
    except AmiDownError:
        return Finding(
            what=what, found="does not answer", todo="start it, or set pbx.host and pbx.port"
        )
    except PbxError as error:
        return Finding(
            what=what, found=f"refuses a list: {error.code}", todo=f"rights of {_MANAGER}"
        )
    finally:
        await client.close()
        task.cancel()
        await asyncio.wait([task])
    return Finding(what=what, found=f"lets us in, {calls} channels")
