"""Create or update the streams and the durable consumer. Called by `promise-ledger migrate`, never by the service."""

import asyncio
from dataclasses import replace
from typing import Any

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from consumers import trust
from consumers.channels import COMMANDS, INTAKE_DURABLE, STREAMS, Stream

ACK_WAIT_SECONDS = 20.0
"""After how long what a killed intake had in hand comes again. An intake that is only slow gets it twice: no harm."""


class ProvisionError(Exception):
    """The queue cannot be prepared; the message says what differs or is missing, and what to do."""


def provision(broker_url: str, *, ack_wait_seconds: float = ACK_WAIT_SECONDS) -> None:
    """Every stream of `channels` and the intake's durable consumer exist with our settings.

    Idempotent: what exists with other settings is updated, and no message is lost by it. Raises `ProvisionError` with
    one sentence where NATS cannot be reached or has a setting that cannot be changed in place.
    """
    asyncio.run(_provision(broker_url, ack_wait_seconds))


async def _provision(broker_url: str, ack_wait_seconds: float) -> None:
    try:
        connection = await trust.connect(broker_url, connect_timeout=5, max_reconnect_attempts=1, error_cb=_quiet)
    except (OSError, nats.errors.Error) as error:
        raise ProvisionError(
            f"NATS does not answer at {trust.shown(broker_url)}: start it, or set LEDGER_BROKER_URL."
        ) from error
    try:
        js = connection.jetstream()
        for stream in STREAMS:
            await _ensure_stream(js, stream)
        await _ensure_consumer(js, ack_wait_seconds)
    except APIError as error:
        raise ProvisionError(f"NATS refused to prepare the queue: {error.description}.") from error
    except nats.errors.Error as error:
        raise ProvisionError(f"NATS at {trust.shown(broker_url)} runs without JetStream: start it with -js.") from error
    finally:
        await connection.close()


async def _ensure_stream(js: JetStreamContext, stream: Stream) -> None:
    wanted = _stream_config(stream)
    try:
        found = (await js.stream_info(stream.name)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return
    changes = _changes(found, wanted)
    if not changes:
        return
    try:
        await js.update_stream(replace(found, **{name: value for name, (_, value) in changes.items()}))
    except APIError as error:
        raise ProvisionError(_difference(f"stream {stream.name}", changes, error)) from error


def _stream_config(stream: Stream) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy.WORK_QUEUE if stream.work_queue else RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD if stream.drop_oldest else DiscardPolicy.NEW,
        max_bytes=stream.max_bytes,
        max_age=stream.max_age_seconds,
        max_msg_size=stream.max_message_bytes,
        duplicate_window=stream.duplicate_window_seconds,
        storage=StorageType.FILE,
        allow_direct=True,
        allow_atomic=stream.atomic_batches,
    )


async def _ensure_consumer(js: JetStreamContext, ack_wait_seconds: float) -> None:
    wanted = ConsumerConfig(
        name=INTAKE_DURABLE,
        durable_name=INTAKE_DURABLE,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_seconds,
        max_deliver=-1,  # intake moves what keeps failing to the dead letters itself, with the reason
        # What cannot be dead-lettered waits unacknowledged; at this number of them nothing else would be delivered.
        max_ack_pending=100_000,
    )
    try:
        found = (await js.consumer_info(COMMANDS.name, INTAKE_DURABLE)).config
    except NotFoundError:
        await js.add_consumer(COMMANDS.name, wanted)
        return
    changes = _changes(found, wanted)
    if not changes:
        return
    try:
        await js.add_consumer(COMMANDS.name, replace(found, **{name: value for name, (_, value) in changes.items()}))
    except APIError as error:
        raise ProvisionError(_difference(f"consumer {INTAKE_DURABLE}", changes, error)) from error


def _changes(found: StreamConfig | ConsumerConfig, wanted: StreamConfig | ConsumerConfig) -> dict[str, tuple[Any, Any]]:
    """The settings that we name and the server has otherwise: name -> (theirs, ours). What we leave open stays."""
    return {
        name: (theirs, ours)
        for name, ours in vars(wanted).items()
        if ours is not None and ((theirs := getattr(found, name)) or 0) != (ours or 0)
    }


def _difference(what: str, changes: dict[str, tuple[Any, Any]], error: APIError) -> str:
    listed = ", ".join(
        f"{name} is {theirs!r} instead of {getattr(ours, 'value', ours)!r}" for name, (theirs, ours) in changes.items()
    )
    return f"The {what} exists with other settings ({listed}) and NATS refuses the change: {error.description}."


async def _quiet(error: Exception) -> None:
    """Connection errors are raised to the caller; nats-py would print them as well."""
