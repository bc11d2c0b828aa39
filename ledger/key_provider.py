"""Keys that are kept elsewhere, in a KMS or an HSM: what whoever keeps them has to offer (docs/keys.md has an example).

    LEDGER_KEY_PROVIDER=package.module:factory

`factory(data_dir)` returns a `KeyProvider`. What it does not keep comes from a file or the environment, as without it.
Several threads call its methods at once. Each raises KeyProblem, with one sentence for the operator, where the
device does not answer or refuses: then nothing was signed or recorded, and the service tries again.
"""

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from ledger.tlog.note import Signer, SigningKey


class KeyProblem(RuntimeError):
    """A secret is missing, not whole, readable for others, given twice, or its keeper does not answer."""


class NoKeyProvider(KeyProblem):
    """LEDGER_KEY_PROVIDER names something else: to be corrected there; coming again does not help."""


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
    """What the factory at `package.module:factory` returns, its keys of the right kinds. Raises NoKeyProvider where it
    is none, with what is wrong in it or what it raised; a KeyProblem of its own passes through.
    """
    module, _, name = reference.partition(":")
    try:
        provider = cast(Factory, getattr(import_module(module), name))(data_dir)
        if provider.log is not None:
            Signer("log", provider.log)
        if provider.kek is not None and not isinstance(provider.kek, WrappingKey):
            raise TypeError("its kek has no name, wrap and unwrap")
    except KeyProblem:
        raise
    except Exception as error:  # code that is not ours may raise anything
        raise NoKeyProvider(
            f"LEDGER_KEY_PROVIDER={reference} names no key provider (package.module:factory): "
            f"{type(error).__name__}: {error}"
        ) from error
    return provider


__all__ = ["Factory", "KeyProblem", "KeyProvider", "NoKeyProvider", "SigningKey", "WrappingKey", "open_provider"]
