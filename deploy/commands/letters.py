"""Dead letters: see them, mend them, send them again."""

from pathlib import Path
from typing import Annotated

import typer

from consumers import deadletters
from deploy.finding import located
from deploy.tables import show
from deploy.terminal import AsJson, DataDir, out, print_json

app = typer.Typer(no_args_is_help=True, help="What could not be parsed or kept failing, with its reason.")


@app.command("list")
def list_letters(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """The dead letters, oldest first."""
    found = deadletters.dead_letters(located(data_dir).broker_url or "")
    rows = [
        {
            "number": letter.number,
            "buried_at": letter.buried_at,
            "source": letter.source,
            "id": letter.command_id,
            "code": letter.code,
            "reason": letter.reason,
            "subject": letter.subject,
        }
        for letter in found
    ]
    if as_json:
        print_json(rows)
    else:
        show(out, "dead letters", rows, ("number", "buried_at", "source", "id", "code", "reason"))


@app.command("replay")
def replay_letter(
    number: Annotated[int, typer.Argument(min=1)],
    body: Annotated[Path | None, typer.Option("--body", exists=True, help="Send this file's content instead.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Send one dead letter's message to the queue again, as it was or with a mended body."""
    content = None if body is None else body.read_bytes()
    deadletters.replay(located(data_dir).broker_url or "", number, body=content)
    out.print(f"dead letter {number} is in the queue again")
