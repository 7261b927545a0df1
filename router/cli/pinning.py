"""`crosspoint pin`: who may log in by phone."""

import asyncio

import click

from router.cli.shell import UNUSABLE, Shell, Store, ended, soon, tenant_of, tenant_option


@click.command(epilog="\b\nExample:\n  crosspoint pin ada")
@click.argument("agent")
@click.option("--remove", is_flag=True, help="No more logging in by phone.")
@tenant_option
@click.pass_obj
def pin(shell: Shell, agent: str, remove: bool, tenant: str | None) -> None:
    """Set the PIN with which AGENT logs in by phone; only a salted hash of it is kept."""
    text = None if remove else click.prompt("PIN", hide_input=True, confirmation_prompt=True)
    if text is not None and not (text.isdecimal() and 4 <= len(text) <= 12):
        raise ended("a PIN has 4 to 12 digits", UNUSABLE)

    async def work(store: Store) -> None:
        from router.store.mailboxes import Pins  # noqa: PLC0415 - start-up time
        from router.telephony.pins import hash_pin  # noqa: PLC0415 - start-up time

        digest = None if text is None else await asyncio.to_thread(hash_pin, text)
        await Pins(store.links).set(await tenant_of(store, tenant), agent, digest, soon())

    shell.with_store(work)
    click.echo(f"{agent}: {'no PIN' if remove else 'PIN set'}")
