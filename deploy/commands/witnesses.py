"""Be a witness, or have one cosign."""

import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.evidence import newest_checkpoint
from deploy.finding import at_hand
from deploy.submitting import submit
from deploy.terminal import DataDir, connect, err
from deploy.witness import open_witness
from ledger.storage.tree import TreeReader
from ledger.tlog.errors import MalformedKey
from ledger.tlog.note import Verifier
from ledger.tlog.witness import CosignatureVerifier

app = typer.Typer(no_args_is_help=True, help="Cosign the checkpoints of logs, or have one cosigned.")


def _log_key(text: str) -> Verifier:
    try:
        return Verifier.parse(text)
    except MalformedKey as error:
        raise typer.BadParameter(f"{text!r} is {error}, as `promise-ledger vkey` prints it") from error


def _witness_key(text: str) -> CosignatureVerifier:
    try:
        return CosignatureVerifier.parse(text)
    except MalformedKey as error:
        raise typer.BadParameter(f"{text!r} is {error}, as `promise-ledger witness serve` prints it") from error


@app.command("serve")
def serve_witness(
    state: Annotated[Path, typer.Option("--state", file_okay=False, help="Its key, and what it has cosigned.")],
    logs: Annotated[list[Verifier], typer.Option("--log", parser=_log_key, metavar="VKEY", help="A log's key.")],
    name: Annotated[str | None, typer.Option("--name", help="Its name, fixed at the first start.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8090,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help="Where to fetch each --log, in that order.")
    ] = None,
    every: Annotated[float, typer.Option("--every", min=0.1, metavar="SECONDS", help="How often to fetch.")] = 60.0,
) -> None:
    """Be a witness (c2sp.org/tlog-witness) for the logs named, until Ctrl-C; prints its vkey.

    Logs submit their checkpoints to it, and it fetches by itself from the URLs.
    """
    from deploy.feeding import keep_feeding
    from deploy.witness_http import serve as serve_http

    if urls and (len(urls) != len(logs) or not all(url.startswith(("http://", "https://")) for url in urls)):
        raise typer.BadParameter("give one http:// or https:// address for each --log, or none at all")
    try:
        witness, cosigner = open_witness(state, logs, name)
    except MalformedKey as error:
        raise typer.BadParameter(f"{name!r}: {error}") from error
    print(cosigner.vkey, flush=True)

    def ready(url: str, stop: threading.Event) -> None:
        err.print(f"witness at {url}")
        for log, place in zip(logs, urls or (), strict=False):
            threading.Thread(target=keep_feeding, args=(witness, log, place, every, stop), daemon=True).start()

    serve_http(witness, host, port, ready)


@app.command("submit")
def submit_to_witness(
    url: Annotated[str, typer.Argument(help="The witness, as it says where it is.")],
    vkey: Annotated[
        CosignatureVerifier, typer.Option("--vkey", parser=_witness_key, metavar="VKEY", help="The witness's key.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Have the newest checkpoint cosigned by a witness, proven from the last one that it saw, and print it."""
    with at_hand(data_dir) as settings, connect(settings) as connection:
        note = newest_checkpoint(settings, connection)
        cosigned = submit(url, vkey, note, TreeReader(connection.cursor()).consistency_proof)
    sys.stdout.write(cosigned.format().decode())
