"""Run it and look after it."""

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text

from deploy.finding import located, settings_for
from deploy.migrating import make_ready
from deploy.places import SetupError
from deploy.tables import show
from deploy.terminal import AsJson, DataDir, bar, database, out, print_json
from ledger.settings import Settings
from ledger.storage import keys
from projections import runner
from projections.web.health import health

app = typer.Typer()


@app.command()
def up(
    data_dir: DataDir = None,
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the queue; 0 takes a free one.")] = 4222,
    http_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of /health and /metrics.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Play the demo story through the queue.")] = False,
) -> None:
    """Run the whole ledger on this machine: PostgreSQL, NATS, intake, timer, projections, relay. Until Ctrl-C."""
    from deploy.up import up as run_up

    raise typer.Exit(run_up(settings_for(data_dir, http_port=http_port), nats_port=nats_port, demo=demo))


@app.command(hidden=True)
def serve(part: str, data_dir: DataDir = None) -> None:
    """Run one part: intake (with the timer), projections (with HTTP) or relay (what is announced on the queue)."""
    from deploy.relaying import serve_relay
    from deploy.serve import serve_intake, serve_projections

    parts: dict[str, Callable[[Settings], None]] = {
        "intake": serve_intake,
        "projections": serve_projections,
        "relay": serve_relay,
    }
    if part not in parts:
        raise typer.BadParameter(f"there is no part {part}: {', '.join(parts)}")
    parts[part](located(data_dir))


@app.command()
def migrate(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Bring database and queue to this version: tables, views, roles, the log itself, streams. Safe to repeat."""
    done = []
    for line in make_ready(located(data_dir)):
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
    settings = located(data_dir, broker=False)
    if name not in runner.NAMES:
        raise typer.BadParameter(f"there is no projection {name}: {', '.join(runner.NAMES)}")
    with bar(f"rebuilding {name}") as advance:
        version = runner.rebuild(database(settings), keys.secrets_of(settings), name, advance)
    if as_json:
        print_json({"name": name, "version": version})
    else:
        out.print(f"{name} is served from version {version}")
