"""Look after it: update, ask how it is, derive anew."""

import time
from typing import Annotated

import typer
from rich.text import Text

from deploy.finding import at_hand, located
from deploy.migrating import make_ready
from deploy.places import SetupError
from deploy.tables import show
from deploy.terminal import AsJson, DataDir, bar, database, out, print_json
from ledger.storage import keys
from projections import runner
from projections.web.health import health

app = typer.Typer()


@app.command()
def migrate(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Bring database and queue to this version: tables, views, roles, the log itself, streams. Safe to repeat."""
    done = []
    with at_hand(data_dir, broker=True) as settings:
        for line in make_ready(settings):
            done.append(line)
            if not as_json:
                out.print(line)
    if as_json:
        print_json({"done": done})


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
            now = health(database(located(data_dir, broker=False)))
            if now.healthy or time.monotonic() >= deadline:
                break
        except SetupError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.2)
    if as_json:
        print_json(now.to_dict())
    else:
        verdict = ("healthy", "bold green") if now.healthy else ("failing", "bold red")
        out.print(Text.assemble(verdict, f", {now.size} events in the log"))
        for problem in now.problems:
            out.print(f"- {problem}")
        for notice in now.notices:
            out.print(f"- to look at: {notice}")
        show(out, "projections", now.projections, ("name", "version", "position", "lag_events", "reason"))
    raise typer.Exit(0 if now.healthy else 1)


@app.command()
def rebuild(
    name: Annotated[str, typer.Argument(help="A projection, as `promise-ledger health` lists them.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Derive one projection again beside the old one, and switch over in one step."""
    with at_hand(data_dir) as settings:
        if name not in runner.NAMES:
            raise typer.BadParameter(f"there is no projection {name}: {', '.join(runner.NAMES)}")
        with bar(f"rebuilding {name}") as advance:
            version = runner.rebuild(database(settings), keys.secrets_of(settings), name, advance)
    if as_json:
        print_json({"name": name, "version": version})
    else:
        out.print(f"{name} is served from version {version}")
