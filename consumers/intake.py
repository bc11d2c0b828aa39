"""The intake: commands from the queue in batches, each appended, answered and acknowledged, or dead-lettered.

Two stages, so that a batch is appended while the answers of the one before it go out:

    fetch -> parse -> append (one worker thread, one batch at a time)
                        -> sign, prove, dead-letter, answer, acknowledge (one batch at a time)

What a crash leaves, in the order of the durable steps: before the commit, nothing; after it, the messages are delivered
again and the inbox gives the first answer; after the durable answer, they get that answer a second time. Nothing is
acknowledged before its answer, and its dead letter, are stored; what cannot be stored comes again, alone.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import eventsourcing.persistence
import nats.errors
import psycopg
import structlog
from faststream.middlewares import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.message import NatsMessage
from nats.aio.msg import Msg

from consumers.answers import Answer, NotStored, deliver
from consumers.asking import NoAnswer, check
from consumers.channels import COMMANDS, INTAKE_DURABLE, command_subject, own_command_subject
from consumers.cloudevents import Malformed, event_of, parse
from consumers.connection import LedgerClient, Progress, connection_of
from consumers.deadletters import Unburied, bury
from consumers.running import unless, where
from ledger.app import Appended, Ledger, Submission
from ledger.checked import Unavailable
from ledger.domain.disclosures import CheckDisclosure
from ledger.key_provider import KeyProblem
from ledger.settings import MAX_BATCH, Settings
from ledger.storage.signer import Fork

T = TypeVar("T")
Grave = tuple[int, datetime]
"""The number of a message in its stream and when it came: a stream that is made anew counts from 1 again."""
_ASK_ONCE_SECONDS: Final = 0.001
"""FastStream asks again for the rest of a batch within this time; a fetch of ours takes longer, and has lingered."""
DELIVERIES: Final = 5
"""Deliveries after which a command that fails by itself, while others do not, goes to the dead letters."""
LONGEST_DELAY_SECONDS: Final = 30.0
CHECK_SECONDS: Final = 5.0
"""How long an answer to a question is waited for, before its sender is told that there is none."""
_AWAY: Final = (
    KeyProblem,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    eventsourcing.persistence.OperationalError,
    eventsourcing.persistence.InterfaceError,
)
_log = structlog.get_logger("intake")


@dataclass(frozen=True, slots=True)
class Job:
    """One message and the command in it."""

    message: Msg
    submission: Submission


@dataclass(frozen=True, slots=True)
class Unfit:
    """One message that no command can be made of, or that keeps failing, and what its sender is told."""

    message: Msg
    why: Malformed


@dataclass(frozen=True, slots=True)
class Committed:
    """Jobs that are committed and not yet answered."""

    appended: Appended
    jobs: Sequence[Job]


class Intake:
    """Takes batches of messages, one after the other; `drained` waits for the last of them."""

    def __init__(self, ledger: Ledger, connection: LedgerClient, progress: Progress, stop: asyncio.Event) -> None:
        self._ledger = ledger
        self._connection = connection
        self._progress = progress
        self._stop = stop
        self._appending = ThreadPoolExecutor(1, "append")
        self._answering = ThreadPoolExecutor(1, "answer")
        self._taking = asyncio.Lock()
        self._settling: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._appends = 0
        self._failing: dict[int, int] = {}  # stream sequence -> how many appends there had been when it first failed
        self._failures = 0  # of the ledger as a whole, in a row
        self._failure: str | None = None  # why the ledger as a whole does not get on
        self._waiting: dict[Grave, tuple[str, float]] = {}  # why it waits, and when it should have come; oldest first
        self._buried: set[Grave] = set()  # in the dead letters, and not yet acknowledged
        self.fork: Fork | None = None

    async def take(self, messages: Sequence[Msg]) -> None:
        """The batch is committed and its answers are on their way. What fails is delivered again, never lost."""
        async with self._taking:
            jobs, questions, unfit = _sorted(messages)
            for job in questions:  # nobody waits for their answers
                self._asking.add(asking := asyncio.create_task(self._ask(job)))
                asking.add_done_callback(self._asking.discard)
            appended = await self._append(jobs, unfit) if jobs else []
            await self._settled()
            self._settling = asyncio.create_task(self._settle(appended, unfit))

    async def drained(self) -> None:
        """The batch in flight is answered."""
        async with self._taking:
            await self._settled()
            await asyncio.gather(*self._asking)

    async def flush(self) -> None:
        """The newest checkpoint is stored; the ledger asks to be called once a second."""
        with suppress(*_AWAY):  # the next batch says so
            await self._in(self._answering, self._ledger.flush)
        self._tell()

    def close(self) -> None:
        """The worker threads are gone."""
        self._appending.shutdown()
        self._answering.shutdown()

    async def _append(self, jobs: Sequence[Job], unfit: list[Unfit]) -> list[Committed]:
        try:
            appended = await self._in(self._appending, self._ledger.append, [job.submission for job in jobs])
        except _AWAY as error:
            await self._back_off([job.message for job in jobs], error)
            return []
        except Fork as fork:
            self._end_with(fork)
            return []
        except Exception as error:
            _log.error("a batch failed, its commands are tried one by one", commands=len(jobs), error=where(error))
            return await self._one_by_one(jobs, unfit)
        self._got_on()
        return [Committed(appended, jobs)]

    async def _one_by_one(self, jobs: Sequence[Job], unfit: list[Unfit]) -> list[Committed]:
        """What can be appended is, and the rest waits; so one bad command never harms its neighbours."""
        done: list[Committed] = []
        failed: list[Job] = []
        for number, job in enumerate(jobs):
            try:
                appended = await self._in(self._appending, self._ledger.append, [job.submission])
            except _AWAY as error:
                await self._back_off([job.message for job in jobs[number:]] + [job.message for job in failed], error)
                return done
            except Fork as fork:
                self._end_with(fork)
                return done
            except Exception as error:
                _log.error("a command failed", sequence=_sequence(job.message), error=where(error))
                failed.append(job)
            else:
                self._got_on()
                done.append(Committed(appended, [job]))
        if not done:
            self._failure = "no command can be appended, see the log"
            self._tell()
        for job in failed:
            await self._later_or_never(job, unfit)
        return done

    async def _later_or_never(self, job: Job, unfit: list[Unfit]) -> None:
        """Dead-letter a command that kept failing while others were appended: else it is the ledger that fails."""
        deliveries = job.message.metadata.num_delivered
        others = self._appends - self._failing.setdefault(_sequence(job.message), self._appends)
        if deliveries < DELIVERIES or not others:
            await _again([job.message], _delay(deliveries))
            return
        sentence = "The ledger failed at this command and keeps it for its operators: do not send it again."
        known = job.submission
        unfit.append(Unfit(job.message, Malformed("keeps-failing", sentence, known.source, known.command_id)))

    async def _settle(self, committed: Sequence[Committed], unfit: Sequence[Unfit]) -> None:
        """The good are answered and the unfit dead-lettered; neither waits for the other."""
        await asyncio.gather(self._answer(committed), self._bury(unfit))

    async def _answer(self, committed: Sequence[Committed]) -> None:
        try:
            answers = [answer for part in committed for answer in await self._answers(part)]
        except Fork as fork:
            self._end_with(fork)
        except Exception as error:
            await self._back_off([job.message for part in committed for job in part.jobs], error)
        else:
            await self._deliver(answers)

    def _end_with(self, fork: Fork) -> None:
        """Nothing more is taken: the messages stay in the queue until an operator has decided."""
        self.fork = fork
        self._stop.set()

    async def _ask(self, question: Job) -> None:
        """The question is answered by the read side, as it would be without the stream; nothing is appended."""
        source, command_id, command, _ = question.submission
        try:
            body = (await check(self._connection, event_of(command, source, command_id), CHECK_SECONDS)).to_json()
        except Exception as error:
            silent = isinstance(error, NoAnswer)
            if not silent:
                _log.error("a question failed", sequence=_sequence(question.message), error=where(error))
            code, sentence = ("no-answer", str(error)) if silent else ("failed", "The ledger failed at this question.")
            body = Unavailable(source=source, id=command_id, code=code, message=sentence).to_json()
        await self._deliver([Answer(question.message, source, body)])

    async def _bury(self, unfit: Sequence[Unfit]) -> None:
        ends = await asyncio.gather(*(self._end(one) for one in unfit), return_exceptions=True)
        await self._deliver([end for end in ends if isinstance(end, Answer)])
        stuck = [(one.message, end) for one, end in zip(unfit, ends, strict=True) if isinstance(end, BaseException)]
        if stuck:
            error = stuck[0][1]
            why = str(error) if isinstance(error, Unburied) else where(error)
            await self._wait([message for message, _ in stuck], why)

    async def _deliver(self, answers: Sequence[Answer]) -> None:
        undone: Sequence[Answer] = ()
        try:
            await deliver(self._connection, answers)
        except NotStored as error:
            undone = error.answers
            await self._wait([answer.message for answer in undone], str(error))
        except Exception as error:
            undone = answers
            await self._back_off([answer.message for answer in undone], error)
        for grave in {_grave(answer.message) for answer in answers} - {_grave(answer.message) for answer in undone}:
            self._buried.discard(grave)
            self._waiting.pop(grave, None)
        self._tell()

    async def _wait(self, messages: Sequence[Msg], why: str) -> None:
        """These messages alone come again, each after a pause that grows with its deliveries; health hears why."""
        _log.error("some messages have to wait", error=why, messages=len(messages), first=_sequence(messages[0]))
        until = time.monotonic() + 2 * LONGEST_DELAY_SECONDS
        for message in messages:
            self._waiting.pop(_grave(message), None)
            self._waiting[_grave(message)] = (why, until)
        self._tell()
        with suppress(nats.errors.Error):  # NATS is away: it delivers them again by itself
            for message in messages:
                await _again([message], _delay(message.metadata.num_delivered))

    async def _answers(self, committed: Committed) -> list[Answer]:
        outcomes = await self._in(self._answering, self._ledger.answer, committed.appended)
        return [
            Answer(job.message, outcome.source, outcome.to_json())
            for job, outcome in zip(committed.jobs, outcomes, strict=True)
        ]

    async def _end(self, unfit: Unfit) -> Answer:
        """The answer to an unfit message, which is in the dead letters by then, once. Raises `Unburied`."""
        why = unfit.why
        if _grave(unfit.message) not in self._buried:
            await bury(self._connection, unfit.message, why)
            self._buried.add(_grave(unfit.message))
            _log.warning("dead letter", code=why.code, sequence=_sequence(unfit.message), source=why.source)
        self._failing.pop(_sequence(unfit.message), None)
        return Answer(unfit.message, why.source, why.to_json())

    async def _back_off(self, messages: Sequence[Msg], error: Exception) -> None:
        """The messages come again after a growing, bounded pause, in which nothing more is taken."""
        self._failures += 1
        delay = _delay(self._failures)
        self._failure = " ".join(str(error).split()) if isinstance(error, _AWAY) else where(error)
        self._tell()
        _log.error("cannot go on", error=self._failure, commands=len(messages), seconds=delay)
        with suppress(nats.errors.Error):  # NATS is away: it delivers them again by itself
            await _again(messages, delay)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay)

    def _got_on(self) -> None:
        self._appends += 1
        self._failures = 0
        self._failure = None
        self._progress.appended_at = time.time()
        self._tell()

    def _tell(self) -> None:
        """Health hears why the ledger as a whole does not get on, or else why some messages wait."""
        while self._waiting and (oldest := next(iter(self._waiting))) and self._waiting[oldest][1] < time.monotonic():
            del self._waiting[oldest]  # somebody else took it
        whys = (why for why, _ in self._waiting.values())
        self._progress.failure = self._failure or next(whys, None)

    async def _settled(self) -> None:
        if self._settling is not None:
            await self._settling

    async def _in(self, thread: ThreadPoolExecutor, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, function, *arguments)


async def serve(settings: Settings, ledger: Ledger, stop: asyncio.Event, *, progress: Progress | None = None) -> None:
    """Take commands until `stop` is set; the batch in flight is then finished and answered.

    Reconnects to NATS for ever. Raises `NotProvisioned` before `migrate`, and `Fork` where the ledger must not sign.
    """
    assert settings.broker_url is not None, "the settings name no broker"
    progress = progress or Progress()
    broker = connection_of(settings.broker_url, progress)
    connection = await unless(stop, broker.connect())
    if connection is None:
        return
    assert isinstance(connection, LedgerClient)
    intake = Intake(ledger, connection, progress, stop)
    subscriber = broker.subscriber(
        COMMANDS.subjects[0],
        stream=JStream(COMMANDS.name, declare=False),
        durable=INTAKE_DURABLE,
        pull_sub=PullSub(batch=True, batch_size=MAX_BATCH, timeout=_ASK_ONCE_SECONDS),
        decoder=_raw,
        ack_policy=AckPolicy.MANUAL,
        no_reply=True,
    )

    @subscriber
    async def take(messages: list[Msg]) -> None:
        await intake.take(messages)

    try:
        await unless(stop, broker.start())
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)
            await intake.flush()
    finally:
        await _finish(broker, subscriber.subscription, intake)
    if intake.fork is not None:
        raise intake.fork


async def _finish(broker: NatsBroker, pull: Any, intake: Intake) -> None:
    """Nothing is fetched any more, the batch in flight is answered, and then the connection goes."""
    with suppress(nats.errors.Error):  # NATS is away: what was in flight is delivered again
        if pull is not None:
            await pull.close()
        await intake.drained()
        await broker.stop()
    intake.close()


async def _raw(message: NatsMessage) -> Any:
    """The messages as they came: FastStream would decode them together, and fail them together."""
    return message.raw_message


def _sorted(messages: Sequence[Msg]) -> tuple[list[Job], list[Job], list[Unfit]]:
    """Commands, questions, and what is neither."""
    jobs: list[Job] = []
    questions: list[Job] = []
    unfit: list[Unfit] = []
    for message in messages:
        try:
            job = Job(message, _parsed(message))
            (questions if isinstance(job.submission.command, CheckDisclosure) else jobs).append(job)
        except Malformed as malformed:
            unfit.append(Unfit(message, malformed))
        except Exception as error:  # a fault of ours, at one message: its neighbours must not pay for it
            _log.error("a message could not be parsed", sequence=_sequence(message), error=where(error))
            unfit.append(Unfit(message, Malformed("not-understood", "The ledger failed at reading this message.")))
    return jobs, questions, unfit


def _parsed(message: Msg) -> Submission:
    """Raises `Malformed`, also where the subject belongs to another type: permissions in NATS are by subject."""
    submission = parse(message.headers or {}, message.data)
    kind = submission.command.TYPE
    fit = (command_subject(kind), own_command_subject(submission.source, kind))
    if message.subject not in fit:
        sentence = f"This command belongs to the subject {fit[0]} or {fit[1]}, and came on another one."
        raise Malformed("wrong-subject", sentence, submission.source, submission.command_id)
    return submission


async def _again(messages: Sequence[Msg], delay: float) -> None:
    for message in messages:
        await message.nak(delay=delay)


def _delay(times: int) -> float:
    """1, 2, 4 … seconds, up to the longest."""
    return min(2.0 ** min(times - 1, 10), LONGEST_DELAY_SECONDS)


def _sequence(message: Msg) -> int:
    return message.metadata.sequence.stream


def _grave(message: Msg) -> Grave:
    return _sequence(message), message.metadata.timestamp
