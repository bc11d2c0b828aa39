"""Writing a pack: signed, checked by the program that is in it, and then under its name, whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import Connection

from deploy.exporting import ExportRefused
from deploy.pack import verify_pack
from deploy.pack.contents import Source, contents
from deploy.pack.selecting import Sample, Wanted, select
from ledger.erasure.keyring import Keyring
from ledger.storage.guard import flush_directory
from ledger.storage.keys import Secrets
from ledger.storage.sql import QUERIES
from ledger.tlog.errors import TlogError
from ledger.tlog.note import Note, Signer
from ledger.tlog.policy import Policy
from ledger.verification.report import connect
from projections.proving import NOT_SIGNED


class Exported(NamedTuple):
    """What the pack holds: events, texts in the clear, erased and lost, the size of its checkpoint; what checks it."""

    entries: int
    texts: int
    erased: int
    lost: int
    size: int
    vkey: str


def export_pack(
    url: str,
    secrets: Secrets,
    directory: Path,
    wanted: Wanted,
    *,
    sample: Sample | None = None,
    size: int | None = None,
    policy: Policy | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """`directory` is a pack of what is wanted, readable by its owner alone. A pack of the same log there is replaced.

    Raises ExportRefused where there is nothing to export, where the log is not what was signed, and where the directory
    holds anything else.
    """
    with connect(url) as connection:  # until the pack has its name: an erasure that it knows nothing of waits for it
        try:
            row = connection.execute(QUERIES["read_head"]).fetchone()
            if row is None:
                raise ExportRefused("there is no log yet")
            signer = Signer(row[3], secrets.log)
            _require_ours(directory, signer)
            keyring = Keyring(secrets.kek, reread=secrets.key_encryption_keys)
            source = Source(url, connection, keyring, signer.verifier, policy)
            files = contents(source, select(connection, wanted, size), wanted, sample, progress)
        except (LookupError, TypeError, ValueError, TlogError) as error:  # rows that the ledger never wrote
            raise ExportRefused(f"{NOT_SIGNED}: {error!r}") from error
        text = verify_pack.manifest_of(signer.name, files)
        files["manifest"] = Note(text, (signer.signature(text),)).format()
        _require_checkable(files)
        shown = _publish(directory, files, signer.vkey, connection)
    return Exported(len(shown.raw), shown.opened, shown.erased, shown.lost, shown.size, signer.vkey)


def _require_ours(directory: Path, signer: Signer) -> None:
    """There is nothing at `directory`, or a pack that this log's owner signed, with nothing beside it; and a new folder
    can take its name.
    """
    if directory.is_mount() or Path.cwd().is_relative_to(directory.resolve()):
        raise ExportRefused(
            f"{directory} is a mount point or where you are, and cannot be replaced: name a folder in it"
        )
    if not directory.exists() or not any(directory.iterdir()):
        return
    try:
        verify_pack.check(str(directory), signer.vkey)
    except verify_pack.Wrong as wrong:
        raise ExportRefused(f"{directory} is no pack of this log, choose another directory: {wrong}") from wrong


def _require_checkable(files: dict[str, bytes]) -> None:
    """So many bytes are what the program in the pack looks at."""
    size, largest = sum(map(len, files.values())), verify_pack.MAX_BYTES
    if size > largest:
        raise ExportRefused(f"the pack would have {size} bytes, and can have {largest}: select less, or use --sample")


def _publish(directory: Path, files: dict[str, bytes], vkey: str, connection: Connection[Any]) -> verify_pack.Pack:
    """What the pack shows, once it is there. Crash: at worst the old pack and the new one lie beside the name.

    The `connection`, whose snapshot it is from, is still there by then: no erasure was completed meanwhile.
    """
    directory = directory.resolve()
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}.new-", dir=directory.parent))
    try:
        _write(fresh, files)
        try:
            shown = verify_pack.check(str(fresh), vkey)
        except verify_pack.Wrong as wrong:
            raise ExportRefused(f"{NOT_SIGNED}: {wrong}") from wrong
        connection.execute("SELECT")
        old = fresh.with_name(fresh.name.replace(".new-", ".old-"))
        if directory.exists():
            directory.rename(old)
        fresh.rename(directory)
        flush_directory(directory.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return shown


def _write(directory: Path, files: dict[str, bytes]) -> None:
    """Every file is on disk, for its owner's eyes: it holds words in the clear."""
    if any(name.startswith("proofs/") for name in files):
        (directory / "proofs").mkdir(mode=0o700)
    for name, content in files.items():
        with open(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    os.sync()  # at once: one by one, thousands of proofs take minutes
