"""Rotation of the key that signs the log; what a crash leaves is said at each step.

 1. keys/log.next                              nothing happened; the same again goes on with it
 2. log.key_rotated is committed               no service starts or appends any more: the log names the new key and
                                               keys/log is the old one. From here on the same again goes on
 3. the checkpoint over it, signed by both     either key opens the guard, so nothing is ever signed under a wrong one
    keys: in the guard, then in the database
 4. keys/log is log.<key id>, log.next is log  the log goes on under the new key
 5. log.<key id> is overwritten and removed    there: the same again ends it

Where the settings give the key before (keys/log.old, LEDGER_KEY_LOG_OLD, a provider before), the key that they give for
`log` is the new one, wherever it is kept. Then steps 1 and 4 are done by whoever set them; 2, 3 and 5, which destroys a
file keys/log.old, are done here, and the same again goes on likewise.

Services are stopped meanwhile. One that is not is no danger, only broken off: it looks at the log under the head lock
once somebody else has appended, and refuses there.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import orjson
import psycopg

from ledger.app import Ledger, Submission
from ledger.clock import Clock, system_clock
from ledger.domain.log_keys import RotateLogKey
from ledger.key_provider import SigningKey
from ledger.recovery.steps import refuse_running
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.storage.log_keys import Rotation, last_rotation, read_rotations
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.note import Signer, Verifier

SOURCE: Final = "ledger-keys"
NEXT: Final = "log.next"
OLD: Final = "log.old"


def rotate_log_key(settings: Settings, clock: Clock = system_clock) -> tuple[str, str]:
    """The verifier keys, old and new, once the log is signed by the new one and the old one is destroyed here.

    Called again after a crash it goes on; after it was done, it makes another new one. Raises NotRecovered while a
    service is at work, KeyProblem where the key is no file and none is given in its place, or the one that was made is
    gone; Fork as every start does.
    """
    before = keys.log_key_before(settings)
    _refuse_elsewhere(settings, before)
    with keys.alone(settings.keys_dir):
        return _rotate(settings, clock) if before is None else _to_given(settings, before.secret, clock)


def _to_given(settings: Settings, old: bytes | SigningKey, clock: Clock) -> tuple[str, str]:
    """Steps 2, 3 and 5, from the key `old` to the one that the settings give."""
    secrets = keys.secrets_of(settings)
    origin, size, rotations = _on_record(settings)
    present, successor, last = Signer(origin, old), Signer(origin, secrets.log), last_rotation(rotations, origin)
    done = last is not None and (last.old, last.new) == (present.verifier, successor.verifier) and size > last.size
    if not done:
        _refuse_used(successor, present, rotations)
        _hand_over(settings, replace(secrets, log=old), successor, clock)
    keys.destroy(settings.keys_dir, OLD, "log")
    return present.vkey, successor.vkey


def _rotate(settings: Settings, clock: Clock) -> tuple[str, str]:
    secrets = keys.secrets_of(settings)
    origin, _, rotations = _on_record(settings)
    present, last = Signer(origin, secrets.log), last_rotation(rotations, origin)
    if (
        last is not None
        and last.new == present.verifier
        and keys.find(settings.keys_dir, _archived(last.old)) is not None
    ):
        return _end(settings, last.old, last.new)  # step 5
    begun = last is not None and last.old == present.verifier
    successor = Signer(origin, _successor(settings, begun))  # step 1
    _refuse_used(successor, present, rotations)
    if begun or not _handed_over(settings, present, successor):
        _hand_over(settings, secrets, successor, clock)
    keys.replace_log_key(settings.keys_dir, _archived(present.verifier), NEXT)  # step 4
    return _end(settings, present.verifier, successor.verifier)


def _refuse_used(successor: Signer, present: Signer, rotations: Sequence[Rotation]) -> None:
    if successor.verifier in {present.verifier, *(each.old for each in rotations)}:
        raise keys.KeyProblem(f"{successor.vkey} signed this log before: a rotation needs a key that never did")


def _handed_over(settings: Settings, present: Signer, successor: Signer) -> bool:
    """Step 3 was done, as the guard says, and the database, which does not know of it, is an older copy: what brings it
    back is signed by the new key.
    """
    note = read_guard(settings.guard_path)
    try:
        both = [] if note is None else [open_checkpoint(note, each.verifier) for each in (present, successor)]
    except TlogError:
        return False
    return bool(both)


def _hand_over(settings: Settings, secrets: keys.Secrets, successor: Signer, clock: Clock) -> None:
    """Steps 2 and 3, from the key of `secrets`."""
    origin, _, rotations = _on_record(settings)
    present, last = Signer(origin, secrets.log), last_rotation(rotations, origin)
    begun = last is not None and last.old == present.verifier
    with Ledger.open(settings, clock=clock, start=not begun, secrets=secrets) as ledger:
        if not begun:
            ledger.append([_said(present, successor, clock)])  # step 2
            last = last_rotation(_on_record(settings)[2], origin)
        assert last is not None
        if successor.verifier != last.new:
            raise keys.KeyProblem(
                f"the log names {last.new.vkey} as its next key, and what the settings give or "
                f"{settings.keys_dir / NEXT} is another one: put it back; where it is lost, only `promise-ledger "
                "recover anew` is left"
            )
        ledger.hand_over(last.size, successor)  # step 3


def _refuse_elsewhere(settings: Settings, before: keys.Held[bytes | SigningKey] | None) -> None:
    assert settings.database_url is not None
    held, path = keys.log_key(settings), settings.keys_dir / "log"
    if before is None and held is not None and held.where != str(path):
        raise keys.KeyProblem(
            f"the signing key is given by {held.where}, and only a file is replaced by itself: give the new key there "
            "and this one by LEDGER_KEY_LOG_OLD or LEDGER_KEY_PROVIDER_OLD, then run this again"
        )
    with psycopg.connect(settings.database_url) as connection:
        refuse_running(connection)


def _on_record(settings: Settings) -> tuple[str, int, list[Rotation]]:
    """The log's name and size, and its rotations."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url) as connection:
        row = connection.execute("SELECT origin, size FROM ledger.head").fetchone()
        origin, size = (settings.origin, 0) if row is None else (str(row[0]), int(row[1]))
        return origin, size, read_rotations(connection.cursor())


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


def _archived(old: Verifier) -> str:
    return f"log.{old.key_id.hex()}"


def _end(settings: Settings, old: Verifier, new: Verifier) -> tuple[str, str]:
    keys.destroy(settings.keys_dir, _archived(old), "log")  # step 5
    return old.vkey, new.vkey
