"""Check the log, and the read side, against what was signed."""

from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from deploy.commands.evidence import pinned, policy_in, vkey_of
from deploy.copies import read_checkpoint
from deploy.finding import at_hand
from deploy.tables import counted
from deploy.terminal import AsJson, DataDir, bar, database, out, print_json
from deploy.timestamping import read_roots
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.verification import definitions
from ledger.verification.definitions import Difference
from ledger.verification.log import verify
from ledger.verification.report import Problem, Report
from projections import checking
from projections import definitions as read_definitions

app = typer.Typer()
_DIFFERENCES_SHOWN = 20
_OUTSIDE = {"guard": "the fork guard", "kept": "what --against names"}
"""What is compared and is no table, by the name that a problem has for it."""


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
        vkey = vkey or vkey_of(settings)
        policy = policy_in(policy_file or settings.witness_policy, vkey)
        roots = timestamp_roots or settings.timestamp_roots
        kek, digest = keys.key_encryption_key(settings), keys.digest_key(settings)
        with bar("verifying") as advance:
            report = verify(
                database(settings),
                vkey=vkey,
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
        place = _OUTSIDE.get(problem.table, f"table {problem.table}")
        where = "" if problem.leaf_index is None else f", leaf {problem.leaf_index}"
        stream = "" if problem.stream is None else f", stream {problem.stream}"
        out.print(Text.assemble(("NOT AS RECORDED", "bold red"), f": {place}{where}{stream}"))
        out.print(problem.message)
        return
    if isinstance(difference := found.get("projections"), dict):
        out.print(
            Text.assemble(("READ TABLE CHANGED", "bold red"), f": {difference['table']} {difference['key'] or ''}")
        )
        out.print(difference["message"])
    out.print(Text.assemble(("verified", "bold green"), f": {counted(report.size, 'event')}, root {report.root.hex()}"))
    _tell_cover("signed by the log's own key", report, report.signed_size)
    if report.witnessed_size is not None:
        _tell_cover("cosigned by witnesses", report, report.witnessed_size)
    if report.stamped_size is not None:
        _tell_cover("timestamped", report, report.stamped_size, f", by {report.stamped_at}")
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


def _tell_cover(how: str, report: Report, size: int, when: str = "") -> None:
    covered = f"events 0 to {size - 1}{when}" if size else "nothing yet"
    out.print(f"{how}: {covered}; not covered yet: {counted(max(0, report.size - size), 'event')}")


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
