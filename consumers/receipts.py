"""Answers as their receiver reads them: the receipt whose proofs hold, or the refusal. The counterpart of
`ledger.receipts`, which writes them.

A proof shows that the log, under a signed checkpoint, holds an entry with this hash. The sender does not have the
entry's bytes; whoever reads them later (`promise-ledger trail`, an auditor) can compare, so receipts are worth keeping.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from consumers.cloudevents import Malformed
from ledger.domain.model import utc_moment
from ledger.receipts import ProvenEvent, Receipt, Refusal
from ledger.tlog.errors import TlogError
from ledger.tlog.note import Note, Verifier
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.spelling import hash_of


class Lost(Exception):
    """The ledger had recorded this command and has lost it: it is asked for once more, under the same id.

    `leaf_indexes` are those that its receipt named, in the log as it was then.
    """

    def __init__(self, source: str, command_id: str, leaf_indexes: Sequence[int], message: str) -> None:
        super().__init__(message)
        self.source = source
        self.command_id = command_id
        self.leaf_indexes = tuple(leaf_indexes)

    def to_json(self) -> bytes:
        """The answer to the sender: status `lost`, on the subject of their receipts."""
        answer = {"status": "lost", "source": self.source, "id": self.command_id}
        return orjson.dumps(answer | {"leaf_indexes": self.leaf_indexes, "message": str(self)})


_ROTATED: Final = (
    "it names another key of this log than the pinned one. "
    "Where the log's key was rotated, get the new one from its operator and pin both."
)
_ANOTHER_LOG: Final = (
    "it is of another log than the pinned one: send to that one's queue, "
    "or pin the new key that its operator gives you where it was replaced after a loss."
)


class UnprovenReceipt(Exception):
    """An answer that does not hold: not for this command, not a receipt, or not proven under the pinned key."""


def open_answer(body: bytes, *, source: str, command_id: str, verifiers: Sequence[Verifier]) -> Receipt | Refusal:
    """The answer in `body` to this very command; with `verifiers`, each event of a receipt is proven under one of them.

    Raises `Malformed` where the ledger says that the command was none, `Lost` where it was and is no more, and
    `UnprovenReceipt`.
    """
    try:
        answer = orjson.loads(body)
        if answer["status"] == "malformed":
            raise Malformed(answer["code"], answer["message"], answer["source"], answer["id"])
        if answer["status"] == "lost":
            raise Lost(answer["source"], answer["id"], answer["leaf_indexes"], answer["message"])
        opened = _receipt(answer) if answer["status"] == "recorded" else _refusal(answer)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UnprovenReceipt(f"The answer to {command_id} is neither a receipt nor a refusal.") from error
    if (opened.source, opened.command_id) != (source, command_id):
        raise UnprovenReceipt(f"The answer to {command_id} of {source} is for another command.")
    if verifiers and isinstance(opened, Receipt):
        for event in opened.events:
            _verify(event, verifiers)
    return opened


def _receipt(answer: Any) -> Receipt:
    proofs = [answer["proof"], *(event["proof"] for event in answer["events"][1:])]
    events = tuple(
        ProvenEvent(event["event_id"], event["type"], event["leaf_index"], event["leaf_hash"], proof)
        for event, proof in zip(answer["events"], proofs, strict=True)
    )
    return Receipt(
        answer["source"], answer["id"], events, utc_moment(answer["recorded_at"]), bool(answer.get("witnessed"))
    )


def _refusal(answer: Any) -> Refusal:
    if answer["status"] != "refused":
        raise ValueError("an unknown status")
    return Refusal(answer["source"], answer["id"], answer["code"], answer["message"])


def _verify(event: ProvenEvent, verifiers: Sequence[Verifier]) -> None:
    leaf_hash = hash_of(event.leaf_hash)
    try:
        proof = ProofFile.parse(event.proof)
        if leaf_hash is None or proof.index != event.leaf_index:
            raise UnprovenReceipt(f"The proof of event {event.event_id} is for another leaf than its receipt names.")
        named = {(signature.name, signature.key_id) for signature in Note.parse(proof.checkpoint_note).signatures}
        pinned = [verifier for verifier in verifiers if (verifier.name, verifier.key_id) in named]
        if not pinned and named:
            known = {name for name, _ in named} & {verifier.name for verifier in verifiers}
            raise UnprovenReceipt(
                f"The receipt of event {event.event_id} is not proven under the key: "
                + (_ROTATED if known else _ANOTHER_LOG)
            )
        proof.verify(leaf_hash, (pinned or verifiers)[0])
    except TlogError as error:
        raise UnprovenReceipt(f"The receipt of event {event.event_id} is not proven under the key: {error}.") from error
