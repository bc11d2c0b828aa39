"""Keys that are kept elsewhere, in a KMS or an HSM: what whoever keeps them has to offer (docs/keys.md has an example).

    LEDGER_KEY_PROVIDER=package.module:factory

`factory(data_dir)` returns a `KeyProvider`. What it does not keep comes from a file or the environment, as without it.
Its methods are called from two threads at once. Each raises KeyProblem, with one sentence for the operator, where the
device does not answer or refuses: then nothing was signed or recorded, and the service tries again.
"""

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from ledger.tlog.note import SigningKey


class KeyProblem(RuntimeError):
    """A secret is missing, not whole, readable for others, given twice, or its keeper does not answer."""


@runtime_checkable
class WrappingKey(Protocol):
    """A key-encryption key: closes over the customers' data keys and opens them again."""

    @property
    def name(self) -> str:
        """What tells this key from others and says nothing about it; a rotation puts it on record: an id."""
        ...

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """The 32-byte `data_key`, encrypted and bound to `associated_data`; never the same bytes twice."""
        ...

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """The data key in `wrapped`. Raises ValueError where this key did not wrap it with `associated_data`."""
        ...


class KeyProvider(Protocol):
    """What the factory returns, once a process. Either key may be None: then it is not kept there."""

    @property
    def log(self) -> SigningKey | None:
        """The Ed25519 key that signs checkpoints."""
        ...

    @property
    def kek(self) -> WrappingKey | None:
        """The key-encryption key."""
        ...


class Factory(Protocol):
    """What LEDGER_KEY_PROVIDER names."""

    def __call__(self, data_dir: Path, /) -> KeyProvider:
        """The keys of the ledger whose data directory this is."""
        ...


def open_provider(reference: str, data_dir: Path) -> KeyProvider:
    """What the factory at `package.module:factory` returns. Raises KeyProblem where there is none, or it fails so."""
    module, _, name = reference.partition(":")
    try:
        factory = cast(Factory, getattr(import_module(module), name))
    except (ImportError, AttributeError, ValueError) as error:
        raise KeyProblem(
            f"LEDGER_KEY_PROVIDER={reference} names no key provider (package.module:factory): {error}"
        ) from error
    return factory(data_dir)


__all__ = ["Factory", "KeyProblem", "KeyProvider", "SigningKey", "WrappingKey", "open_provider"]
