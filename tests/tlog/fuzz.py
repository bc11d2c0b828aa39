"""Fuzzes every parser of the log, guided by coverage: `python -m tests.tlog.fuzz CORPUS [libFuzzer's options]`.

The first byte of an input chooses the property, the rest is the input. With -max_total_time=3600 it looks for longer.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ledger.tlog"]):
    from tests.tlog.properties import PROPERTIES

CHOICES = list(PROPERTIES.values())


def seed(corpus: Path) -> None:
    """The directory `corpus` holds every valid example."""
    for number, (_, examples) in enumerate(CHOICES):
        for place, example in enumerate(examples):
            (corpus / f"{number}-{place}").write_bytes(bytes([number]) + example)


def one_input(data: bytes) -> None:
    """The property that the first byte names holds of the rest."""
    if data and data[0] < len(CHOICES):
        CHOICES[data[0]].holds(data[1:])


if __name__ == "__main__":
    seed(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
