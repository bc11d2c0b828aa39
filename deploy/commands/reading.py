"""Ask what was promised, said and done."""

from typing import Annotated

import typer

from deploy.tables import show
from deploy.terminal import AsJson, AsOf, DataDir, KnownAt, fail, out, print_json, reading
from projections import queries
from projections.blast import BlastRadius, Item, blast_radius

app = typer.Typer()
_MOST_ROWS = 200


@app.command()
def outstanding(
    customer: Annotated[str | None, typer.Option("--customer", help="Only this customer's.")] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What is still owed: every promise that has not ended, with its three axes."""
    with reading(data_dir) as (connection, keyring):
        rows = queries.outstanding(connection, keyring, customer=customer, as_of=as_of, known_at=known_at)
    if as_json:
        print_json(rows)
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
    with reading(data_dir) as (connection, keyring):
        found = queries.customer(connection, keyring, customer_id, as_of=as_of, known_at=known_at)
    if as_json:
        print_json(found)
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
    with reading(data_dir) as (connection, keyring):
        rows = queries.trail(connection, keyring, stream)
    if as_json:
        print_json(rows)
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
    with reading(data_dir) as (connection, _):
        found = blast_radius(connection, disclosure_id)
    if found is None:
        fail(f"there is no disclosure {disclosure_id}")
    if as_json:
        print_json(found.to_dict())
    else:
        _tell_blast(found)
    raise typer.Exit(1 if found.owed else 0)


def _tell_blast(found: BlastRadius) -> None:
    show(out, found.disclosure_id, [item._asdict() for item in found.items[:_MOST_ROWS]], Item._fields)
    if len(found.items) > _MOST_ROWS:
        out.print(f"and {len(found.items) - _MOST_ROWS} more: --json has all of them")
    false = "not falsified" if found.falsified_at is None else f"known to be false since {found.known_false_since}"
    out.print(f"{false}; told: {len(found.told)} customers")
    if found.rests_on_falsehoods:
        out.print(f"it rests on falsehoods: {', '.join(found.rests_on_falsehoods)}")
    if found.repeated_by:
        out.print(f"repeated afterwards by: {', '.join(found.repeated_by)}")
    out.print(f"corrections: {found.owed} owed, {found.delivered} delivered")
