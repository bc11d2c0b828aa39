"""Trust policies (c2sp.org/tlog-policy): which logs, which witnesses, and how many of them are enough.

    log example.com/log+0a1b2c3d+AeBd…
    witness W1 witness.example/1+9f8e7d6c+BAzt… https://witness.example/1
    witness W2 witness.example/2+5a4b3c2d+BDqR…
    group both all W1 W2
    quorum both

Unlike signed texts this file is written by people: blank lines, comments (`#`) and extra spaces or tabs are legal.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from re import compile

from ledger.tlog.errors import BadProof, MalformedPolicy
from ledger.tlog.note import Signature, Verifier
from ledger.tlog.spelling import number_of, text_of
from ledger.tlog.witness import CosignatureVerifier

MAX_POLICY_SIZE = 65_536
_MAX_DEFINITIONS = 256
_FORBIDDEN = compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Log:
    """A log that is accepted, and where it is (for those who talk to it)."""

    verifier: Verifier
    url: str | None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness by its name in the policy file."""

    name: str
    verifier: CosignatureVerifier
    url: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group: it has witnessed a checkpoint when at least `threshold` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The logs that are accepted and the witnesses that must have cosigned. `quorum` None: no witness is needed."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str | None

    @classmethod
    def parse(cls, data: str | bytes) -> "Policy":
        """Return the policy that the file's text says, or raise `MalformedPolicy` or `MalformedKey`."""
        text = text_of(data, MAX_POLICY_SIZE)
        if text is None or not text.endswith("\n") or _FORBIDDEN.search(text):
            raise MalformedPolicy("a policy is UTF-8 text of at most 65,536 bytes whose lines all end with a newline")
        reading = _Reading()
        for line in text.split("\n"):
            reading.line([word for word in line.replace("\t", " ").split(" ") if word])
        return reading.policy()

    def check(self, verified: Iterable[Signature]) -> None:
        """Raise `BadProof` unless the `verified` signatures of a note meet the quorum."""
        keys = {(signature.name, signature.key_id) for signature in verified}
        met = {w.name for w in self.witnesses if (w.verifier.name, w.verifier.key_id) in keys}
        for group in self.groups:
            if len(met.intersection(group.members)) >= group.threshold:
                met.add(group.name)
        if self.quorum is not None and self.quorum not in met:
            raise BadProof(f"the cosignatures do not meet the quorum {self.quorum}")


class _Reading:
    """A policy as read so far: names are defined once, before they are used, and belong to one group at most."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorums: list[str | None] = []
        self.names: set[str] = {"none"}
        self.members: set[str] = {"none"}

    def line(self, words: list[str]) -> None:
        kinds: dict[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if not words or words[0].startswith("#"):
            return
        if words[0] not in kinds:
            raise MalformedPolicy("a line starts with log, witness, group or quorum")
        kinds[words[0]](words[1:])
        if len(self.logs) + len(self.witnesses) + len(self.groups) > _MAX_DEFINITIONS:
            raise MalformedPolicy(f"a policy has at most {_MAX_DEFINITIONS} definitions")

    def policy(self) -> Policy:
        if len(self.quorums) != 1:
            raise MalformedPolicy("a policy has exactly one quorum line")
        return Policy(tuple(self.logs), tuple(self.witnesses), tuple(self.groups), self.quorums[0])

    def _log(self, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise MalformedPolicy("a log line is `log <vkey> [url]`")
        verifier = Verifier.parse(words[0])
        if verifier.public_key in {log.verifier.public_key for log in self.logs}:
            raise MalformedPolicy("two log lines have one key")
        self.logs.append(Log(verifier, words[1] if len(words) == 2 else None))

    def _witness(self, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise MalformedPolicy("a witness line is `witness <name> <vkey> [url]`")
        verifier = CosignatureVerifier.parse(words[1])
        if verifier.public_key in {witness.verifier.public_key for witness in self.witnesses}:
            raise MalformedPolicy("two witness lines have one key")
        self._define(words[0])
        self.witnesses.append(Witness(words[0], verifier, words[2] if len(words) == 3 else None))

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise MalformedPolicy("a group line is `group <name> all|any|<k> <member>…`")
        name, members = words[0], words[2:]
        threshold = {"any": 1, "all": len(members)}.get(words[1], number_of(words[1]))
        if threshold is None or not 1 <= threshold <= len(members):
            raise MalformedPolicy("a group's threshold is all, any, or between 1 and its number of members")
        for member in members:
            if member not in self.names or member in self.members:
                raise MalformedPolicy("a group member is defined on a line before, and is in one group only")
            self.members.add(member)
        self._define(name)
        self.groups.append(Group(name, threshold, tuple(members)))

    def _quorum(self, words: list[str]) -> None:
        if len(words) != 1 or words[0] not in self.names:
            raise MalformedPolicy("a quorum line is `quorum <name>`, the name defined on a line before")
        self.quorums.append(None if words[0] == "none" else words[0])

    def _define(self, name: str) -> None:
        if name in self.names:
            raise MalformedPolicy("a name is defined twice")
        self.names.add(name)
