"""Dead letters: see them, mend them, send them again, or remove them."""

import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from consumers import deadletters
from consumers.channels import COMMAND_BYTES
from deploy.finding import located
from deploy.foreign import beginning, harmless
from deploy.tables import counted, show
from deploy.terminal import AsJson, DataDir, fail, out, print_json

app = typer.Typer(no_args_is_help=True, help="What could not be parsed or kept failing, with its reason.")


@app.command("list")
def list_letters(
    after: Annotated[int, typer.Option("--after", min=0, metavar="NUMBER", help="Only those above this number.")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """The dead letters, oldest first: at most 1,000 of them as a table, all of them with --json."""
    url = located(data_dir).broker_url or ""
    rows, total = deadletters.listed(url, _row, after=after, most=None if as_json else deadletters.MOST_LISTED)
    if as_json:
        print_json(rows)
        return
    show(out, "dead letters", rows, ("number", "buried_at", "source", "id", "code", "reason"))
    if len(rows) < total:
        more = len(rows) == deadletters.MOST_LISTED
        out.print(
            f"{len(rows)} of {counted(total, 'dead letter')}"
            + (f"; go on with --after {rows[-1]['number']}" if more else "")
        )


@app.command("show")
def show_letter(
    number: Annotated[int, typer.Argument(min=1)], data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """One dead letter: why it is here, its headers and its body, which may hold a customer's words."""
    letter = deadletters.dead_letter(located(data_dir).broker_url or "", number)
    encoding, body = _readable(letter)
    facts = _row(letter) | {
        "command_sequence": letter.command_sequence,
        "deliveries": letter.deliveries,
        "cut": letter.cut,
        "headers_left_out": letter.headers_left_out,
        "body_bytes": letter.body_bytes,
        "body_sha256": letter.body_sha256,
        "body_encoding": encoding,
    }
    if as_json:
        print_json(facts | {"headers": letter.headers, "body": body})
        return
    lines = [f"{name.replace('_', ' ')}: {harmless(str(value))}" for name, value in facts.items()]
    lines += ["", *(f"{harmless(name)}: {harmless(value)}" for name, value in letter.headers.items()), ""]
    out.print("\n".join([*lines, harmless(body)]), soft_wrap=True)


@app.command("remove")
def remove_letter(number: Annotated[int, typer.Argument(min=1)], data_dir: DataDir = None) -> None:
    """Remove one dead letter for good."""
    deadletters.remove(located(data_dir).broker_url or "", number)
    out.print(f"dead letter {number} is removed")


@app.command("replay")
def replay_letter(
    number: Annotated[int, typer.Argument(min=1)],
    body: Annotated[Path | None, typer.Option("--body", exists=True, help="Send this file's content instead.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Send one dead letter's message to the queue again, as it was or with a mended body."""
    content = None if body is None else _limited(body)
    deadletters.replay(located(data_dir).broker_url or "", number, body=content)
    out.print(f"dead letter {number} is in the queue again")


def _limited(path: Path) -> bytes:
    content = beginning(path, COMMAND_BYTES)
    if len(content) > COMMAND_BYTES:
        fail(f"{path} is larger than the {COMMAND_BYTES} bytes that a command may have: nothing was sent")
    return content


def _row(letter: deadletters.DeadLetter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "buried_at": letter.buried_at,
        "source": letter.source,
        "id": letter.command_id,
        "code": letter.code,
        "reason": letter.reason,
        "subject": letter.subject,
    }


def _readable(letter: deadletters.DeadLetter) -> tuple[str, str]:
    """The body as text where it is UTF-8, else in base64."""
    try:
        return "utf-8", letter.body.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(letter.body).decode()
