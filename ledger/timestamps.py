"""RFC 3161 timestamps of checkpoints: somebody else's clock says that the log was this long by then.

The authority signs over the checkpoint's text, the three lines that the log signs as well, hashed with SHA-512. No I/O.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    TimeStampRequest,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.base import HashAlgorithm

MAX_RESPONSE = 64 * 1024


class BadTimestamp(ValueError):
    """What came is no timestamp of this checkpoint, or none by an authority that is trusted."""


def request_for(text: str) -> TimeStampRequest:
    """The request to stamp a checkpoint's text; `.as_bytes()` is what is posted."""
    return TimestampRequestBuilder(text.encode(), HashAlgorithm.SHA512).build()


def certificates(pem: bytes) -> list[Certificate]:
    """The certificates in a PEM file. Raises BadTimestamp where there is none."""
    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        raise BadTimestamp(f"no certificates in PEM: {error}") from error


def stamped_at(
    response: bytes, text: str, roots: Sequence[Certificate], *, request: TimeStampRequest | None = None
) -> datetime:
    """When an authority under `roots` says that it saw the checkpoint `text`; with `request`, in answer to that one.

    The certificates must have been valid then, not today. Raises BadTimestamp.
    """
    parsed = _parsed(response)
    builder = VerifierBuilder() if request is None else VerifierBuilder.from_request(request)
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(parsed, text.encode())
    except (VerificationError, ValueError) as error:
        raise BadTimestamp(f"the timestamp does not hold: {error}") from error
    return _utc(parsed.tst_info.gen_time)


def _parsed(response: bytes) -> TimeStampResponse:
    if len(response) > MAX_RESPONSE:
        raise BadTimestamp(f"a timestamp has at most {MAX_RESPONSE} bytes")
    try:
        return decode_timestamp_response(response)
    except ValueError as error:
        raise BadTimestamp(f"not a timestamp response: {error}") from error


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
