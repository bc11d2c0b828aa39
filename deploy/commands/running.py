"""Run it, whole or in parts."""

from importlib import import_module
from typing import Annotated, Final

import typer

from deploy.finding import located, settings_for
from deploy.terminal import DataDir

PARTS: Final = ("intake", "projections", "relay")
"""Each has a module of its own, and loads no other's."""

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
    if part not in PARTS:
        raise typer.BadParameter(f"there is no part {part}: {', '.join(PARTS)}")
    getattr(import_module(f"deploy.serve_{part}"), f"serve_{part}")(located(data_dir))
