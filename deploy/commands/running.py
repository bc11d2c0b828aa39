"""Run it, whole or in parts."""

from importlib import import_module
from typing import Annotated, Final

import typer

from deploy.console import console_address, make_token
from deploy.finding import located, running, settings_for
from deploy.terminal import AsJson, DataDir, print_json

PARTS: Final = ("intake", "projections", "relay")
"""Each has a module of its own, and loads no other's."""

app = typer.Typer()


@app.command()
def up(
    data_dir: DataDir = None,
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the queue; 0 takes a free one.")] = 4222,
    http_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the console and of /health.")] = None,
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


@app.command()
def console(
    data_dir: DataDir = None,
    new: Annotated[
        bool, typer.Option("--new", help="Make another token: every session of the one before ends.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the address of the console, with the token that lets in whoever opens it. It is as good as a password."""
    settings = settings_for(data_dir)
    found = running(settings.data_dir)
    at = f"http://127.0.0.1:{settings.http_port}" if found is None else found["http_url"]
    if new:
        make_token(settings, anew=True)
    address = console_address(settings, at)
    if as_json:
        print_json({"address": address})
    else:
        print(address)
