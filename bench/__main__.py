"""`python -m bench`: measures wherry beside its peers, and says what it could not find.

Every figure is a ratio to a peer measured in the same run, in turns with it: absolute times on a
shared machine mean little. Nothing of the system's daemons is used or touched.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

from bench import report
from bench.figures import Row
from bench.rows import ROWS
from bench.stage import Missing, Stage


def main() -> None:
    """Measure the rows asked for and report them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {' '.join(ROWS)} (all)")
    parser.add_argument("--runs", type=int, default=15, help="runs of each command (15)")
    parser.add_argument(
        "--many", type=int, default=1000, help="containers alive at once in row `many` (1000)"
    )
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, runs=options.runs, many=options.many)
        for name in options.rows or ROWS:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            try:
                rows += ROWS[name](stage)
            except Missing as error:
                rows.append(Row(name, missing=str(error)))
    report.show(rows)


if __name__ == "__main__":
    main()
