"""Rotation of the key that signs the log; what a crash leaves is said at each step.

 1. keys/log.next                              nothing happened; the same again goes on with it
 2. log.key_rotated is committed               no service starts or appends any more: the log names the new key and
                                               keys/log is the old one. From here on the same again goes on
 3. the checkpoint over it, signed by both     either key opens the guard, so nothing is ever signed under a wrong one
    keys: in the guard, then in the database
 4. keys/log is log.<key id>, log.next is log  the log goes on under the new key
 5. log.<key id> is overwritten and removed    there: the same again ends it

Services are stopped meanwhile. One that is not is no danger, only broken off: it looks at the log under the head lock
once somebody else has appended, and refuses there.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
import psycopg

from ledger.app import Clock, Ledger, Submission, system_clock
from ledger.domain.log_keys import RotateLogKey
from ledger.recovery.steps import refuse_running
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.log_keys import Rotation, last_rotation, read_rotations
from ledger.tlog.note import Signer

SOURCE: Final = "ledger-keys"
NEXT: Final = "log.next"


def rotate_log_key(settings: Settings, clock: Clock = system_clock) -> tuple[str, str]:
    """The verifier keys, old and new, once the log is signed by the new one and the old one is destroyed here.

    Called again after a crash it goes on; after it was done, it makes another new one. Raises NotRecovered while a
    service is at work, KeyProblem where the key is no file or the one that was made is gone, Fork as every start does.
    """
    _refuse_elsewhere(settings)
    with _alone(settings.keys_dir):
        return _rotate(settings, clock)


def _rotate(settings: Settings, clock: Clock) -> tuple[str, str]:
    secrets = keys.secrets_of(settings)
    origin, last = _on_record(settings)
    present = Signer(origin, secrets.log)
    if last is not None and last.new == present.verifier and keys.find(settings.keys_dir, _archived(last)) is not None:
        return _end(settings, last)  # step 5
    begun = last is not None and last.old == present.verifier
    successor = Signer(origin, _successor(settings, begun))  # step 1
    with Ledger.open(settings, clock=clock, start=not begun) as ledger:
        if not begun:
            ledger.append([_said(present, successor, clock)])  # step 2
            _, last = _on_record(settings)
        assert last is not None
        if successor.verifier != last.new:
            raise keys.KeyProblem(
                f"the log names {last.new.vkey} as its next key, and {settings.keys_dir / NEXT} is another one: put it "
                "back; where it is lost, only `promise-ledger recover anew` is left"
            )
        ledger.hand_over(last.size, successor)  # step 3
    keys.replace_log_key(settings.keys_dir, _archived(last), NEXT)  # step 4
    return _end(settings, last)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory of the keys against a second rotation."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refuse_elsewhere(settings: Settings) -> None:
    assert settings.database_url is not None
    held, path = keys.log_key(settings), settings.keys_dir / "log"
    if held is not None and held.where != str(path):
        raise keys.KeyProblem(
            f"the signing key is given by {held.where}, and only a file can be replaced: move a key from a variable to "
            f"{path} (32 bytes, mode 0600), rotate, and move the new one back; a key that never leaves its device "
            "cannot be rotated, there `promise-ledger recover anew` begins another log"
        )
    with psycopg.connect(settings.database_url) as connection:
        refuse_running(connection)


def _on_record(settings: Settings) -> tuple[str, Rotation | None]:
    """The log's name, and its newest rotation."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute("SELECT origin FROM ledger.head").fetchone()
        origin = settings.origin if row is None else str(row[0])
        return origin, last_rotation(read_rotations(connection.cursor()), origin)


def _successor(settings: Settings, begun: bool) -> bytes:
    if not begun:
        return keys.new_log_key(settings.keys_dir, NEXT)
    found = keys.find(settings.keys_dir, NEXT)
    if found is None:
        raise keys.KeyProblem(
            f"the rotation of the log's key began, and {settings.keys_dir / NEXT} is missing: put it back; where it is "
            "lost, only `promise-ledger recover anew` is left"
        )
    return found


def _said(present: Signer, successor: Signer, clock: Clock) -> Submission:
    command = RotateLogKey(actor=SOURCE, occurred_at=clock(), old_vkey=present.vkey, new_vkey=successor.vkey)
    canonical = orjson.dumps(command.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    return Submission(SOURCE, f"rotate-log-{os.urandom(16).hex()}", command, canonical)


def _archived(rotation: Rotation) -> str:
    return f"log.{rotation.old.key_id.hex()}"


def _end(settings: Settings, rotation: Rotation) -> tuple[str, str]:
    keys.destroy(settings.keys_dir, _archived(rotation), "log")  # step 5
    return rotation.old.vkey, rotation.new.vkey
