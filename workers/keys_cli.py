"""`switchyard keys`: what credentials are sealed with, and moving them to a new key."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from core.audit import Actor
from core.clock import utc_now
from core.connections import keys as sealing
from core.connections.keys import SealedSecret
from core.connections.operations import new_key
from core.db import read_only, unit_of_work
from workers import console


@click.group(invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """Show how many credentials each key of SWITCHYARD_SECRET_KEYS has sealed; exit status 1 when one opens none."""
    if context.invoked_subcommand is not None:
        return
    app = console.application()
    with read_only(app.engine) as conn:
        found = sealing.sealed(conn, app.settings.secret_keys)
    for position in range(1, len(app.settings.secret_keys) + 1):
        count = sum(secret.position == position for secret in found)
        role = "newest: seals what is stored" if position == 1 else "can be taken away" if not count else "still needed"
        click.echo(f"key {position} ({role}): {count} credentials")
    _name_unreadable([secret for secret in found if secret.position is None])


@keys.command()
def new() -> None:
    """Print a fresh key, to be put in front of the others; nothing is stored."""
    click.echo(new_key())


@keys.command()
@click.option("--reason", default="rotation of keys", show_default=True, help="Kept on record.")
def rotate(reason: str) -> None:
    """Seal every credential under the newest key; safe to repeat, and while everything runs."""
    app = console.application()
    with unit_of_work(app.engine) as conn:
        done = sealing.rotate(conn, app.settings.secret_keys, Actor(console.person(), reason), utc_now())
    click.echo(f"{done.resealed} credentials are sealed under the newest key now.")
    _name_unreadable(done.unreadable)


def _name_unreadable(secrets: Sequence[SealedSecret]) -> None:
    """Say which no key opens, and end with status 1 where there is one."""
    for secret in secrets:
        click.echo(
            f"{secret.name} of {secret.whose} cannot be opened: add the key it was sealed with, or enter the"
            " credential again"
        )
    if secrets:
        sys.exit(1)
