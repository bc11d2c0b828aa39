"""Every stream, subject, durable and header name of the message queue: here once, and typed.

Subjects never carry ids of customers, promises or cases: metrics and permissions are kept by subject.
"""

from dataclasses import dataclass
from typing import Final

COMMAND_BYTES: Final = 64 * 1024
"""The largest command (its body) that is taken."""
MESSAGE_BYTES: Final = 4 * COMMAND_BYTES
"""The largest message that the command stream stores; above it NATS itself tells the sender. A dead letter holds less
of it (see `deadletters`): escaped and in base64 it must stay below the 1 MiB that one NATS message may have."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One JetStream stream, as `provision` creates it. Sizes in bytes, ages in seconds, 0 = no limit."""

    name: str
    subjects: tuple[str, ...]
    description: str
    max_bytes: int
    max_age_seconds: int = 0
    max_message_bytes: int = -1
    work_queue: bool = False
    drop_oldest: bool = False
    atomic_batches: bool = False
    duplicate_window_seconds: float = 1.0
    """How long NATS knows the `Nats-Msg-Id` of a message, and stores it once. The inbox finds repeated commands, for
    ever; a window for those would only swallow a repeated one's answer."""


COMMANDS: Final = Stream(
    name="LEDGER_COMMANDS",
    subjects=("ledger.commands.>",),
    description="Commands for the promise ledger. A command leaves the stream once it is answered.",
    max_bytes=4 * 2**30,
    max_message_bytes=MESSAGE_BYTES,
    work_queue=True,
)
RECEIPTS: Final = Stream(
    name="LEDGER_RECEIPTS",
    subjects=("ledger.receipts.>",),
    description="Receipts and refusals for each source. The oldest go first: the inbox gives any of them again.",
    max_bytes=4 * 2**30,
    max_age_seconds=7 * 24 * 3600,
    drop_oldest=True,
    atomic_batches=True,
)
DEADLETTERS: Final = Stream(
    name="LEDGER_DEADLETTERS",
    subjects=("ledger.deadletters",),
    description="What could not be parsed or kept failing, with its bytes and the reason, for 90 days at most.",
    max_bytes=2**30,
    max_age_seconds=90 * 24 * 3600,
)
FINDINGS: Final = Stream(
    name="LEDGER_FINDINGS",
    subjects=("ledger.findings.>",),
    description="Findings that opened and closed. The oldest go first: audit.finding_history has them all.",
    max_bytes=2**28,
    max_age_seconds=30 * 24 * 3600,
    drop_oldest=True,
    duplicate_window_seconds=3600.0,
)
EVENTS: Final = Stream(
    name="LEDGER_EVENTS",
    subjects=("ledger.events.>",),
    description="Every event of the log, in its order. The oldest go first: the log has them all.",
    max_bytes=2**30,
    max_age_seconds=7 * 24 * 3600,
    drop_oldest=True,
    duplicate_window_seconds=120.0,
)
ESCALATIONS: Final = Stream(
    name="LEDGER_ESCALATIONS",
    subjects=("ledger.escalations",),
    description="Whom overdue promises are called out to. The oldest go first.",
    max_bytes=2**26,
    max_age_seconds=30 * 24 * 3600,
    drop_oldest=True,
    duplicate_window_seconds=3600.0,
)
STREAMS: Final = (COMMANDS, RECEIPTS, DEADLETTERS, FINDINGS, EVENTS, ESCALATIONS)

INTAKE_DURABLE: Final = "intake"
"""The durable pull consumer of COMMANDS; any number of intakes may share it."""
DEADLETTER_SUBJECT: Final = "ledger.deadletters"

FINDING_OPENED: Final = "ledger.findings.opened"
FINDING_CLOSED: Final = "ledger.findings.closed"
ESCALATION_SUBJECT: Final = "ledger.escalations"
"""Subject and type of the CloudEvent alike."""

TIMER_SOURCE: Final = "timer"
"""The source of the ledger's own announcements; refused in a command from the queue."""
REPLY_TO: Final = "reply_to"
CONTENT_TYPE: Final = "content-type"
STRUCTURED: Final = "application/cloudevents+json"
BINARY_PREFIX: Final = "ce-"


CHECK_REQUESTS: Final = "ledger.requests.disclosure.check"
"""Where `disclosure.check` is asked: plain request and reply, in no stream, for nothing was said yet."""
CHECK_QUEUE: Final = "checks"
"""The queue group of those who answer: each question goes to one of them."""


def command_subject(command_type: str) -> str:
    """The subject for commands of one type: `ledger.commands.promise.make`."""
    return f"ledger.commands.{command_type}"


def own_command_subject(source: str, command_type: str) -> str:
    """The subject for commands of one source alone: `ledger.commands.from.crm.promise.make`.

    Permissions in NATS are by subject: who may publish nowhere else cannot speak in another source's name.
    """
    return f"ledger.commands.from.{_token(source)}.{command_type}"


def events_subject(topic: str) -> str:
    """The subject on which events of one kind are published: `ledger.events.promise.made`."""
    return f"ledger.events.{topic}"


def receipts_subject(source: str) -> str:
    """The subject of the durable answers to one source, as one token.

    A dot in a source would make two tokens of it (and `a..b` an illegal subject), so it is written `%2E`; `%` is not
    allowed in a source, so no two sources share a subject: `crm.eu` reads `ledger.receipts.crm%2Eeu`.
    """
    return "ledger.receipts." + _token(source)


def _token(source: str) -> str:
    return source.replace(".", "%2E")
