"""Send commands through the queue."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from consumers import contract, recording
from consumers.importing.run import ImportReport, import_file
from deploy import noting
from deploy.finding import located, settings_for
from deploy.tables import counted, show
from deploy.terminal import AsJson, DataDir, bar, out, print_json
from ledger.domain.dispatch import PUBLIC
from projections.findings.registry import document

app = typer.Typer()


@app.command()
def record(
    file: Annotated[str, typer.Argument(help="JSON Lines of CloudEvents; - reads standard input.")],
    data_dir: DataDir = None,
) -> None:
    """Send commands through the queue; one receipt or refusal a line on stdout, in the order of the input."""
    settings = located(data_dir)
    refused = 0
    with sys.stdin.buffer if file == "-" else open(file, "rb") as stream:
        for answer in recording.record_file(settings.broker_url or "", stream):
            refused += answer.status not in ("recorded", "checked")
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
    vkey: Annotated[
        list[str] | None,
        typer.Option("--vkey", envvar="LEDGER_VKEY", help="Verify receipts by it; of a log with a new key, by either."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Note down while the tools are away: on this machine's disk first, into the ledger once it can be reached."""
    pad = notepad or settings_for(data_dir).data_dir / "notepad" / "notes.jsonl"
    noted = []
    if deliver and (text, customer, outage, declare, read_back) != (None, None, None, None, False):
        raise typer.BadParameter("--deliver takes no note: without it, what waits is delivered as well")
    if not deliver:
        try:
            words = sys.stdin.read().rstrip("\n") if text == "-" else text
            noted = noting.commands(words, customer=customer, outage=outage, tool=declare, actor=actor, read=read_back)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        noting.note_down(pad, noted)
        if not as_json:  # whatever becomes of the delivery
            out.print("\n".join(f"noted: {command_id}" for command_id, _ in noted))
    told = noting.deliver(pad, data_dir, vkey)
    if as_json:
        print_json({"noted": [command_id for command_id, _ in noted], **asdict(told)})
    else:
        noting.tell(out, pad, told)
    raise typer.Exit(1 if told.refused or told.damaged or (deliver and told.waiting) else 0)


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
    with bar("importing") as advance:
        report = import_file(located(data_dir), file, mapping, state=state, key_file=key_file, progress=advance)
    if as_json:
        print_json(asdict(report))
    else:
        _tell_import(report)
    raise typer.Exit(0 if report.complete else 1)


def _tell_import(report: ImportReport) -> None:
    counts = [{"command": kind, "recorded": count} for kind, count in report.recorded.items()]
    show(out, counted(report.rows, "row"), counts, ("command", "recorded"))
    if report.refused:
        refusals = [{"code": code, "refused": count} for code, count in report.refused.items()]
        show(out, "refused by rules", refusals, ("code", "refused"))
    if report.rejected:
        out.print(f"{counted(report.rejected, 'row')} could not be mapped, see {report.rejects_file}")
    for assumption in report.assumptions:
        out.print(f"assumed: {assumption}")


@app.command()
def schema(
    as_json: AsJson = False,
    as_asyncapi: Annotated[bool, typer.Option("--asyncapi", help="The AsyncAPI 3.0 document, as JSON.")] = False,
) -> None:
    """The message contract: every command type; with --json the JSON Schema of commands, events and findings."""
    if as_asyncapi:
        print_json(contract.asyncapi())
    elif as_json:
        print_json(contract.json_schemas(findings=document()))
    else:
        for name in sorted(PUBLIC):
            out.print(name)
