"""Commands through the message queue, and what the ledger answered."""

from collections.abc import Sequence

import orjson

from consumers.asking import NoAnswer
from consumers.importing.commands import Prepared
from consumers.importing.delivery import Answer, Send
from consumers.importing.errors import ImportProblem
from consumers.recording import LineAnswer, record_file
from ledger.settings import Settings


def through_queue(settings: Settings) -> Send:
    """Sends through the queue of `settings`; raises `ImportProblem` where queue or ledger stay silent."""
    if settings.broker_url is None:
        raise ImportProblem("No queue to send to: start `promise-ledger up`, or set LEDGER_BROKER_URL.")
    broker_url = settings.broker_url

    def send(commands: Sequence[Prepared]) -> list[Answer]:
        try:
            return [_answer(line) for line in record_file(broker_url, [command.body for command in commands])]
        except NoAnswer as silence:
            raise ImportProblem(f"{silence} Import the same again to go on: what was confirmed is noted.") from None

    return send


def _answer(line: LineAnswer) -> Answer:
    if line.status == "recorded":
        return Answer()
    said = orjson.loads(line.body)
    return Answer(said["code"], said["message"])
