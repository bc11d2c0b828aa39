"""Commands in waves, so that no effect is on its way before its cause is confirmed.

The queue delivers again what failed, and then an effect may overtake its cause. A refusal is for ever, so the importer
does not let it come to that: commands that concern the same stream, or come from one row, never travel together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consumers.importing.commands import Prepared
from consumers.importing.progress import Progress, Refusal


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ledger said to one command: `code` and `message` are None where it is recorded."""

    code: str | None = None
    message: str | None = None


Send = Callable[[Sequence[Prepared]], Sequence[Answer]]
"""Sends commands through the queue and returns their answers in order, once all are there."""


def waves(commands: Sequence[Prepared]) -> list[list[Prepared]]:
    """The commands in as few waves as keep each behind all earlier ones that it shares a stream or a row with."""
    found: list[list[Prepared]] = []
    next_wave: dict[str | int, int] = {}
    for command in commands:
        touched: tuple[str | int, ...] = (command.line, *command.submission.command.streams())
        wave = max(next_wave.get(name, 0) for name in touched)
        next_wave |= dict.fromkeys(touched, wave + 1)
        if wave == len(found):
            found.append([])
        found[wave].append(command)
    return found


def deliver(commands: Sequence[Prepared], send: Send, progress: Progress, rows: int) -> Progress:
    """The progress once the ledger has answered all of `commands`, which confirms `rows` rows in all."""
    recorded: list[str] = []
    refusals: list[Refusal] = []
    for wave in waves(commands):
        for command, answer in zip(wave, send(wave), strict=True):
            kind, command_id = command.submission.command.TYPE, command.submission.command_id
            if answer.code is None:
                recorded.append(kind)
            else:
                refusals.append(Refusal(command.line, command_id, kind, answer.code, answer.message or ""))
    return progress.after(rows, recorded, refusals)
