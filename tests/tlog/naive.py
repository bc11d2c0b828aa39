"""The tree as RFC 9162 writes it down, recursively and without any cleverness: what the library is compared with."""

from functools import lru_cache
from hashlib import sha256

LEAVES = [sha256(b"\x00" + b"entry %d" % index).digest() for index in range(300)]


@lru_cache(None)
def naive_root(start: int, end: int) -> bytes:
    """Return the root over leaves [start, end)."""
    if end - start < 2:
        return LEAVES[start] if end > start else sha256(b"").digest()
    middle = start + _split(end - start)
    return sha256(b"\x01" + naive_root(start, middle) + naive_root(middle, end)).digest()


def naive_inclusion(index: int, start: int, end: int) -> list[bytes]:
    """Return PATH(index, leaves [start, end)): RFC 9162, section 2.1.3.1."""
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*naive_inclusion(index, start, middle), naive_root(middle, end)]
    return [*naive_inclusion(index, middle, end), naive_root(start, middle)]


def naive_consistency(size: int, start: int, end: int, known: bool = True) -> list[bytes]:
    """Return SUBPROOF(size, leaves [start, end), known): RFC 9162, section 2.1.4.1."""
    if size == end:
        return [] if known else [naive_root(start, end)]
    middle = start + _split(end - start)
    if size <= middle:
        return [*naive_consistency(size, start, middle, known), naive_root(middle, end)]
    return [*naive_consistency(size, middle, end, False), naive_root(start, middle)]


def naive_node(level: int, index: int) -> bytes:
    """Return the root of a complete subtree."""
    return naive_root(index << level, (index + 1) << level)


def _split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power
