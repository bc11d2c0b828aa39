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
