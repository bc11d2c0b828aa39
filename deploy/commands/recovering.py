"""After a restore, a lost guard, or two services with one key: what happened, and the way back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy import recovering
from deploy.finding import NoQueue, at_hand
from deploy.recovering import Case
from deploy.tables import counted
from deploy.terminal import AsJson, DataDir, bar, fail, out, print_json
from ledger.domain.erasures import ErasureDeferred, ErasureRequested
from ledger.recovery.diagnosis import diagnose

app = typer.Typer(help=__doc__)
Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against", metavar="FILE|SITE|URL", help="A checkpoint that somebody kept; may be given several times."
    ),
]
Sites = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SITE]...", help="Directories that `export-tiles` wrote, or addresses of the log's tiles."),
]
Grounds = Annotated[str, typer.Option("--grounds", help="Why; on record for ever: a ticket, nothing about a person.")]
ERASURES = frozenset({ErasureDeferred.TOPIC, ErasureRequested.TOPIC})
WithoutQueue = Annotated[
    bool, typer.Option("--without-queue", help="Do not look at receipts and events on the queue, which is away.")
]


@contextmanager
def _case(
    data_dir: Path | None, without_queue: bool | None, against: list[str] | None = None, sites: list[str] | None = None
) -> Iterator[Case]:
    """The case at hand; `without_queue` is None where the command cannot do without it."""
    with ExitStack() as stack:
        try:
            settings = stack.enter_context(at_hand(data_dir, broker=not without_queue))
        except NoQueue as error:
            if without_queue is None:
                raise
            fail(f"{error}, or do without it: --without-queue")
        if without_queue:
            settings = settings.model_copy(update={"broker_url": None})
        yield stack.enter_context(recovering.opened_case(settings, kept=against or (), sites=sites or ()))


@app.callback(invoke_without_command=True)
def recover(
    context: typer.Context,
    against: Against = None,
    without_queue: WithoutQueue = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what happened to the log and which command fits. Changes nothing; exit code 1 where something is wrong."""
    if context.invoked_subcommand is not None:
        return
    with _case(data_dir, without_queue, against) as case:
        diagnosis = diagnose(case.found)
        lost = _lost(case)
    if as_json:
        print_json(
            {
                "ok": not diagnosis.problems,
                "found": diagnosis.found,
                "problems": diagnosis.problems,
                "commands": diagnosis.commands,
                "lost": lost,
            }
        )
    else:
        out.print("\n".join(diagnosis.found))
        out.print("\n".join(f"WRONG: {each}" for each in diagnosis.problems) or "all is well", style="bold")
        out.print("\n".join(f"  {each}" for each in diagnosis.commands))
    raise typer.Exit(1 if diagnosis.problems else 0)


@app.command()
def guard(
    grounds: Grounds,
    against: Against = None,
    without_queue: WithoutQueue = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """The guard file is lost, damaged or old and the database is whole: write it from all that anybody kept."""
    with _case(data_dir, without_queue, against) as case:
        case.recovery(grounds).guard()
    _tell({"recovered": "guard", "lost": []}, as_json)


@app.command()
def entries(
    grounds: Grounds,
    sites: Sites = None,
    against: Against = None,
    without_queue: WithoutQueue = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """The database is an older copy: bring the missing entries back from copies, exactly as they were signed.

    The words of those events were not in the entries: they stay lost, on record.
    """
    with _case(data_dir, without_queue, against, sites) as case:
        with bar("reading copies"):
            missing = case.missing()
        case.recovery(grounds).entries(missing)
    done = {"recovered": "entries", "first": missing.first, "size": missing.size, "left_out": missing.left_out}
    _tell(done | {"lost": []}, as_json)


@app.command()
def anew(
    grounds: Grounds,
    origin: Annotated[str, typer.Option("--origin", help="What the log is called from now on.")],
    sites: Sites = None,
    against: Against = None,
    without_queue: WithoutQueue = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Nobody has the missing entries: the log ends, and what there is goes on as another one, under a new key.

    What SITEs have is brought back first. Then the senders are asked for what is lost, unless --without-queue.
    """
    with _case(data_dir, without_queue, against, sites) as case:
        missing = case.missing(strict=False)
        erasures = case.lost_erasures(missing.size)
        vkey = case.recovery(grounds).anew(origin, missing, [*erasures.values()])
        size, rebuilt = recovering.carried_on(case), recovering.rebuild_ahead(case)
        if not without_queue:
            case = recovering.still_lost(case)
            case.ask_again()
        lost = [] if without_queue else _lost(case)
    done = {"recovered": "anew", "vkey": vkey, "size": size, "rebuilt": rebuilt}
    ordered = [{"leaf_index": leaf, "customer_id": each.customer_id} for leaf, each in erasures.items()]
    _tell(done | {"erasures": ordered, "lost": lost}, as_json)


@app.command("lost")
def lost_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Ask the senders again for each command that has a receipt for events which the log does not hold."""
    with _case(data_dir, None) as case:
        known = replace(case.found, unrelated=())  # nothing is signed here, whoever made up a later key
        if any(each != "promise-ledger recover lost" for each in diagnose(known).commands):
            fail("the log itself is not in order yet: run `promise-ledger recover`")
        case.ask_again()
        lost = _lost(case)
    _tell({"recovered": "lost", "lost": lost}, as_json)


def _lost(case: Case) -> list[dict[str, Any]]:
    return [
        {
            "source": source,
            "id": command_id,
            "leaf_indexes": [event.leaf_index for event in events],
            "types": [event.type for event in events],
        }
        for (source, command_id), events in sorted(case.lost.items())
    ]


def _tell(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    if "vkey" in done:
        out.print(
            f"the log goes on with {counted(done['size'], 'event')}, signed under {done['vkey']}: hand this key out"
        )
    elif done["recovered"] != "lost":
        if done.get("left_out"):
            out.print(f"left out: {done['left_out']} published entries that are not those which receipts prove")
        out.print(f"recovered: {done['recovered']}; `promise-ledger trail log` has the record, now run verify")
    ordered = {each["leaf_index"]: each["customer_id"] for each in done.get("erasures", ())}
    for leaf_index, customer_id in ordered.items():
        out.print(f"ordered again: the erasure of customer {customer_id}, which was leaf {leaf_index}")
    for each in done["lost"]:
        out.print(f"asked for again: {each['id']} of {each['source']}")
        if not ordered.keys() & each["leaf_indexes"] and any(map(ERASURES.__contains__, each["types"])):
            out.print("  it ordered an erasure: `promise-ledger erase` it again, once all senders have sent again")
