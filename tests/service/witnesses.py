"""A witness as an auditor starts it, and what a log of ours asks it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from deploy.witness import Witness, open_witness
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note, Signer
from ledger.tlog.witness import AddCheckpoint, Cosigner
from tests.service import serving
from tests.service.serving import ask
from tests.tlog.naive import naive_consistency, naive_root

ORIGIN = "log.example/promises"
LOG = Signer(ORIGIN, b"l" * 32)
SECOND_KEY = Signer(ORIGIN, b"2" * 32)
OTHER = Signer("other.example", b"o" * 32)
STRANGER = Signer("stranger.example", b"s" * 32)
PLACE = sha256(ORIGIN.encode()).hexdigest()


def checkpoint(size: int, root: bytes | None = None, origin: str = ORIGIN) -> Checkpoint:
    return Checkpoint(origin, size, naive_root(0, size) if root is None else root)


def request(
    old: int, size: int, *, signer: Signer = LOG, proof: list[bytes] | None = None, root: bytes | None = None
) -> bytes:
    claimed = checkpoint(size, root, signer.name)
    if proof is None:
        proof = naive_consistency(old, 0, size) if 0 < old < size else []
    return AddCheckpoint(old, tuple(proof), Note.parse(claimed.sign(signer)), claimed).format()


def post(port: int, body: bytes, **headers: str) -> serving.Answer:
    return ask(port, "/add-checkpoint", method="POST", body=body, **headers)


def witness_in(state: Path, *keys: Signer) -> tuple[Witness, Cosigner]:
    return open_witness(state, [signer.verifier for signer in keys or (LOG, SECOND_KEY, OTHER)], "witness.example/w1")


class Running:
    """`promise-ledger witness serve` as an auditor starts it."""

    def __init__(self, state: Path, *options: str) -> None:
        command = [sys.executable, "-m", "deploy.cli", "witness", "serve", "--state", state, "--port", "0", *options]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.vkey = self.process.stdout.readline().strip()
        self.url = self.process.stderr.readline().strip().removeprefix("witness at ")
        self.port = int(self.url.rpartition(":")[2] or 0)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode


@contextmanager
def running(state: Path, *options: str) -> Iterator[Running]:
    witness = Running(state, *options)
    try:
        yield witness
    finally:
        if witness.process.poll() is None:
            witness.end(signal.SIGKILL)
