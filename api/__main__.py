"""Serve the API: `python -m api --host 127.0.0.1 --port 8501`."""

from __future__ import annotations

import click
import uvicorn

from api.app import Dependencies, create_app
from core import bootstrap, logs
from core.errors import SwitchyardError

# Deliveries at work are answered; what takes longer than a vendor waits is not worth waiting for.
GRACE_SECONDS = 5


def dependencies() -> Dependencies:
    """The real ones, as `core.bootstrap` puts them together."""
    application = bootstrap.application()
    return Dependencies(
        database_url=application.settings.database_url,
        engine=application.engine,
        secret_keys=application.settings.secret_keys,
        doorbell=application.doorbell,
        bell_answers=application.queue.ping,
        verifier=bootstrap.webhook_verifier,
    )


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8501, show_default=True)
def main(host: str, port: int) -> None:
    """Serve until SIGTERM; whatever was acknowledged is committed."""
    logs.configure()
    try:
        app = create_app(dependencies())
    except SwitchyardError as error:
        raise click.ClickException(str(error)) from error
    uvicorn.run(
        app,
        host=host,
        port=port,
        timeout_graceful_shutdown=GRACE_SECONDS,
        # Senders hold connections open; a vendor's proxy must not meet one that we just closed.
        timeout_keep_alive=75,
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
