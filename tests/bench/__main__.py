"""`make bench`: each speed beside its comparison, measured in the same run on the same machine."""

import os
import sys

from rich.console import Console
from rich.table import Table

from ledger.collecting import collect_rarely
from tests.bench import append, checks, queue, reading
from tests.bench.places import servers


def main() -> None:
    """Print one table; the parts can be named: `python -m tests.bench append queue checks reading`."""
    wanted = sys.argv[1:] or ["append", "queue", "checks", "reading"]
    table = Table(title=f"promise ledger, {os.cpu_count()} cores", title_justify="left", box=None, show_header=False)
    collect_rarely()
    with servers() as (url, broker_url):
        measurements = {
            "append": lambda: append.report(url),
            "queue": lambda: queue.report(url, broker_url),
            "checks": lambda: checks.report(url, broker_url),
            "reading": lambda: reading.report(url),
        }
        for name in wanted:
            for what, found in measurements[name]():
                table.add_row(what, found)
    Console(width=120, highlight=False).print(table)


if __name__ == "__main__":
    main()
