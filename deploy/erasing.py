"""`promise-ledger erase`: orders an erasure through the queue, and follows it on record until it is completed."""

import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import psycopg
from pydantic import ValidationError

from consumers.client import SyncClient
from ledger.clock import system_clock
from ledger.domain.erasures import (
    ERASURE_ON_RECORD,
    EraseSubject,
    ErasureCompleted,
    ErasureDeferred,
    ErasureRequested,
)
from ledger.domain.errors import describe
from ledger.receipts import Receipt, Refusal
from ledger.settings import Settings
from ledger.storage.entries import decode
from ledger.storage.sql import QUERIES

SOURCE: Final = "operator"
_LOOK_SECONDS: Final = 0.1

Standing = Literal["completed", "requested", "deferred", "refused"]


@dataclass(frozen=True, slots=True)
class Account:
    """How an erasure stands: what defers it, what it destroyed, or why it was refused."""

    customer_id: str
    standing: Standing
    code: str | None = None
    message: str | None = None
    requested_at: datetime | None = None
    completed_at: datetime | None = None
    holds: tuple[str, ...] = ()
    keys: int = 0
    texts: int = 0
    letters: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return asdict(self)


def erase(settings: Settings, command: EraseSubject, patience_seconds: float) -> Account:
    """How the erasure stands once it is completed, deferred or refused, or after `patience_seconds`.

    Ordered before, it is only followed: the order may be given again. Raises what sending a command raises.
    """
    assert settings.database_url is not None
    with SyncClient(settings.broker_url or "", SOURCE) as client:
        answer = client.send(command)
    if not isinstance(answer, Receipt):
        assert isinstance(answer, Refusal), "there is no notepad"
        if answer.code != ERASURE_ON_RECORD:
            return Account(command.customer_id, "refused", answer.code, answer.message)
    deadline = time.monotonic() + patience_seconds
    with psycopg.connect(settings.database_url, autocommit=True, connect_timeout=10) as connection:
        while True:
            account = standing(connection, command.customer_id)
            assert account is not None, "the order is on record"
            if account.standing != "requested" or time.monotonic() >= deadline:
                return account
            time.sleep(_LOOK_SECONDS)


def standing(connection: psycopg.Connection[Any], customer_id: str) -> Account | None:
    """How the erasure of the customer stands on record; None where none was ordered."""
    account = None
    rows = connection.execute(QUERIES["streams"], {"streams": f"erasure:{customer_id}"}).fetchall()
    for number, _, topic, state in rows:
        entry = decode(number - 1, topic, bytes(state))
        at = entry.happened.recorded_at
        match entry.event:
            case ErasureDeferred(holds=holds):
                account = Account(customer_id, "deferred", holds=holds)
            case ErasureRequested():
                account = Account(customer_id, "requested", requested_at=at)
            case ErasureCompleted(keys=keys, texts=texts, letters=letters) if account is not None:
                account = replace(
                    account, standing="completed", completed_at=at, keys=keys, texts=texts, letters=letters
                )
    return account


def order(customer_id: str, grounds: str, actor: str) -> EraseSubject:
    """The command. Raises ValueError with one sentence where a member is not as it must be."""
    try:
        return EraseSubject(actor=actor, occurred_at=system_clock(), customer_id=customer_id, grounds=grounds)
    except ValidationError as error:
        raise ValueError(describe(error)) from None
