"""The embedded servers from the shell; see the package."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

from core.embedded import erase, start, status, stop
from core.errors import Permanent


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.embedded", description="The embedded PostgreSQL and Redis.")
    parser.add_argument("action", choices=["start", "stop", "status", "erase"])
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("SWITCHYARD_HOME") or ".switchyard"))
    base = int(os.environ.get("SWITCHYARD_PORT_BASE") or 8500)
    parser.add_argument("--postgres-port", type=int, default=base + 3)
    parser.add_argument("--redis-port", type=int, default=base + 4)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if chosen.action == "start":
            servers = start(chosen.home, postgres_port=chosen.postgres_port, redis_port=chosen.redis_port)
            print(f"DATABASE_URL={servers.database_url}")
            print(f"DATABASE_MIGRATE_URL={servers.migrate_url}")
            print(f"REDIS_URL={servers.redis_url}")
        elif chosen.action == "stop":
            print("stopped" if stop(chosen.home) else "nothing was running")
        elif chosen.action == "erase":
            erase(chosen.home)
            print("erased")
        else:
            found = status(chosen.home)
            print(json.dumps({name: asdict(server) for name, server in found.items()}, indent=2))
            return 0 if all(server.running for server in found.values()) else 1
    except Permanent as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
