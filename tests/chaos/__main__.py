"""Blows against a whole running system while orders pour in: `python -m tests.chaos --seed N --blows M`.

Exit status 1 when anything was lost, done twice, or differs from the same orders without blows.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos.driver import Options, run
from tests.chaos.files import has_real, write_invented, write_real
from tests.chaos.plan import KINDS
from tests.functional.systems import ROOT

INVOICES_PER_BLOW = 8


def main() -> None:
    """Run, print the log and the report, and write the report as JSON where it is wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="draws the blows; by default another one each time")
    parser.add_argument("--blows", type=int, default=100, help="at least so many (default 100)")
    parser.add_argument("--only", choices=KINDS, nargs="+", default=[], help="blows of these kinds alone")
    parser.add_argument("--invoices", type=int, help=f"of the file (default {INVOICES_PER_BLOW} for every blow)")
    parser.add_argument("--invented", action="store_true", help="the invented shop even where the real file is")
    parser.add_argument("--report", type=Path, help="where to write the report as JSON; its text goes beside it")
    parser.add_argument("--log", type=Path, help="where to keep what the processes said while blows fell")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    invoices = given.invoices or max(200, given.blows * INVOICES_PER_BLOW)
    shared = Path(os.environ.get("SHARED_DIR") or ROOT.parent / "shared")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        print(line, flush=True)

    with tempfile.TemporaryDirectory(prefix="switchyard-chaos-") as folder:
        if has_real(shared) and not given.invented:
            file = write_real(Path(folder) / "real.csv", shared, invoices)
        else:
            file = write_invented(Path(folder) / "invented.csv", invoices)
        report = run(Options(seed, given.blows, file, say, given.log, tuple(given.only)))
    say("")
    say(report.as_text())
    if given.report is not None:
        given.report.write_text(report.as_json() + "\n")
        given.report.with_suffix(".txt").write_text("\n".join(said) + "\n")
    sys.exit(0 if report.is_clean else 1)


if __name__ == "__main__":
    main()
