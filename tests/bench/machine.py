"""How fast this machine is beside the one that the goals were set on: what that one was measured to do, done here."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from statistics import geometric_mean, median
from timeit import timeit
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consumers.running import run
from ledger.settings import MAX_BATCH
from tests.bench.append import plain
from tests.bench.queue import raw

ROUNDS = 5
_ENTRY = bytes(600)

Work = tuple[str, float, Callable[[], float]]
"""A piece of work, how often a second the machine of the goals does it, and what measures that here."""


def often(work: str, times: int, **names: Any) -> float:
    """How often a second one core does `work`, which is about these `names`."""
    return times / timeit(work, number=times, globals=names)


def hashing() -> float:
    """Leaf hashes/s of one core, of entries of 600 bytes that are at hand."""
    return often(r'sha256(b"\0" + entry).digest()', 200_000, sha256=sha256, entry=_ENTRY)


def works(url: str, broker_url: str) -> Sequence[Work]:
    """Everything that is no code of ours and that has a number there; a number that is only a bound is left out."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    names: dict[str, Any] = {
        "encrypt": AESGCM(bytes(32)).encrypt,
        "nonce": bytes(12),
        "entry": _ENTRY,
        "sign": key.sign,
        "verify": key.public_key().verify,
        "signature": key.sign(_ENTRY),
    }
    return (
        ("plain eventsourcing saving, batches of 500", 18_000, lambda: plain(url, 10_000, batch=MAX_BATCH)),
        ("raw JetStream publish, fetch, ack", 1 / 70e-6, lambda: run(raw(broker_url, 10_000))),
        ("leaf hash of 600 bytes", 1_200_000, hashing),
        ("AES-256-GCM of 600 bytes", 600_000, lambda: often("encrypt(nonce, entry, None)", 100_000, **names)),
        ("Ed25519 signing", 27_000, lambda: often("sign(entry)", 5_000, **names)),
        ("Ed25519 verifying", 9_000, lambda: often("verify(signature, entry)", 2_000, **names)),
    )


def pace(works: Sequence[Work]) -> float:
    """How fast this machine is just now, of that of the goals: the geometric mean over all works."""
    return geometric_mean(measure() / there for _, there, measure in works)


def report(url: str, broker_url: str) -> Sequence[tuple[str, str]]:
    """The rows of the table that this measurement adds."""
    found = [(name, there, median(measure() for _ in range(ROUNDS))) for name, there, measure in works(url, broker_url)]
    mean = geometric_mean(here / there for _, there, here in found)
    return (
        ("this machine, beside that of the goals", f"{mean:.2f} x (geometric mean of the following)"),
        *((f"  {name}", f"{here:,.0f}/s, {there:,.0f} there: {here / there:.2f} x") for name, there, here in found),
    )
