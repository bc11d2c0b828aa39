"""The notepad: commands written down on the sender's own disk while queue and database are away, delivered later.

    FILE          {"sha256":"…","command":{"specversion":"1.0","id":…}}     one command a line, as it will be sent
    FILE.answers  {"sha256":"…","answered":"<sha256 of the command's line>","answer":{"status":"recorded",…}}
                  {"sha256":"…","cleared":true}           the answers above are of commands that have left FILE
    FILE.aside    {"sha256":"…","why":"…","line":"…"}     damaged lines and refused commands: kept, never sent again
    FILE.lock     held while one of these is written; any number of processes may share a notepad

Every line ends with a newline, is one write and one fsync, and begins with the SHA-256 of the rest of it. All files are
0600: until they are delivered a customer's words lie here in plain text. Power loss leaves one of these behind:

1. in the middle of a line: what lacks its newline is unfinished. Whole, it counts; else it is kept aside and reported.
   `append` had not returned, so nobody was told that it was written.
2. after the line: it is sent when somebody delivers. Its id was made before it was written, so however often it is
   sent, it is recorded once.
3. after an answer of the ledger, before it was written down: sent again, answered the same.
4. after the answer, before the command left FILE: the answer says that it is not to be sent again.
5. after they left FILE, before FILE.answers says so: noted again, they count as answered until the next clearing.
6. between setting something aside and taking it out of FILE: it stands in FILE.aside twice.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import orjson

from consumers.cloudevents import parse

MAX_BYTES: Final = 256 * 2**20
"""The largest notepad: some hundred thousand commands."""
_START: Final = b'{"sha256":"'
_SUM_END: Final = len(_START) + 64


class SpoolProblem(Exception):
    """The notepad cannot be written or read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One command in the notepad: the event as it is sent, and the checksum that names its line."""

    digest: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line, with its newline where it has one, that is not as it was written; `number` counts from 1."""

    number: int
    line: bytes

    @property
    def sentence(self) -> str:
        if not self.line.endswith(b"}\n"):
            return f"line {self.number} was not finished when power or process ended: it is lost, and kept aside"
        return f"line {self.number} is damaged: it is kept aside, the others go on"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a notepad holds: commands without an answer, in the order of writing, and what is damaged."""

    pending: tuple[Noted, ...]
    damaged: tuple[Damaged, ...]


class Spool:
    """The notepad at `path`. Nothing is made before the first line is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers_path = path.with_name(path.name + ".answers")
        self.aside_path = path.with_name(path.name + ".aside")
        self._lock_path = path.with_name(path.name + ".lock")

    def append(self, body: bytes) -> None:
        """The command is on disk when this returns; `body` is one structured CloudEvent without line breaks.

        Raises `Malformed` for what the ledger would not take, `SpoolProblem` where the notepad is full or in a place
        that cannot be written.
        """
        parse({}, body)
        if b"\n" in body or b"\r" in body:
            raise SpoolProblem("a command in the notepad is one line: write its JSON without line breaks")
        with self._locked():
            if self.path.exists() and self.path.stat().st_size + len(body) > MAX_BYTES:
                raise SpoolProblem(f"the notepad {self.path} is full: deliver it, or choose another")
            _append(self.path, _line(b'"command":' + body))

    def contents(self) -> Contents:
        """What waits, and what is damaged. Raises `SpoolProblem` where the file cannot be read."""
        if not self.path.exists():
            return Contents((), ())
        with self._locked():
            return self._contents()

    def answered(self, noted: Noted, answer: bytes, *, aside: str | None = None) -> None:
        """The command has its answer (JSON) for ever; with `aside`, a reason, it is also kept in FILE.aside."""
        with self._locked():
            if aside is not None:
                _set_aside(self.aside_path, [(aside, noted.body)])
            _append(self.answers_path, _line(b'"answered":"%b","answer":%b' % (noted.digest.encode(), answer)))

    def clear(self) -> tuple[Damaged, ...]:
        """The damaged lines, which are in FILE.aside now; FILE holds what waits, or is gone where nothing does.

        However many clear a notepad, each line is returned to one of them. What is noted again from now on is sent
        again: the ledger may have lost it since (`Client.lost`).
        """
        if not self.path.exists() and not self.answers_path.exists():
            return ()
        with self._locked():
            found = self._contents()
            if found.damaged:
                _set_aside(self.aside_path, [(each.sentence, each.line) for each in found.damaged])
            if found.pending:
                fresh = self.path.with_name(self.path.name + ".new")
                fresh.unlink(missing_ok=True)
                _append(fresh, b"".join(_line(b'"command":' + noted.body) for noted in found.pending))
                fresh.replace(self.path)
            else:
                self.path.unlink(missing_ok=True)
            _sync_directory(self.path.parent)
            if self._answered():
                _append(self.answers_path, _line(b'"cleared":true'))
        return found.damaged

    def _contents(self) -> Contents:
        done = self._answered()
        pending: dict[str, Noted] = {}
        damaged: list[Damaged] = []
        for number, line in enumerate(_lines(self.path), start=1):
            rest = _checked(line, b'"command":')
            if rest is None:
                damaged.append(Damaged(number, line))
            elif (noted := Noted(*rest)).digest not in done:
                pending.setdefault(noted.digest, noted)
        return Contents(tuple(pending.values()), tuple(damaged))

    def _answered(self) -> set[str]:
        """The commands answered since the last clearing; an unfinished answer is no loss, its command is sent again."""
        done: set[str] = set()
        for line in _lines(self.answers_path):
            if _checked(line, b'"answered":') is not None:
                done.add(orjson.loads(line)["answered"])
            elif _checked(line, b'"cleared":') is not None:
                done.clear()
        return done

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolProblem(f"the notepad {self.path} cannot be used ({error.strerror}): choose another") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise SpoolProblem(f"the notepad {self.path} cannot be written ({error.strerror}): do it again") from error
        finally:
            os.close(lock)


def _line(rest: bytes) -> bytes:
    """The line with the members `rest`: the checksum is over all that follows it, up to the newline."""
    tail = b'",' + rest + b"}"
    return _START + sha256(tail).hexdigest().encode() + tail + b"\n"


def _checked(line: bytes, member: bytes) -> tuple[str, bytes] | None:
    """The checksum of `line` and what follows `member` in it; None where it is not as it was written."""
    tail = line.removesuffix(b"\n")[_SUM_END:]
    digest = sha256(tail).hexdigest()
    if line[:_SUM_END] != _START + digest.encode() or not tail.startswith(b'",' + member):
        return None
    return digest, tail[2 + len(member) : -1]


def _lines(path: Path) -> Sequence[bytes]:
    """The lines with their newlines; the last one may have none."""
    try:
        return re.findall(rb"[^\n]*\n|[^\n]+", path.read_bytes()) if path.exists() else ()
    except OSError as error:
        raise SpoolProblem(f"the notepad {path} cannot be read ({error.strerror})") from error


def _set_aside(path: Path, reasons: Sequence[tuple[str, bytes]]) -> None:
    for why, line in reasons:
        text = line.decode("utf-8", "backslashreplace")
        _append(path, _line(b'"why":%b,"line":%b' % (orjson.dumps(why), orjson.dumps(text))))


def _append(path: Path, line: bytes) -> None:
    """`line` stands at the end of `path`, on disk: one write, one fsync. A half written one is taken back.

    An unfinished line of an earlier power loss is ended first, so that it never swallows this one.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SpoolProblem(f"the notepad {path} cannot be written ({error.strerror}): choose another") from error
    try:
        os.fchmod(file, 0o600)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            line = b"\n" + line
        _write(file, line, size, path.parent)
    except OSError as error:
        raise SpoolProblem(f"the notepad {path} cannot be written ({error.strerror}): nothing was noted") from error
    finally:
        os.close(file)


def _write(file: int, line: bytes, size: int, directory: Path) -> None:
    try:
        if os.write(file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
        if size == 0:  # its name may be new as well
            _sync_directory(directory)
    except OSError:
        os.ftruncate(file, size)
        raise


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
