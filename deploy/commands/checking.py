"""Ask before you speak."""

import asyncio
import uuid
from typing import Annotated, Any

import orjson
import typer

from consumers import asking
from consumers.cloudevents import Malformed
from deploy.finding import located
from deploy.tables import show
from deploy.terminal import AsJson, DataDir, out, print_json
from ledger.checked import Checked
from ledger.clock import system_clock
from ledger.domain.disclosures import CheckDisclosure, MakeDisclosure

app = typer.Typer()
_SOURCE = "check"
_PATIENCE_SECONDS = 10.0


@app.command()
def check(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help="A CloudEvent, or just the data of disclosure.make; - reads stdin.")
    ],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Which findings saying this would raise, recording nothing; exit code 1 where there are any, or it is refused."""
    try:
        answer = asyncio.run(_ask(located(data_dir).broker_url or "", _question(file.read())))
    except Malformed as malformed:
        raise typer.BadParameter(malformed.reason) from malformed
    if as_json:
        print_json(answer.model_dump())
    else:
        _tell(answer)
    raise typer.Exit(0 if answer.clean else 1)


def _question(body: bytes) -> bytes:
    """The CloudEvent that asks what is in `body`; a `disclosure.make` is asked about as it is. Raises `Malformed`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("not-json", f"This is not JSON: it breaks at character {error.pos}.") from None
    if not isinstance(value, dict):
        raise Malformed("not-an-event", "This is neither a CloudEvent nor the data of one: it must be an object.")
    if "specversion" not in value:
        value = {"specversion": "1.0", "source": _SOURCE, "time": system_clock(), "data": value}
        value |= {"id": f"check-{uuid.uuid4()}", "type": MakeDisclosure.TYPE}
    if value.get("type") == MakeDisclosure.TYPE:
        value["type"] = CheckDisclosure.TYPE
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


async def _ask(broker_url: str, question: bytes) -> Checked:
    connection = await asking.connected(broker_url)
    try:
        return await asking.check(connection, question, _PATIENCE_SECONDS)
    finally:
        await connection.close()


def _tell(answer: Checked) -> None:
    if answer.refused is not None:
        out.print(f"it would be refused, {answer.refused.code}: {answer.refused.message}")
        return
    columns = ("code", "severity", "subject", "opened_at", "rule")
    found: dict[str, Any] = answer.model_dump()
    show(out, "findings at once", found["findings"], columns)
    show(out, "later, unless something comes before", found["later"], columns)
    show(out, "closed or prevented by it", found["closes"], columns)
    if answer.closes_more:
        out.print(f"and {answer.closes_more} more are closed")
