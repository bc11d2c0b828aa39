"""`make bench`: each speed beside its comparison, measured in the same run on the same machine."""

import os
import sys

from rich.console import Console
from rich.table import Table

from ledger.collecting import collect_rarely
from tests.bench import append, checks, growth, lag, machine, queue, reading
from tests.bench.places import servers

PARTS = {
    "machine": machine.report,
    "append": lambda url, _: append.report(url),
    "queue": queue.report,
    "checks": checks.report,
    "reading": reading.report,
    "lag": lag.report,
    "growth": lambda url, _: growth.report(url),
}


def main() -> None:
    """Print one table; the parts can be named: `python -m tests.bench append reading`."""
    wanted = sys.argv[1:] or list(PARTS)
    for name in wanted:
        if name not in PARTS:
            sys.exit(f"there is no measurement {name}: {', '.join(PARTS)}")
    table = Table(title=f"promise ledger, {os.cpu_count()} cores", title_justify="left", box=None, show_header=False)
    collect_rarely()
    with servers() as (url, broker_url):
        for name in wanted:
            for what, found in PARTS[name](url, broker_url):
                table.add_row(what, found)
    Console(width=120, highlight=False).print(table)


if __name__ == "__main__":
    main()
