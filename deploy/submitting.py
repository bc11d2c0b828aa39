"""The log's side of c2sp.org/tlog-witness: ask a witness to cosign a checkpoint, whatever it has cosigned before."""

from collections.abc import Callable, Sequence
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError
from urllib.request import Request

from deploy.foreign import opened, printable
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.note import MAX_NOTE_SIZE, Note
from ledger.tlog.spelling import number_of
from ledger.tlog.witness import SIZE_TYPE, AddCheckpoint, CosignatureVerifier, add_cosignatures

TRIES = 5
SECONDS = 30.0


class NotCosigned(RuntimeError):
    """The witness did not cosign, or what it answered is no cosignature of its key; the text says which, printable."""

    def __init__(self, why: str) -> None:
        super().__init__(printable(why))


def submit(
    url: str,
    witness: CosignatureVerifier,
    note: bytes,
    consistency_proof: Callable[[int, int], Sequence[bytes]],
    *,
    known: int = 0,
    seconds: float = SECONDS,
) -> Note:
    """The signed checkpoint `note` with the cosignature of `witness`, which answers at the prefix `url`.

    Asks from the tree of `known` events first, which it has cosigned before (0: the empty one); a 409 says from which
    size it must be proven. Each request takes `seconds` at most. Raises NotCosigned.
    """
    if not url.startswith(("http://", "https://")):
        raise NotCosigned(f"{url} is not the address of a witness: http://… or https://…")
    parsed = Note.parse(note)
    checkpoint = Checkpoint.parse(parsed.text)
    old_size = known
    for _ in range(TRIES):
        proof = tuple(consistency_proof(old_size, checkpoint.size)) if old_size else ()
        request = AddCheckpoint(old_size, proof, parsed, checkpoint).format()
        status, content_type, answer = _post(f"{url.rstrip('/')}/add-checkpoint", request, seconds)
        if status == 200:
            return _cosigned(parsed, answer, witness)
        cosigned = number_of(answer.decode("ascii", "replace").removesuffix("\n"))
        if status != 409 or content_type != SIZE_TYPE or cosigned is None:
            raise NotCosigned(f"{witness.name} answered {status}: {answer[:200].decode('utf-8', 'replace')}")
        if cosigned > checkpoint.size:
            raise NotCosigned(
                f"{witness.name} has cosigned {cosigned} events and this checkpoint has {checkpoint.size}: it is an "
                "older one, or this log has lost events"
            )
        old_size = cosigned
    raise NotCosigned(f"{witness.name} was asked {TRIES} times, and somebody else was faster each time")


def _cosigned(note: Note, answer: bytes, witness: CosignatureVerifier) -> Note:
    try:
        return add_cosignatures(note, answer, [witness])
    except TlogError as error:
        raise NotCosigned(f"what {witness.name} answered is no cosignature of that key: {error}") from error


def _post(url: str, body: bytes, seconds: float) -> tuple[int, str, bytes]:
    """Status, content type and the first million bytes of the answer."""
    request = Request(url, body, {"Content-Type": "text/plain; charset=utf-8"})
    answer: HTTPResponse | HTTPError
    try:
        try:
            answer = opened(request, seconds)
            status = answer.status
        except HTTPError as error:
            answer, status = error, error.code
        with answer:
            return status, answer.headers.get_content_type(), answer.read(MAX_NOTE_SIZE + 1)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
            raise NotCosigned(f"no answer within {seconds:g} s") from error
        raise NotCosigned(f"no answer from {url}: {error}") from error
