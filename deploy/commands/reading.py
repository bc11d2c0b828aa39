"""Ask what was promised, said and done."""

from datetime import datetime
from typing import Annotated, Any

import typer

from deploy.tables import cell, counted, show
from deploy.terminal import (
    AsJson,
    AsOf,
    Customer,
    DataDir,
    KnownAt,
    fail_absent,
    identifier,
    in_order,
    moment,
    out,
    print_json,
    reading,
    tell_rows,
)
from projections import queries
from projections.blast import BlastRadius, Item, blast_radius
from projections.findings.registry import FINDINGS
from projections.scorecard import By, Measure, scorecard

app = typer.Typer()
_MOST_ROWS = 200


def _stream(text: str) -> str:
    """`text`, which may be a stream: a kind and, for most, a colon and an id."""
    identifier(text.removeprefix("assumption:").partition(":")[2] or text)
    return text


@app.command()
def outstanding(
    customer: Customer = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What is still owed: every promise that has not ended, with its three axes."""
    with reading(data_dir) as (connection, keyring):
        rows = queries.outstanding(connection, keyring, customer=customer, as_of=as_of, known_at=known_at)
    columns = ("promise_id", "customer_id", "kind", "owner", "due_at", "standing", "fulfilment", "timeliness", "text")
    tell_rows(as_json, "outstanding promises", rows, columns)


@app.command("customer")
def customer_command(
    customer_id: Annotated[str, typer.Argument(parser=identifier, metavar="ID")],
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """One customer: what is owed, which follow-ups are due, and everything that happened, in order."""
    with reading(data_dir) as (connection, keyring):
        found = queries.customer(connection, keyring, customer_id, as_of=as_of, known_at=known_at)
    if as_json:
        print_json(found)
        return
    if found["erased"] is not None:
        out.print(f"customer {customer_id}: {found['erased']}")
    columns = ("promise_id", "kind", "owner", "due_at", "standing", "fulfilment", "timeliness", "text")
    show(out, f"outstanding promises to {customer_id}", found["outstanding"], columns)
    show(out, "follow-ups due", found["followups"], ("followup_id", "due_at", "owner", "attempts"))
    show(out, "what happened", found["timeline"], ("leaf_index", "occurred_at", "type", "actor", "text"))


@app.command()
def findings(
    customer: Customer = None,
    code: Annotated[str | None, typer.Option("--code", help="Only of this code, such as overdue.")] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What is wrong: open findings, gravest first, each with the event that proves it.

    With --code also what each rests on: of an overpromised promise the lead time or percentile it is held against.
    """
    if code is not None and code not in FINDINGS:
        raise typer.BadParameter(f"there is no finding {code}: {', '.join(FINDINGS)}")
    with reading(data_dir) as (connection, _):
        rows = queries.findings(connection, customer=customer, code=code, as_of=as_of, known_at=known_at)
    columns = ("code", "severity", "subject", "customer_id", "opened_at", "opened_by", "case_id")
    tell_rows(as_json, "findings", rows, columns if code is None else (*columns, "detail"))


@app.command()
def trail(
    stream: Annotated[str, typer.Argument(parser=_stream, metavar="STREAM", help="Such as promise:P-1.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Every event of one stream, straight from the log."""
    with reading(data_dir) as (connection, keyring):
        rows = queries.trail(connection, keyring, stream)
    tell_rows(as_json, stream, rows, ("leaf_index", "occurred_at", "recorded_at", "type", "actor", "data", "text"))
    raise typer.Exit(0 if rows else 1)


@app.command("blast-radius")
def blast_radius_command(
    disclosure_id: Annotated[str, typer.Argument(parser=identifier, metavar="DISCLOSURE")],
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What rests on a disclosure, who was told and who repeated it; exit code 1 where a correction is owed."""
    with reading(data_dir) as (connection, _):
        found = blast_radius(connection, disclosure_id, as_of=as_of, known_at=known_at)
    if found is None:
        fail_absent(f"disclosure {disclosure_id}", as_of, known_at)
    if as_json:
        print_json(found.to_dict())
    else:
        _tell_blast(found)
    raise typer.Exit(1 if found.owed else 0)


def _tell_blast(found: BlastRadius) -> None:
    show(out, found.disclosure_id, [item._asdict() for item in found.items[:_MOST_ROWS]], Item._fields)
    if len(found.items) > _MOST_ROWS:
        out.print(f"and {len(found.items) - _MOST_ROWS} more: --json has all of them")
    false = (
        "not falsified" if found.falsified_at is None else f"known to be false since {cell(found.known_false_since)}"
    )
    out.print(f"{false}; told: {counted(len(found.told), 'customer')}")
    if found.rests_on_falsehoods:
        out.print(f"it rests on falsehoods: {', '.join(found.rests_on_falsehoods)}")
    if found.repeated_by:
        out.print(f"repeated afterwards by: {', '.join(found.repeated_by)}")
    out.print(f"corrections: {found.owed} owed, {found.attempted} attempted, {found.delivered} delivered")


@app.command("scorecard")
def scorecard_command(
    start: Annotated[
        datetime | None, typer.Option("--from", parser=moment, metavar="TIME", help="From this moment on.")
    ] = None,
    stop: Annotated[
        datetime | None,
        typer.Option("--to", parser=moment, metavar="TIME", help="Up to this moment; by default --known-at, or now."),
    ] = None,
    by: Annotated[By | None, typer.Option("--by", help="One card for each.")] = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """How candid we were: every number with its denominator, as docs/scorecard.md defines it."""
    in_order(start, stop)
    with reading(data_dir) as (connection, _):
        measures = scorecard(connection, start=start, stop=stop, by=by, known_at=known_at)
    if as_json:
        measured = [each._asdict() for each in measures]
        print_json({"from": start, "to": stop, "by": by, "known_at": known_at, "measures": measured})
        return
    rows = [_figure(each) for each in measures]
    show(out, "scorecard", rows, [*([by] if by else []), "measure", "value", "counted", "out_of", "note"])


def _figure(measure: Measure) -> dict[str, Any]:
    """One measure as it is shown."""
    group = dict.fromkeys(("owner", "kind", "customer"), measure.group_id)
    name, note = measure.measure.replace("_", " "), "small" if measure.small else None
    return {**group, **measure._asdict(), "measure": name, "value": measure.shown, "note": note}
