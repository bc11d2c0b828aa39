"""When Python looks for garbage: rarely, while many rows are read that refer to nothing but texts and numbers."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect garbage rarely: entries and states are acyclic, and scanning them costs half as much as applying them."""
    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def collect_rarely() -> None:
    """Collect rarely from here on: commands and states are acyclic, and scanning them took a fifth of an append."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
