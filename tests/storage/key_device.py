"""A stand-in for an HSM: `key-device DIRECTORY` makes its keys there, keeps them, and answers over its pipes.

The tests run it as a process of its own. It imports nothing of the ledger, and the ledger nothing of it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Device:
    """The seed, and the generations of the key-encryption key: the last wraps, all of them open."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / "seed").exists():
            (directory / "seed").write_bytes(os.urandom(32))
            (directory / "kek.1").write_bytes(os.urandom(32))
        self.key = Ed25519PrivateKey.from_private_bytes((directory / "seed").read_bytes())
        self.directory = directory

    def keks(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.directory.glob("kek.*"))]

    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def sign(self, message: str) -> bytes:
        if (self.directory / "astray").exists():
            return self.key.sign(b"something else")
        return self.key.sign(bytes.fromhex(message))

    def name(self) -> bytes:
        return f"device.kek.{len(self.keks())}".encode()

    def wrap(self, data: str, context: str) -> bytes:
        keks, nonce = self.keks(), os.urandom(12)
        sealed = AESGCM(keks[-1]).encrypt(nonce, bytes.fromhex(data), bytes.fromhex(context))
        return bytes([len(keks)]) + nonce + sealed

    def unwrap(self, data: str, context: str) -> bytes:
        wrapped, keks = bytes.fromhex(data), self.keks()
        if not 0 < wrapped[0] <= len(keks):
            raise ValueError("unknown generation")
        return AESGCM(keks[wrapped[0] - 1]).decrypt(wrapped[1:13], wrapped[13:], bytes.fromhex(context))


def answer(device: Device, question: dict[str, Any]) -> dict[str, str]:
    try:
        return {"bytes": getattr(device, question.pop("ask"))(**question).hex()}
    except (InvalidTag, ValueError) as error:
        return {"refused": str(error) or "not wrapped here"}


def main() -> None:
    device = Device(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(answer(device, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
