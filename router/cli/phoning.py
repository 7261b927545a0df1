"""`crosspoint pbx`: take the calls of one Asterisk, in the foreground until a signal."""

import click

from router.cli.shell import UNUSABLE, Shell, ended


@click.command(
    epilog="""\b
Start it twice, on two machines if you like: the second one waits, and takes all calls over when the
first is gone. Nobody is dropped.
\b
Examples:
  crosspoint -c /etc/crosspoint/crosspoint.yaml pbx
  CROSSPOINT_PBX__HOST=10.0.0.5 crosspoint pbx"""
)
@click.pass_obj
def pbx(shell: Shell) -> None:
    """Take the calls of the Asterisk in the settings, against the store in the settings."""
    from router.processes.taking_calls import take_calls  # noqa: PLC0415 - start-up time

    settings = shell.settings
    if settings.pbx is None:
        raise ended("there is no Asterisk in the settings: give them a section pbx", UNUSABLE)
    if settings.store.url is None:
        raise ended("pbx needs a store: set store.url, or use `crosspoint up`", UNUSABLE)
    take_calls(settings, settings.store.url)
