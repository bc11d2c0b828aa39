"""Rebuild: the next version of a projection is derived beside the live one, then shown instead of it in one step."""

from collections.abc import Sequence
from functools import partial

from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.collecting import rare_collections
from ledger.storage.keys import Secrets
from projections.applying import Applier, Progress
from projections.filling import fill
from projections.log import Log
from projections.versions import (
    Definition,
    NotInstalled,
    add_indexes,
    among_readers,
    connect,
    create,
    drop_unfinished,
    exclusive,
    lock,
    switch,
)


def rebuild(
    url: str, secrets: Secrets, definitions: Sequence[Definition], progress: Progress = lambda done, total: None
) -> dict[str, int]:
    """Derive `definitions` again from the log and switch each over; returns the versions that are live now.

    Readers see the old versions until the switch. Several at once decode the log once. Raises Stopped where an event
    cannot be applied: the old version stays live. Crash at any point: the same, and the next rebuild clears up.
    """
    with connect(url, "rebuild") as writer, connect(url, "rebuild reader") as reader, rare_collections():
        exclusive(writer)
        numbers = {}
        for definition in definitions:
            drop_unfinished(writer, definition.name)
            with writer.transaction(), writer.cursor() as cursor:
                numbers[definition.name] = create(cursor, definition, live=False)
        log = Log(reader)
        size = log.size()
        fill(url, log, secrets, numbers, dict.fromkeys(definitions, size), progress)
        for definition in definitions:
            with writer.transaction(), writer.cursor() as cursor:
                add_indexes(cursor, definition, numbers[definition.name])
        fill(url, log, secrets, numbers, dict.fromkeys(definitions, log.size()), progress, size)  # what came meanwhile
        applier = Applier(writer, log, secrets, numbers)
        for definition in definitions:
            among_readers(partial(_show, writer, log, applier, definition, numbers[definition.name]))
    return numbers


def _show(writer: Connection[TupleRow], log: Log, applier: Applier, definition: Definition, number: int) -> None:
    with writer.transaction(), writer.cursor() as cursor:
        live = lock(cursor, definition.name)  # its runner waits, so that the new one is not behind it
        if live is None:
            raise NotInstalled(f"the projection {definition.name} does not exist yet: run `promise-ledger migrate`")
        while applier.advance(definition, min(live.position, log.size())):  # shorter where its tail was lost
            pass
        switch(cursor, definition, live.number, number)
