"""`python -m sandbox`: serves the outside world on loopback."""

import argparse
import ipaddress
import logging
from pathlib import Path

import uvicorn

from sandbox.app import create_app


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def positive(text: str) -> float:
    number = float(text)
    if number <= 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--allow-network", action="store_true", help="listen beyond loopback: only in a container's own network"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder that keeps the world over restarts")
    parser.add_argument("--seed", type=int, default=7, help="for the first day and for all chance")
    parser.add_argument("--clock-factor", type=positive, help="how much faster durations pass; kept over restarts")
    parser.add_argument("--pace", type=positive, help="turns the demo's shoppers on: orders a minute")
    given = parser.parse_args()
    if not given.allow_network and given.host != "localhost" and not _is_loopback(given.host):
        # Its secrets are readable by anyone who can reach it.
        parser.error("the sandbox listens on loopback only, unless --allow-network says otherwise")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    app = create_app(given.data, given.seed, given.clock_factor, given.pace)
    # Forwarding headers mean nothing on loopback, and a fault that hangs up needs uvicorn's own `send`.
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        # As long as vendors' proxies do: who sends on a connection that was just closed never learns what came of it.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
