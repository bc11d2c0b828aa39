"""The command `promise-ledger`. Exit codes: 0 good, 1 the answer is bad news, 2 used wrongly."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import nats.errors
import orjson
import psycopg
import typer
from eventsourcing.persistence import PersistenceError
from psycopg.rows import tuple_row
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consumers import client, contract, deadletters
from consumers.cloudevents import Malformed
from consumers.connection import NotProvisioned
from consumers.importing.errors import ImportProblem
from consumers.importing.run import ImportReport, import_file
from consumers.provision import ProvisionError
from consumers.receipts import UnprovenReceipt
from consumers.spool import SpoolProblem
from deploy import noting
from deploy.exporting import ExportRefused, export_tiles
from deploy.finding import located, settings_for
from deploy.migrating import make_ready
from deploy.places import SetupError
from deploy.submitting import NotCosigned, submit
from deploy.tables import printer, show
from deploy.witness import WitnessProblem, open_witness
from ledger.domain.dispatch import COMMANDS
from ledger.domain.model import utc_moment
from ledger.erasure.keyring import KeyUnwrapFailed
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import GuardDamaged, read_guard
from ledger.storage.migrations import MigrationChanged
from ledger.storage.recorder import NoLog
from ledger.storage.signer import Fork
from ledger.storage.sql import QUERIES
from ledger.storage.tree import TreeReader
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import MalformedKey
from ledger.tlog.note import Note, Signer, Verifier
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.witness import CosignatureVerifier
from ledger.verification import Report, verify
from projections import checking, queries, runner
from projections.blast import BlastRadius, Item, blast_radius
from projections.web.health import health

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
letters = typer.Typer(no_args_is_help=True, help="What could not be parsed or kept failing, with its reason.")
app.add_typer(letters, name="deadletters")
witnesses = typer.Typer(no_args_is_help=True, help="Cosign the checkpoints of logs, or have one cosigned.")
app.add_typer(witnesses, name="witness")

out = printer()
err = printer(stderr=True)

_BAD_NEWS = (
    SetupError,
    ExportRefused,
    NotCosigned,
    WitnessProblem,
    NoLog,
    Fork,
    GuardDamaged,
    ImportProblem,
    client.NoAnswer,
    Malformed,
    SpoolProblem,
    UnprovenReceipt,
    MigrationChanged,
    NotProvisioned,
    ProvisionError,
    KeyUnwrapFailed,
    keys.KeyProblem,
    deadletters.NoSuchLetter,
    psycopg.Error,
    PersistenceError,
    nats.errors.Error,
    OSError,
)

_MOST_ROWS = 200


def _moment(text: str) -> datetime:
    try:
        return utc_moment(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}, for example 2026-11-21T10:00:00+01:00") from error


DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Data directory of the `up` to talk to.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
AsOf = Annotated[
    datetime | None, typer.Option("--as-of", parser=_moment, metavar="TIME", help="As things stood at this moment.")
]
KnownAt = Annotated[
    datetime | None, typer.Option("--known-at", parser=_moment, metavar="TIME", help="As recorded by this moment.")
]


@app.command()
def up(
    data_dir: DataDir = None,
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the queue; 0 takes a free one.")] = 4222,
    http_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of /health and /metrics.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Play the demo story through the queue.")] = False,
) -> None:
    """Run the whole ledger on this machine: PostgreSQL, NATS, intake, timer, projections. Until Ctrl-C."""
    from deploy.up import up as run_up

    raise typer.Exit(run_up(settings_for(data_dir, http_port=http_port), nats_port=nats_port, demo=demo))


@app.command(hidden=True)
def serve(part: str, data_dir: DataDir = None) -> None:
    """Run one part: intake (with the timer) or projections (with HTTP)."""
    from deploy.serve import serve_intake, serve_projections

    parts: dict[str, Callable[[Settings], None]] = {"intake": serve_intake, "projections": serve_projections}
    if part not in parts:
        raise typer.BadParameter(f"there is no part {part}: intake or projections")
    parts[part](located(data_dir))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring database and queue to this version: tables, views, roles, the log itself, streams. Safe to repeat."""
    for line in make_ready(located(data_dir)):
        out.print(line)


@app.command("health")
def health_command(
    data_dir: DataDir = None,
    as_json: AsJson = False,
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for it.")] = 0.0,
) -> None:
    """Whether commands, timer and projections get on; exit code 1 where one does not."""
    deadline = time.monotonic() + wait
    while True:
        try:
            now = health(_database(located(data_dir)))
            if now.healthy or time.monotonic() >= deadline:
                break
        except SetupError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.2)
    if as_json:
        _print_json(now.to_dict())
    else:
        out.print(f"[bold]{'healthy' if now.healthy else 'failing'}[/bold], {now.size} events in the log")
        for problem in now.problems:
            out.print(f"- {problem}", markup=False)
        show(out, "projections", now.projections, ("name", "version", "position", "lag_events", "reason"))
    raise typer.Exit(0 if now.healthy else 1)


@app.command()
def record(
    file: Annotated[str, typer.Argument(help="JSON Lines of CloudEvents; - reads standard input.")],
    data_dir: DataDir = None,
) -> None:
    """Send commands through the queue; one receipt or refusal a line on stdout, in the order of the input."""
    settings = located(data_dir)
    refused = 0
    with sys.stdin.buffer if file == "-" else open(file, "rb") as stream:
        for answer in client.record_file(settings.broker_url or "", stream):
            refused += answer.status != "recorded"
            sys.stdout.buffer.write(answer.body + b"\n")
            sys.stdout.buffer.flush()
    raise typer.Exit(1 if refused else 0)


@app.command()
def note(
    text: Annotated[str | None, typer.Argument(help="What was said; - reads standard input.")] = None,
    customer: Annotated[str | None, typer.Option("--customer", help="Whose note it is.")] = None,
    outage: Annotated[str | None, typer.Option("--outage", help="The outage that it is taken in.")] = None,
    declare: Annotated[str | None, typer.Option("--declare", metavar="TOOL", help="Declare --outage first.")] = None,
    read_back: Annotated[bool, typer.Option("--read-back", help="The customer heard what was written.")] = False,
    actor: Annotated[str | None, typer.Option("--actor", envvar="LEDGER_ACTOR", help="Who notes it down.")] = None,
    deliver: Annotated[bool, typer.Option("--deliver", help="Only deliver what waits.")] = False,
    notepad: Annotated[Path | None, typer.Option("--notepad", envvar="LEDGER_NOTEPAD", help="The file.")] = None,
    vkey: Annotated[str | None, typer.Option("--vkey", envvar="LEDGER_VKEY", help="Verify receipts by it.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Note down while the tools are away: on this machine's disk first, into the ledger once it can be reached."""
    pad = notepad or settings_for(data_dir).data_dir / "notepad" / "notes.jsonl"
    noted = []
    if not deliver:
        try:
            words = sys.stdin.read().rstrip("\n") if text == "-" else text
            noted = noting.commands(words, customer=customer, outage=outage, tool=declare, actor=actor, read=read_back)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        noting.note_down(pad, noted)
    told = noting.deliver(pad, data_dir, vkey)
    if as_json:
        _print_json({"noted": [command_id for command_id, _ in noted], **asdict(told)})
    else:
        noting.tell(out, pad, [command_id for command_id, _ in noted], told)
    raise typer.Exit(1 if told.refused or told.damaged or (deliver and told.waiting) else 0)


@app.command()
def outstanding(
    customer: Annotated[str | None, typer.Option("--customer", help="Only this customer's.")] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What is still owed: every promise that has not ended, with its three axes."""
    with _reading(data_dir) as (connection, keyring):
        rows = queries.outstanding(connection, keyring, customer=customer, as_of=as_of, known_at=known_at)
    if as_json:
        _print_json(rows)
        return
    columns = ("promise_id", "customer_id", "kind", "owner", "due_at", "standing", "fulfilment", "timeliness", "text")
    show(out, "outstanding promises", rows, columns)


@app.command("customer")
def customer_command(
    customer_id: Annotated[str, typer.Argument(metavar="ID")],
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """One customer: what is owed, which follow-ups are due, and everything that happened, in order."""
    with _reading(data_dir) as (connection, keyring):
        found = queries.customer(connection, keyring, customer_id, as_of=as_of, known_at=known_at)
    if as_json:
        _print_json(found)
        return
    columns = ("promise_id", "kind", "owner", "due_at", "standing", "fulfilment", "timeliness", "text")
    show(out, f"outstanding promises to {customer_id}", found["outstanding"], columns)
    show(out, "follow-ups due", found["followups"], ("followup_id", "due_at", "owner", "attempts"))
    show(out, "what happened", found["timeline"], ("leaf_index", "occurred_at", "type", "actor", "text"))


@app.command()
def trail(
    stream: Annotated[str, typer.Argument(help="A stream, such as promise:P-1.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Every event of one stream, straight from the log."""
    with _reading(data_dir) as (connection, keyring):
        rows = queries.trail(connection, keyring, stream)
    if as_json:
        _print_json(rows)
    else:
        show(out, stream, rows, ("leaf_index", "occurred_at", "recorded_at", "type", "actor", "data", "text"))
    raise typer.Exit(0 if rows else 1)


@app.command("blast-radius")
def blast_radius_command(
    disclosure_id: Annotated[str, typer.Argument(metavar="DISCLOSURE")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What rests on a disclosure, who was told and who repeated it; exit code 1 where a correction is owed."""
    with _reading(data_dir) as (connection, _):
        found = blast_radius(connection, disclosure_id)
    if found is None:
        _fail(f"there is no disclosure {disclosure_id}")
    if as_json:
        _print_json(found.to_dict())
    else:
        _tell_blast(found)
    raise typer.Exit(1 if found.owed else 0)


def _tell_blast(found: BlastRadius) -> None:
    show(out, found.disclosure_id, [item._asdict() for item in found.items[:_MOST_ROWS]], Item._fields)
    if len(found.items) > _MOST_ROWS:
        out.print(f"and {len(found.items) - _MOST_ROWS} more: --json has all of them")
    false = "not falsified" if found.falsified_at is None else f"known to be false since {found.known_false_since}"
    out.print(f"{false}; told: {len(found.told)} customers", markup=False)
    if found.rests_on_falsehoods:
        out.print(f"it rests on falsehoods: {', '.join(found.rests_on_falsehoods)}", markup=False)
    if found.repeated_by:
        out.print(f"repeated afterwards by: {', '.join(found.repeated_by)}", markup=False)
    out.print(f"corrections: {found.owed} owed, {found.delivered} delivered")


@app.command("verify")
def verify_command(
    data_dir: DataDir = None,
    as_json: AsJson = False,
    with_projections: Annotated[
        bool, typer.Option("--projections", help="Derive the read tables again as well, and compare row by row.")
    ] = False,
    vkey: Annotated[
        str | None, typer.Option("--vkey", help="The log's key as you keep it; by default that of keys/log.")
    ] = None,
) -> None:
    """Derive everything from the stored bytes and compare it with what was signed; exit code 1 where it differs."""
    settings = located(data_dir)
    url = _database(settings)
    with _bar("verifying") as advance:
        report = verify(
            url,
            vkey=vkey or _vkey(settings),
            guard=lambda: read_guard(settings.guard_path),
            key_encryption_key=keys.load(settings.keys_dir).kek,
            progress=advance,
        )
    found = _report(report)
    if with_projections and report.problem is None:
        with _bar("deriving the read tables") as advance:
            difference = checking.check(url, keys.load(settings.keys_dir), advance)
        found["projections"] = "ok" if difference is None else difference.to_dict()
        found["ok"] = difference is None
    if as_json:
        _print_json(found)
    else:
        _tell(report, found)
    raise typer.Exit(0 if found["ok"] else 1)


def _report(report: Report) -> dict[str, Any]:
    problem = report.problem
    return {
        "ok": problem is None,
        "size": report.size,
        "root": report.root,
        "signed_size": report.signed_size,
        "unsigned_events": max(0, report.size - report.signed_size),
        "checkpoints": report.checkpoints,
        "problem": problem
        and {
            "table": problem.table,
            "leaf_index": problem.leaf_index,
            "stream": problem.stream,
            "message": problem.message,
        },
    }


def _tell(report: Report, found: dict[str, Any]) -> None:
    if report.problem is None:
        out.print(f"[bold green]verified[/bold green]: {report.size} events, root {report.root.hex()}")
        out.print(
            f"signed by the log's own key: events 0 to {report.signed_size - 1}"
            if report.signed_size
            else "nothing signed yet"
        )
        out.print(f"not covered yet: {found['unsigned_events']} events; stored checkpoints: {report.checkpoints}")
    else:
        problem = report.problem
        where = "" if problem.leaf_index is None else f", leaf {problem.leaf_index}"
        stream = "" if problem.stream is None else f", stream {problem.stream}"
        out.print(f"[bold red]NOT AS RECORDED[/bold red]: table {problem.table}{where}{stream}: ", end="")
        out.print(problem.message, markup=False)
    if isinstance(difference := found.get("projections"), dict):
        out.print(f"[bold red]READ TABLE CHANGED[/bold red]: {difference}")
    elif difference:
        out.print("the read tables are what the log makes them")


@app.command()
def prove(
    leaf_index: Annotated[int, typer.Argument(min=0)],
    data_dir: DataDir = None,
) -> None:
    """Print the tlog-proof of one event: that it stands at this index under the newest checkpoint."""
    settings = located(data_dir)
    with psycopg.connect(_database(settings), row_factory=tuple_row) as connection:
        note = _newest_checkpoint(settings, connection)
        size = Checkpoint.parse(Note.parse(note).text).size
        if leaf_index >= size:
            _fail(f"leaf {leaf_index} is not under a checkpoint: the newest covers {size} events")
        proof = TreeReader(connection.cursor()).inclusion_proof(leaf_index, size)
    sys.stdout.write(ProofFile(leaf_index, tuple(proof), note).format())


@app.command("vkey")
def vkey_command(data_dir: DataDir = None) -> None:
    """Print the log's verifier key, for those who verify: pin it, do not ask for it each time."""
    print(_vkey(located(data_dir)))


@app.command()
def checkpoint(data_dir: DataDir = None) -> None:
    """Print the newest checkpoint, a signed note."""
    settings = located(data_dir)
    with psycopg.connect(_database(settings), row_factory=tuple_row) as connection:
        sys.stdout.write(_newest_checkpoint(settings, connection).decode())


def _newest_checkpoint(settings: Settings, connection: psycopg.Connection[Any]) -> bytes:
    """What was signed last: that of the guard file where it lies here, else the newest stored one, up to 2 s older."""
    if (note := read_guard(settings.guard_path)) is not None:
        return note
    row = connection.execute(QUERIES["last_checkpoint"]).fetchone()
    if row is None:
        _fail("nothing was signed yet")
    stored: str = row[1]
    return stored.encode()


@app.command("export-tiles")
def export_tiles_command(
    directory: Annotated[Path, typer.Argument(file_okay=False, metavar="DIR")],
    data_dir: DataDir = None,
) -> None:
    """Write the log as a static site (checkpoint, tiles, entries) that any web server can serve; again: what is new."""
    with _bar("exporting") as advance:
        exported = export_tiles(_database(located(data_dir)), directory, advance)
    out.print(f"{exported.size} events under the checkpoint in {directory}, {exported.written} files written")


@app.command()
def rebuild(
    name: Annotated[str, typer.Argument(help="A projection, as `promise-ledger health` lists them.")],
    data_dir: DataDir = None,
) -> None:
    """Derive one projection again beside the old one, and switch over in one step."""
    settings = located(data_dir)
    if name not in runner.NAMES:
        raise typer.BadParameter(f"there is no projection {name}: {', '.join(runner.NAMES)}")
    with _bar(f"rebuilding {name}") as advance:
        version = runner.rebuild(_database(settings), keys.load(settings.keys_dir), name, advance)
    out.print(f"{name} is served from version {version}")


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A CSV export.")],
    mapping: Annotated[Path, typer.Option("--mapping", exists=True, dir_okay=False, help="How rows become commands.")],
    state: Annotated[Path | None, typer.Option("--state", help="Where progress is kept.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="Key that makes ids safe.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Turn the rows of a CSV export into commands and send them through the queue; goes on where it stopped."""
    with _bar("importing") as advance:
        report = import_file(located(data_dir), file, mapping, state=state, key_file=key_file, progress=advance)
    if as_json:
        _print_json(asdict(report))
    else:
        _tell_import(report)
    raise typer.Exit(0 if report.complete else 1)


def _tell_import(report: ImportReport) -> None:
    counts = [{"command": kind, "recorded": count} for kind, count in report.recorded.items()]
    show(out, f"{report.rows} rows", counts, ("command", "recorded"))
    if report.refused:
        refusals = [{"code": code, "refused": count} for code, count in report.refused.items()]
        show(out, "refused by rules", refusals, ("code", "refused"))
    if report.rejected:
        out.print(f"{report.rejected} rows could not be mapped, see {report.rejects_file}", markup=False)
    for assumption in report.assumptions:
        out.print(f"assumed: {assumption}", markup=False)


@app.command()
def schema(
    as_json: AsJson = False,
    as_asyncapi: Annotated[bool, typer.Option("--asyncapi", help="The AsyncAPI 3.0 document, as JSON.")] = False,
) -> None:
    """The message contract: every command type; with --json the JSON Schema of commands, events and findings."""
    if as_asyncapi:
        _print_json(contract.asyncapi())
    elif as_json:
        _print_json(contract.json_schemas(findings={}))
    else:
        for name in sorted(name for name, command in COMMANDS.items() if not command.INTERNAL):
            out.print(name)


@letters.command("list")
def list_letters(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """The dead letters, oldest first."""
    found = deadletters.dead_letters(located(data_dir).broker_url or "")
    rows = [
        {
            "number": letter.number,
            "buried_at": letter.buried_at,
            "source": letter.source,
            "id": letter.command_id,
            "code": letter.code,
            "reason": letter.reason,
            "subject": letter.subject,
        }
        for letter in found
    ]
    if as_json:
        _print_json(rows)
    else:
        show(out, "dead letters", rows, ("number", "buried_at", "source", "id", "code", "reason"))


@letters.command("replay")
def replay_letter(
    number: Annotated[int, typer.Argument(min=1)],
    body: Annotated[Path | None, typer.Option("--body", exists=True, help="Send this file's content instead.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Send one dead letter's message to the queue again, as it was or with a mended body."""
    content = None if body is None else body.read_bytes()
    deadletters.replay(located(data_dir).broker_url or "", number, body=content)
    out.print(f"dead letter {number} is in the queue again")


def _log_key(text: str) -> Verifier:
    try:
        return Verifier.parse(text)
    except MalformedKey as error:
        raise typer.BadParameter(f"{text!r} is {error}, as `promise-ledger vkey` prints it") from error


def _witness_key(text: str) -> CosignatureVerifier:
    try:
        return CosignatureVerifier.parse(text)
    except MalformedKey as error:
        raise typer.BadParameter(f"{text!r} is {error}, as `promise-ledger witness serve` prints it") from error


@witnesses.command("serve")
def serve_witness(
    state: Annotated[Path, typer.Option("--state", file_okay=False, help="Its key, and what it has cosigned.")],
    logs: Annotated[list[Verifier], typer.Option("--log", parser=_log_key, metavar="VKEY", help="A log's key.")],
    name: Annotated[str | None, typer.Option("--name", help="Its name, fixed at the first start.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8090,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help="Where to fetch each --log, in that order.")
    ] = None,
    every: Annotated[float, typer.Option("--every", min=0.1, metavar="SECONDS", help="How often to fetch.")] = 60.0,
) -> None:
    """Be a witness (c2sp.org/tlog-witness) for the logs named, until Ctrl-C; prints its vkey.

    Logs submit their checkpoints to it, and it fetches by itself from the URLs.
    """
    from deploy.feeding import keep_feeding
    from deploy.witness_http import serve as serve_http

    if urls and (len(urls) != len(logs) or not all(url.startswith(("http://", "https://")) for url in urls)):
        raise typer.BadParameter("give one http:// or https:// address for each --log, or none at all")
    try:
        witness, cosigner = open_witness(state, logs, name)
    except MalformedKey as error:
        raise typer.BadParameter(f"{name!r}: {error}") from error
    print(cosigner.vkey, flush=True)

    def ready(url: str, stop: threading.Event) -> None:
        err.print(f"witness at {url}", markup=False)
        sources = list(zip(logs, urls or (), strict=False))
        if sources:
            threading.Thread(target=keep_feeding, args=(witness, sources, every, stop), daemon=True).start()

    serve_http(witness, host, port, ready)


@witnesses.command("submit")
def submit_to_witness(
    url: Annotated[str, typer.Argument(help="The witness, as it says where it is.")],
    vkey: Annotated[
        CosignatureVerifier, typer.Option("--vkey", parser=_witness_key, metavar="VKEY", help="The witness's key.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Have the newest checkpoint cosigned by a witness, proven from the last one that it saw, and print it."""
    settings = located(data_dir)
    with psycopg.connect(_database(settings), row_factory=tuple_row) as connection:
        note = _newest_checkpoint(settings, connection)
        cosigned = submit(url, vkey, note, TreeReader(connection.cursor()).consistency_proof)
    sys.stdout.write(cosigned.format().decode())


def main() -> None:
    """Run the command; what cannot be done is said in one sentence on stderr, with exit code 1."""
    try:
        app()
    except _BAD_NEWS as error:
        err.print(f"promise-ledger: {' '.join(str(error).split())}", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(sentence: str) -> NoReturn:
    err.print(f"promise-ledger: {sentence}", markup=False)
    raise typer.Exit(1)


def _database(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url


def _vkey(settings: Settings) -> str:
    with psycopg.connect(_database(settings), row_factory=tuple_row) as connection:
        row = connection.execute(QUERIES["read_head"]).fetchone()
    if row is None:
        raise NoLog("this database holds no ledger yet: run `promise-ledger migrate`")
    return Signer(row[3], keys.load(settings.keys_dir).log).vkey


@contextmanager
def _reading(data_dir: Path | None) -> Iterator[tuple[psycopg.Connection[Any], Any]]:
    settings = located(data_dir)
    with psycopg.connect(_database(settings)) as connection:
        connection.read_only = True
        yield connection, queries.keyring(keys.load(settings.keys_dir))


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr where that is a terminal; call it with (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_json(document: Any) -> None:
    options = orjson.OPT_UTC_Z | orjson.OPT_INDENT_2
    sys.stdout.buffer.write(orjson.dumps(document, option=options, default=_spelled) + b"\n")
    sys.stdout.buffer.flush()


def _spelled(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
