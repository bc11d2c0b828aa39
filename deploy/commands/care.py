"""Look after it: update, ask how it is, derive anew."""

import time
from typing import Annotated

import typer
from rich.text import Text

from deploy.finding import at_hand, located
from deploy.migrating import make_ready
from deploy.places import SetupError
from deploy.tables import counted, show
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
        out.print(Text.assemble(verdict, "" if now.size is None else f", {counted(now.size, 'event')} in the log"))
        for problem in now.problems:
            out.print(f"- {problem}")
        for notice in now.notices:
            out.print(f"- to look at: {notice}")
        show(out, "projections", now.projections, ("name", "version", "position", "lag_events", "reason"))
    raise typer.Exit(0 if now.healthy else 1)


@app.command()
def rebuild(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As `promise-ledger health` lists them.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Derive projections again beside the old ones, and switch each over in one step. The log is read once."""
    for name in names:
        if name not in runner.NAMES:
            raise typer.BadParameter(f"there is no projection {name}: {', '.join(runner.NAMES)}")
    with at_hand(data_dir) as settings, bar(f"rebuilding {', '.join(names)}") as advance:
        versions = runner.rebuild_all(database(settings), keys.secrets_of(settings), names, advance)
    if as_json:
        print_json([{"name": name, "version": version} for name, version in versions.items()])
        return
    for name, version in versions.items():
        out.print(f"{name} is served from version {version}")
