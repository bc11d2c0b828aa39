"""Check the log, prove from it, hand it out."""

import sys
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.text import Text

from deploy.copies import read_checkpoint
from deploy.exporting import NOT_SIGNED, export_tiles
from deploy.finding import at_hand
from deploy.terminal import AsJson, DataDir, bar, connect, database, fail, out, print_json
from deploy.timestamping import read_roots
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.storage.log_keys import key_ranges, read_rotations
from ledger.storage.sql import QUERIES
from ledger.storage.tree import TreeReader
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import BadProof, TlogError
from ledger.tlog.note import Note, Signer, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.proofs import verify_inclusion
from ledger.verification import definitions
from ledger.verification.definitions import Difference
from ledger.verification.log import verify
from ledger.verification.report import Problem, Report
from projections import checking
from projections import definitions as read_definitions
from projections.site import Damaged, Site

app = typer.Typer()
_DIFFERENCES_SHOWN = 20


def pinned(text: str) -> str:
    """The log's key that an option spells."""
    try:
        return Verifier.parse(text).vkey
    except TlogError as error:
        raise typer.BadParameter(f"{text!r} is {error}, as `promise-ledger vkey` prints it") from error


@app.command("verify")
def verify_command(
    data_dir: DataDir = None,
    as_json: AsJson = False,
    with_projections: Annotated[
        bool, typer.Option("--projections", help="Derive the read tables again as well, and compare row by row.")
    ] = False,
    rules: Annotated[
        bool,
        typer.Option("--rules", help="Decide every command again as well: slower, and about a kilobyte a stream."),
    ] = False,
    vkey: Annotated[
        str | None,
        typer.Option("--vkey", parser=pinned, help="The log's key as you keep it; by default that of keys/log."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="FILE|SITE|URL",
            help="A checkpoint that you kept, or where others see one: a witness, a mirror; may be repeated.",
        ),
    ] = None,
    timestamp_roots: Annotated[
        Path | None,
        typer.Option(
            "--timestamp-roots", exists=True, dir_okay=False, help="PEM of a timestamp authority's root: judge stamps."
        ),
    ] = None,
    policy_file: Annotated[
        Path | None,
        typer.Option("--policy", exists=True, dir_okay=False, help="A witness policy: say how far its quorum covers."),
    ] = None,
) -> None:
    """Derive everything from the stored bytes and compare it with what was signed; exit code 1 where it differs.

    On the ledger's own host the fork guard is compared as well. Elsewhere give --vkey, and a checkpoint --against.
    """
    with at_hand(data_dir) as settings:
        kept = [_kept(place) for place in against or ()]
        guarded = _guarded(settings)
        policy = policy_in(policy_file or settings.witness_policy)
        roots = timestamp_roots or settings.timestamp_roots
        kek, digest = keys.key_encryption_key(settings), keys.digest_key(settings)
        with bar("verifying") as advance:
            report = verify(
                database(settings),
                vkey=vkey or vkey_of(settings),
                guard=(lambda: read_guard(settings.guard_path)) if guarded else None,
                key_encryption_key=None if kek is None else kek.secret,
                kept=kept,
                digest_key=None if digest is None else digest.secret,
                policy=policy,
                timestamp_roots=() if roots is None else read_roots(roots),
                rules=rules,
                progress=advance,
            )
        differing = definitions.check(database(settings))
        if with_projections and report.problem is None:
            differing += read_definitions.check(database(settings))
        found = _report(report, differing, anchored=guarded or bool(kept))
        if with_projections and report.problem is None:
            secrets = keys.secrets_of(settings)
            with bar("deriving the read tables") as advance:
                difference = checking.check(database(settings), secrets, advance)
            found["projections"] = "ok" if difference is None else difference.to_dict()
            found["ok"] = found["ok"] and difference is None
    if as_json:
        print_json(found)
    else:
        _tell(report, found)
    raise typer.Exit(0 if found["ok"] else 1)


def _kept(place: str) -> bytes:
    """The checkpoint in a file, in a site's directory, or at an address; not verified yet."""
    try:
        return read_checkpoint(place)
    except (OSError, HTTPException) as error:
        raise typer.BadParameter(f"--against {place}: {error}") from error


def policy_in(path: Path | None) -> Policy | None:
    """The witness policy in that file, None where none is named."""
    try:
        return None if path is None else Policy.parse(path.read_bytes())
    except TlogError as error:
        raise typer.BadParameter(f"{path} is no witness policy (c2sp.org/tlog-policy): {error}") from error


def _guarded(settings: Settings) -> bool:
    """Whether this host keeps the fork guard: where the log's key lies here, a missing guard is a finding."""
    return settings.guard_path.exists() or keys.log_key(settings) is not None


def _report(report: Report, differing: Sequence[Difference], *, anchored: bool) -> dict[str, Any]:
    return {
        "ok": report.problem is None and not differing,
        "size": report.size,
        "root": report.root,
        "signed_size": report.signed_size,
        "witnessed_size": report.witnessed_size,
        "stamped_size": report.stamped_size,
        "stamped_at": report.stamped_at,
        "recoveries": list(report.recoveries),
        "rules_replayed": report.rules_replayed,
        "unsigned_events": max(0, report.size - report.signed_size),
        "checkpoints": report.checkpoints,
        "compared_with_something_kept_outside": anchored,
        "problem": None if report.problem is None else _problem(report.problem),
        "definitions": [difference.to_dict() for difference in differing],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "table": problem.table,
        "leaf_index": problem.leaf_index,
        "stream": problem.stream,
        "message": problem.message,
    }


def _tell(report: Report, found: dict[str, Any]) -> None:
    _tell_definitions(found["definitions"])
    if (problem := report.problem) is not None:
        where = "" if problem.leaf_index is None else f", leaf {problem.leaf_index}"
        stream = "" if problem.stream is None else f", stream {problem.stream}"
        out.print(Text.assemble(("NOT AS RECORDED", "bold red"), f": table {problem.table}{where}{stream}"))
        out.print(problem.message)
        return
    if isinstance(difference := found.get("projections"), dict):
        out.print(
            Text.assemble(("READ TABLE CHANGED", "bold red"), f": {difference['table']} {difference['key'] or ''}")
        )
        out.print(difference["message"])
    out.print(Text.assemble(("verified", "bold green"), f": {report.size} events, root {report.root.hex()}"))
    covered = f"events 0 to {report.signed_size - 1}" if report.signed_size else "nothing yet"
    out.print(f"signed by the log's own key: {covered}; not covered yet: {found['unsigned_events']} events")
    if report.witnessed_size is not None:
        covered = f"events 0 to {report.witnessed_size - 1}" if report.witnessed_size else "nothing yet"
        out.print(f"cosigned by witnesses: {covered}; not covered yet: {report.size - report.witnessed_size} events")
    if report.stamped_size is not None:
        covered = (
            f"events 0 to {report.stamped_size - 1}, by {report.stamped_at}" if report.stamped_size else "nothing yet"
        )
        out.print(f"timestamped: {covered}; not covered yet: {report.size - report.stamped_size} events")
    if report.rules_replayed:
        out.print("decided again: every command became the events that the rules make of it")
    else:
        out.print("whether the rules allowed each event was not looked at; use --rules")
    for sentence in report.recoveries:
        out.print(f"on record: {sentence}")
    if not found["compared_with_something_kept_outside"]:
        out.print("nothing kept outside the database was compared: an older copy would look the same; use --against")
    if difference == "ok":
        out.print("the read tables are what the log makes them")


def _tell_definitions(differing: Sequence[dict[str, Any]]) -> None:
    for difference in differing[:_DIFFERENCES_SHOWN]:
        out.print(Text.assemble(("NOT AS DEFINED", "bold red"), f": {difference['place']}: {difference['message']}"))
    if (more := len(differing) - _DIFFERENCES_SHOWN) > 0:
        out.print(f"and {more} more, all of them with --json")
    if differing:
        out.print(
            "rows are checked all the same; `promise-ledger migrate` renews grants and views, `rebuild` read tables; "
            "the rest is in ledger/storage/schema.sql; what is not of this release is for the owner to remove"
        )


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
        proof = _proof(connection, leaf_index, _parsed(note))
    text = ProofFile(leaf_index, tuple(proof), note).format()
    if as_json:
        print_json({"leaf_index": leaf_index, "size": size, "witnessed": witnessed, "proof": text})
    else:
        sys.stdout.write(text)


def _proof(connection: psycopg.Connection[Any], leaf_index: int, signed: Checkpoint) -> list[bytes]:
    """The proof of that leaf, which leads to the signed root."""
    reader = TreeReader(connection.cursor())
    try:
        proof = reader.inclusion_proof(leaf_index, signed.size)
        verify_inclusion(reader.node(0, leaf_index), leaf_index, signed.size, proof, signed.root)
    except (LookupError, BadProof):
        fail(NOT_SIGNED)
    return proof


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
    out.print(f"{exported.size} events under the checkpoint in {directory}, {exported.written} files written")
