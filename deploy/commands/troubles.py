"""Ask what is wrong and who waits: problems, concerns, outages; and how long kept promises took."""

from typing import Annotated, Literal

import typer

from deploy.tables import show
from deploy.terminal import (
    AsJson,
    AsOf,
    Customer,
    DataDir,
    KnownAt,
    fail_absent,
    identifier,
    out,
    print_json,
    reading,
    tell_rows,
)
from projections import queries
from projections.queries import Row

app = typer.Typer()
State = Literal["raised", "acknowledged", "addressed", "confirmed", "withdrawn"]

_CONCERNS = ("concern_id", "customer_id", "problem_id", "state", "severity", "raised_at", "days_open", "cycle", "text")
_MATRIX = ("raised", "acknowledged", "addressed", "confirmed", "withdrawn", "longest_days_open")
_PROBLEMS = ("problem_id", "owner", "severity", "state", "known_since", "cause_class", "control", "text")
_CUSTOMERS = ("customer_id", "disclosure", "known_since", "told_at", "withheld_until", "verified_at", "failed_at")
_UNDISCLOSED = ("problem_id", "customer_id", "owner", "severity", "known_since", "days_known", "withheld_until")
_OUTAGES = ("tool", "declared_at", "ended_at", "notes", "notes_to_clear", "customers_to_follow_up", "list_done")
_NOTES = ("capture_id", "customer_id", "captured_at", "taken_by", "read_back", "cleared_at", "followed_up_at", "text")
_TIMES = (
    "promised_days_p50",
    "actual_days_p50",
    "promised_days_p90",
    "actual_days_p90",
    "later_than_promised",
    "small",
)


@app.command()
def concerns(
    customer: Customer = None,
    problem: Annotated[
        str | None, typer.Option("--problem", parser=identifier, metavar="ID", help="Only those about this problem.")
    ] = None,
    state: Annotated[State | None, typer.Option("--state", help="Only those that stand there.")] = None,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="How many stand where, for each customer and problem.")
    ] = False,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What customers asked and worried about, and how far we have come with each."""
    if matrix and state:
        raise typer.BadParameter("--matrix has every state: leave out --state")
    report = queries.CONCERN_MATRIX if matrix else queries.CONCERNS
    where = {"customer_id": customer, "problem_id": problem} | ({} if matrix else {"state": state})
    with reading(data_dir) as (connection, keyring):
        rows = queries.rows_of(connection, keyring, report, where, as_of=as_of, known_at=known_at)
    tell_rows(as_json, "concerns", rows, ("customer_id", "problem_id", *_MATRIX) if matrix else _CONCERNS)


@app.command()
def problems(
    problem_id: Annotated[
        str | None, typer.Argument(parser=identifier, metavar="[ID]", help="One, with each customer it touches.")
    ] = None,
    undisclosed: Annotated[
        bool, typer.Option("--undisclosed", help="Whom we neither told of one nor lawfully withheld it from.")
    ] = False,
    customer: Annotated[
        str | None,
        typer.Option(
            "--customer",
            parser=identifier,
            metavar="ID",
            help="With --undisclosed: only what this customer does not know.",
        ),
    ] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What is wrong: who owns it, its cause and plan, and how many of the customers it touches know of it."""
    if customer is not None and not undisclosed:
        raise typer.BadParameter("--customer goes with --undisclosed")
    report = queries.UNDISCLOSED_PROBLEMS if undisclosed else queries.PROBLEMS
    where = {"problem_id": problem_id} | ({"customer_id": customer} if undisclosed else {})
    touched: list[Row] = []
    with reading(data_dir) as (connection, keyring):
        rows = queries.rows_of(connection, keyring, report, where, as_of=as_of, known_at=known_at)
        if problem_id is not None and not undisclosed:
            touched = queries.rows_of(
                connection, keyring, queries.AFFECTED_CUSTOMERS, where, as_of=as_of, known_at=known_at
            )
    if undisclosed:
        tell_rows(as_json, "undisclosed problems", rows, _UNDISCLOSED)
        return
    counts = ("concerns_open", "affected", "told", "withheld", "undisclosed", "verified")
    if problem_id is None:
        tell_rows(as_json, "problems", rows, (*_PROBLEMS, *counts))
        return
    if not rows:
        fail_absent(f"problem {problem_id}", as_of, known_at)
    if as_json:
        print_json(rows[0] | {"customers": touched})
        return
    show(out, "problem", rows, (*_PROBLEMS, "steps", "addresses", "concerns_open", "cycle", "resolved_at"))
    show(out, "customers", touched, _CUSTOMERS)


@app.command()
def outages(
    outage_id: Annotated[
        str | None, typer.Argument(parser=identifier, metavar="[ID]", help="One, with the notes on its list.")
    ] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """When our tools were down, and what is left of it: notes to clear, customers to follow up."""
    notes: list[Row] = []
    where = {"outage_id": outage_id}
    with reading(data_dir) as (connection, keyring):
        rows = queries.rows_of(connection, keyring, queries.OUTAGES, where, as_of=as_of, known_at=known_at)
        if outage_id is not None:
            notes = queries.rows_of(connection, keyring, queries.OUTAGE_NOTES, where, as_of=as_of, known_at=known_at)
    if outage_id is None:
        tell_rows(as_json, "outages", rows, ("outage_id", *_OUTAGES))
        return
    if not rows:
        fail_absent(f"outage {outage_id}", as_of, known_at)
    if as_json:
        print_json(rows[0] | {"list": notes})
        return
    show(out, "outage", rows, ("outage_id", *_OUTAGES))
    show(out, "notes", notes, _NOTES)


@app.command("delivery-times")
def delivery_times(
    as_of: AsOf = None, known_at: KnownAt = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Promised against actual days of kept promises, by kind and owner; an empty kind or owner means all of them."""
    with reading(data_dir) as (connection, keyring):
        rows = queries.rows_of(connection, keyring, queries.DELIVERY_TIMES, as_of=as_of, known_at=known_at)
    tell_rows(as_json, "delivery times", rows, ("kind", "owner", "kept", *_TIMES))
