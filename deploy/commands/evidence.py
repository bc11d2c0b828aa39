"""Prove from the log, and hand it out."""

import sys
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from deploy.exporting import export_tiles
from deploy.finding import at_hand
from deploy.foreign import beginning
from deploy.tables import counted
from deploy.terminal import AsJson, DataDir, bar, connect, database, fail, out, print_json
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.storage.log_keys import key_ranges, read_rotations
from ledger.storage.sql import QUERIES
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.note import Note, Signer, Verifier
from ledger.tlog.policy import MAX_POLICY_SIZE, Policy
from projections.proving import NotSigned, proof_of
from projections.site import Damaged, Site

app = typer.Typer()


def pinned(text: str) -> str:
    """The log's key that an option spells."""
    try:
        return Verifier.parse(text).vkey
    except TlogError as error:
        raise typer.BadParameter(f"{text!r} is {error}, as `promise-ledger vkey` prints it") from error


def policy_in(path: Path | None, vkey: str | None = None) -> Policy | None:
    """The witness policy in that file, None where none is named; for the log of the key `vkey` where that is given."""
    if path is None:
        return None
    try:
        policy = Policy.parse(beginning(path, MAX_POLICY_SIZE))
    except TlogError as error:
        raise typer.BadParameter(f"{path} is no witness policy (c2sp.org/tlog-policy): {error}") from error
    if vkey is not None and policy.logs:
        name = Verifier.parse(vkey).name  # which outlasts each key
        if name not in {log.verifier.name for log in policy.logs}:
            raise typer.BadParameter(f"{path} is for another log: no line `log …` names {name}")
    return policy


@app.command()
def prove(leaf_index: Annotated[int, typer.Argument(min=0)], data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print the tlog-proof of one event: that it stands at this index under the newest checkpoint that covers it.

    A checkpoint that enough witnesses of LEDGER_WITNESS_POLICY have cosigned is preferred; the proof carries their
    cosignatures.
    """
    with at_hand(data_dir) as settings, connect(settings) as connection:
        note = _witnessed_checkpoint(settings, connection)
        witnessed = note is not None and leaf_index < _size_of(note)
        if note is None or not witnessed:
            note = newest_checkpoint(settings, connection)
        size = _size_of(note)
        if leaf_index >= size:
            fail(f"leaf {leaf_index} is not under a checkpoint: the newest covers {size} events")
        try:
            text = proof_of(connection.cursor(), leaf_index, note).format()
        except NotSigned as error:
            fail(str(error))
    if as_json:
        print_json({"leaf_index": leaf_index, "size": size, "witnessed": witnessed, "proof": text})
    else:
        sys.stdout.write(text)


def _size_of(note: bytes) -> int:
    return _parsed(note).size


def _parsed(note: bytes) -> Checkpoint:
    try:
        return Checkpoint.parse(Note.parse(note).text)
    except TlogError as error:
        fail(f"the newest checkpoint in the database is none ({error}): run `promise-ledger verify`")


def _witnessed_checkpoint(settings: Settings, connection: psycopg.Connection[Any]) -> bytes | None:
    """The newest that enough witnesses of this host's policy have cosigned; any other row may be anybody's."""
    policy = policy_in(settings.witness_policy)
    try:
        return None if policy is None else Site(policy).checkpoint(connection.cursor())
    except Damaged as error:
        fail(str(error))


@app.command("vkey")
def vkey_command(
    data_dir: DataDir = None,
    as_json: AsJson = False,
    every: Annotated[bool, typer.Option("--all", help="Every key that the log had, and what each may sign.")] = False,
) -> None:
    """Print the log's verifier key, for those who verify: pin it, do not ask for it each time."""
    with at_hand(data_dir) as settings:
        if every:
            _tell_keys(settings, as_json)
            return
        vkey = vkey_of(settings)
    if as_json:
        print_json({"vkey": vkey})
    else:
        print(vkey)


def _tell_keys(settings: Settings, as_json: bool) -> None:
    """The keys as the log names them, the newest last; whether they hold is for `verify` to say."""
    with connect(settings) as connection:
        ranges = key_ranges(read_rotations(connection.cursor()))
    rows = [{"vkey": each.verifier.vkey, "first_size": each.first, "last_size": each.last} for each in ranges]
    rows = rows or [{"vkey": vkey_of(settings), "first_size": 0, "last_size": None}]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(row["vkey"], f"checkpoints of {row['first_size']} to {row['last_size'] or 'any'} events", sep="  ")


@app.command()
def checkpoint(
    data_dir: DataDir = None,
    as_json: AsJson = False,
    witnessed: Annotated[
        bool, typer.Option("--witnessed", help="The newest that enough witnesses have cosigned, with their lines.")
    ] = False,
) -> None:
    """Print the newest checkpoint, a signed note."""
    with at_hand(data_dir) as settings, connect(settings) as connection:
        note = _witnessed_checkpoint(settings, connection) if witnessed else newest_checkpoint(settings, connection)
    if note is None:
        unnamed = settings.witness_policy is None
        fail(
            "LEDGER_WITNESS_POLICY names no witnesses"
            if unnamed
            else "no checkpoint was cosigned by enough of them yet"
        )
    if as_json:
        found = _parsed(note)
        print_json({"origin": found.origin, "size": found.size, "root": found.root, "note": note.decode()})
    else:
        sys.stdout.write(note.decode())


def newest_checkpoint(settings: Settings, connection: psycopg.Connection[Any]) -> bytes:
    """What was signed last: that of the guard file where it lies here, else the newest stored one, up to 2 s older."""
    if (note := read_guard(settings.guard_path)) is not None:
        return note
    row = connection.execute(QUERIES["last_checkpoint"]).fetchone()
    if row is None:
        fail("nothing was signed yet")
    stored: str = row[1]
    return stored.encode()


def vkey_of(settings: Settings) -> str:
    """The key of this host's log. Its name comes from the guard, which no owner of the database can change."""
    key = keys.log_key(settings)
    if key is None:
        fail("the log's key is not on this host: give the one that you pinned with --vkey")
    if (origin := guarded_origin(settings)) is not None:
        return Signer(origin, key.secret).vkey
    with connect(settings) as connection:
        row = connection.execute(QUERIES["read_head"]).fetchone()
    return Signer(settings.origin if row is None else row[3], key.secret).vkey


def guarded_origin(settings: Settings) -> str | None:
    """The name under which this host signed last, None where it never did."""
    note = read_guard(settings.guard_path)
    return None if note is None else Checkpoint.parse(Note.parse(note).text).origin


@app.command("export-tiles")
def export_tiles_command(
    directory: Annotated[Path, typer.Argument(file_okay=False, metavar="DIR")],
    data_dir: DataDir = None,
) -> None:
    """Write the log as a static site (checkpoint, tiles, entries) that any web server can serve; again: what is new."""
    with at_hand(data_dir) as settings, bar("exporting") as advance:
        exported = export_tiles(database(settings), directory, advance, policy_in(settings.witness_policy))
    written = counted(exported.written, "file")
    out.print(f"{counted(exported.size, 'event')} under the checkpoint in {directory}, {written} written")
