"""Serve the API: `python -m api --host 127.0.0.1 --port 8501`."""

from __future__ import annotations

import click
import uvicorn

from api.app import Dependencies, create_app
from api.metrics import create_metrics_app, serve_metrics
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
        queues=application.queue.queues,
        job_names=bootstrap.job_names(),
        verifier=bootstrap.webhook_verifier,
        documents=application.documents,
        dashboard_url=application.settings.dashboard_url,
    )


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8501, show_default=True)
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Beyond loopback a token is needed.")
@click.option("--metrics-port", type=int, help="Serve /metrics there; nowhere when it is not given.")
def main(host: str, port: int, metrics_host: str, metrics_port: int | None) -> None:
    """Serve until SIGTERM; whatever was acknowledged is committed."""
    logs.configure("api")
    try:
        app = create_app(dependencies())
        if metrics_port is not None:
            token = bootstrap.application().settings.metrics_token
            serve_metrics(create_metrics_app(app.state.registry, token), metrics_host, metrics_port, token)
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
