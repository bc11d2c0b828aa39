"""The files of a pack, from the log alone: entries, their proofs and texts, and what follows from them.

No clock is asked: whatever depends on the time is as of the last event under the checkpoint. So the same selection
under the same checkpoint gives the same bytes, as long as nobody was erased in between.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from psycopg import Connection

from deploy.exporting import ExportRefused
from deploy.pack import verify_pack
from deploy.pack.handovers import Handovers, handovers
from deploy.pack.readme import readme
from deploy.pack.selecting import SQL, Cover, Sample, Selection, Wanted, cover, ranges, spelled
from ledger.domain.dispatch import evolve
from ledger.domain.promise_state import late_against_original, timeliness
from ledger.erasure.keyring import DataKey, Erased, Keyring, reader
from ledger.erasure.orders import orders
from ledger.erasure.sealing import Opened, SealBroken, unseal
from ledger.recovery.records import bringing_back, records
from ledger.storage.entries import decode, moment
from ledger.storage.log_keys import read_rotations, verifier_at
from ledger.storage.sql import QUERIES
from ledger.storage.tree import TreeReader
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import BadSignature
from ledger.tlog.note import Note, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile
from projections.findings.anew import derive
from projections.findings.facts import Finding
from projections.findings.registry import FINDINGS
from projections.proving import NOT_SIGNED

PROMISES = (
    *("promise_id", "customer_id", "kind", "owner", "standing", "fulfilment", "timeliness", "due_at"),
    *("original_due_at", "made_at", "claimed_at", "claimed_by", "ended_as", "ended_at", "reschedules", "disputes"),
    *("late_against_original", "events", "made_leaf_index", "leaf_index"),
)
FOUND = (
    *("code", "severity", "subject", "customer_id", "case_id", "opened_at", "closed_at", "opened_by", "closed_by"),
    *("proven_here", "detail", "rule"),
)

Progress = Callable[[int, int], None]


class Source(NamedTuple):
    """The log to export from: one snapshot of its database, what opens its texts, its key, and its witnesses."""

    url: str
    connection: Connection[Any]
    keyring: Keyring
    verifier: Verifier
    policy: Policy | None


class Chosen(NamedTuple):
    """What goes into the pack: the checkpoint that it is under, pack.json, the entry bytes by leaf, the lines of
    texts.txt and the same to be read.
    """

    cover: Cover
    pack: dict[str, Any]
    raw: dict[int, bytes]
    lines: list[bytes]
    texts: dict[int, str]

    def entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return ((leaf, orjson.loads(line)) for leaf, line in self.raw.items())


def contents(
    source: Source, found: Selection, wanted: Wanted, sample: Sample | None, progress: Progress
) -> dict[str, bytes]:
    """Every file of the pack but its manifest. Raises ExportRefused where the log cannot be what was signed."""
    led = handovers(source.connection, source.verifier)
    chosen = _choose(source, found, wanted, sample, led.first)
    files = _evidence(source, chosen, led)
    rows = verify_pack.timeline(chosen.raw, chosen.texts)
    files["timeline.csv"] = verify_pack.csv_of(verify_pack.TIMELINE, rows)
    files["promises.csv"] = verify_pack.csv_of(PROMISES, _promises(source.connection, chosen.pack))
    files["findings.csv"] = verify_pack.csv_of(FOUND, _findings(source.url, chosen, progress))
    files["totals.json"] = verify_pack.totals(files)
    shown = verify_pack.completeness(chosen.pack, dict(chosen.entries()))
    files["report.html"] = verify_pack.page_of(source.verifier.name, chosen.pack, files, shown)
    files["verify_pack.py"] = Path(verify_pack.__file__).read_bytes()
    files["README.md"] = readme(source.verifier, chosen.pack, chosen.cover, files, shown)
    return files


def _choose(source: Source, found: Selection, wanted: Wanted, sample: Sample | None, first: int) -> Chosen:
    """The events and their words; for words that were erased or lost the events that say so as well."""
    pack: dict[str, Any] = {
        "selected_by": wanted.spelled(),
        "population": ranges(found.leaves),
        "sample": None if sample is None else asdict(sample),
        "also": [],
    }
    raw = _entries(source.connection, verify_pack.selected(pack))
    lines, texts, saying = _texts(source, raw)
    pack["also"] = sorted(saying - raw.keys())
    under = cover(source.connection, found, max(found.leaves[-1], *saying, 0), first)
    size = under.checkpoint.size
    pack["as_of"] = orjson.loads(_entries(source.connection, [size - 1])[size - 1])["recorded_at"]
    pack["checkpoint"] = {"size": size, "root": base64.b64encode(under.checkpoint.root).decode()}
    raw = dict(sorted((raw | _entries(source.connection, pack["also"])).items()))
    streams = {orjson.loads(line)["stream"] for line in raw.values()}
    counted = source.connection.execute(SQL["streams"], {"streams": sorted(streams), "size": size}).fetchall()
    return Chosen(under, pack | {"streams": dict(counted)}, raw, lines, texts)


def _evidence(source: Source, chosen: Chosen, led: Handovers) -> dict[str, bytes]:
    (checkpoint, note, stamp), pack = chosen.cover, chosen.pack
    files = {
        "checkpoint": note,
        "keys.txt": _lines(_keys(source, note)),
        "pack.json": verify_pack.json_of(pack, 1),
        "entries.jsonl": _lines(chosen.raw.values()),
        "texts.txt": _lines(chosen.lines),
    }
    if stamp is not None:
        files[verify_pack.STAMP] = stamp
    if led.steps:
        files[verify_pack.ROTATIONS] = verify_pack.json_of(
            [[line.decode(), proof.format()] for line, proof in led.steps], 1
        )
    if len(chosen.raw) < checkpoint.size:
        if len(chosen.raw) > verify_pack.MAX_FILES - len(verify_pack.FILES) - 3:  # folder, timestamp, rotations
            raise ExportRefused(f"{len(chosen.raw)} events are too many for proofs one by one: use --sample or --all")
        tree = TreeReader(reader(source.connection))
        for leaf in chosen.raw:
            proof = ProofFile(leaf, tuple(tree.inclusion_proof(leaf, checkpoint.size)), note)
            files[f"proofs/{leaf}.tlog-proof"] = proof.format().encode()
    return files


def _entries(connection: Connection[Any], leaves: Sequence[int]) -> dict[int, bytes]:
    rows = connection.execute(QUERIES["entries"], {"ids": [leaf + 1 for leaf in leaves]}).fetchall()
    if len(rows) != len(leaves):
        raise ExportRefused(f"{NOT_SIGNED}: events are missing")
    return {leaf: bytes(state) for leaf, _, state in rows}


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _keys(source: Source, note: bytes) -> list[bytes]:
    """The log's key in use, and those of the policy's witnesses that cosigned this checkpoint."""
    witnesses = () if source.policy is None else source.policy.witnesses
    size = Checkpoint.parse(Note.parse(note).text).size
    verifier = verifier_at(read_rotations(reader(source.connection)), size, source.verifier)
    try:
        verified = open_checkpoint(note, verifier, [witness.verifier for witness in witnesses])[1].verified
    except BadSignature as error:
        raise ExportRefused(f"{NOT_SIGNED}: the checkpoint of {size} events: {error}") from error
    signed = {(signature.name, signature.key_id) for signature in verified}
    keys = [each.verifier.vkey for each in witnesses if (each.verifier.name, each.verifier.key_id) in signed]
    return [f"log {source.verifier.vkey}".encode(), *(f"witness {vkey}".encode() for vkey in keys)]


def _texts(source: Source, raw: dict[int, bytes]) -> tuple[list[bytes], dict[int, str], set[int]]:
    """The lines of texts.txt, the same as words by leaf, and the leaves that say of words that they are gone."""
    entries = {leaf: entry for leaf, line in raw.items() if "personal" in (entry := orjson.loads(line))}
    sealed = {row[0]: row[1:] for row in source.connection.execute(SQL["sealed"], {"leaves": list(entries)})}
    keys = source.keyring.find(reader(source.connection), {entry["customer_id"] for entry in entries.values()})
    ordered, recoveries = orders(source.connection), records(source.connection)
    lines: list[bytes] = []
    texts: dict[int, str] = {}
    saying: set[int] = set()
    for leaf, entry in entries.items():
        key = keys.get(entry["customer_id"])
        if isinstance(key, Erased):
            order = ordered[entry["customer_id"]]
            saying.add(order.leaf_index)
            texts[leaf] = mark = f"[erased on {order.requested_at:%Y-%m-%d}]"
            lines.append(f"{leaf} erased {order.leaf_index} {mark}".encode())
        elif leaf not in sealed and (record := bringing_back(recoveries, leaf)) is not None:
            saying.add(record.leaf_index)
            texts[leaf] = record.mark
            lines.append(f"{leaf} lost {record.leaf_index} {record.mark}".encode())
        else:
            opened = _opened(leaf, entry, key, sealed.get(leaf))
            texts[leaf] = verify_pack.told(orjson.loads(opened.personal))
            lines.append(b"%d %s %s" % (leaf, base64.b64encode(opened.opening), opened.personal))
    return lines, texts, saying


def _opened(leaf: int, entry: dict[str, Any], key: DataKey | None, sealed: tuple[int, bytes] | None) -> Opened:
    """The text of one entry. Raises ExportRefused where it is not to be had although nobody ordered its erasure."""
    if key is not None and sealed is not None and sealed[0] == key.version:
        binding = {"event_id": entry["event_id"], "customer_id": entry["customer_id"], "key_version": key.version}
        with suppress(SealBroken):
            return unseal(key.cipher, bytes(sealed[1]), **binding)
    raise ExportRefused(f"the text of leaf {leaf} does not open: see `promise-ledger verify`")


def _promises(connection: Connection[Any], pack: dict[str, Any]) -> Iterator[list[object]]:
    """Each promise of the pack as it stands under the checkpoint: folded from all its events, by the ledger's rules."""
    streams = [stream for stream in pack["streams"] if stream.startswith("promise:")]
    rows = connection.execute(SQL["promise_events"], {"streams": streams, "size": pack["checkpoint"]["size"]})
    as_of = moment(pack["as_of"])
    for _, group in groupby(rows.fetchall(), key=lambda row: row[0]):
        entries = [decode(leaf, topic, bytes(state)) for _, leaf, topic, state in group]
        promise: Any = None
        for entry in entries:
            promise = evolve(promise, entry.event, entry.happened)
        own = promise._asdict() | {
            "timeliness": timeliness(promise, as_of),
            "late_against_original": "yes" if late_against_original(promise) else "no",
            "events": len(entries),
            "made_leaf_index": entries[0].leaf_index,
            "leaf_index": entries[-1].leaf_index,
        }
        moments = {name: spelled(value) for name, value in own.items() if name in PROMISES and name.endswith("_at")}
        yield [(own | moments)[column] for column in PROMISES]


def _findings(url: str, chosen: Chosen, progress: Progress) -> Iterator[list[object]]:
    """Each finding of the pack that had opened by the time of the checkpoint, closed ones too."""
    as_of = moment(chosen.pack["as_of"])
    customers = {entry.get("customer_id") for _, entry in chosen.entries()}
    for finding in derive(url, chosen.pack["checkpoint"]["size"], progress):
        prevented = finding.closed_at is not None and finding.closed_at <= finding.opened_at
        if finding.opened_at <= as_of and not prevented and _belongs(finding, chosen, customers):
            kind = FINDINGS[finding.code]
            yield [
                *(finding.code, kind.severity, finding.subject, finding.customer_id, finding.case_id),
                *(spelled(finding.opened_at), spelled(finding.closed_at), finding.opened_by, finding.closed_by),
                "yes" if finding.opened_by in chosen.raw else "no",
                verify_pack.json_of(finding.detail).decode(),
                kind.rule,
            ]


def _belongs(finding: Finding, chosen: Chosen, customers: set[str | None]) -> bool:
    """Of a sample only what its events opened; else also what touches the customer asked for, or a stream of the pack.

    Never what touches a customer of whom there is no event.
    """
    if finding.customer_id is not None and finding.customer_id not in customers:
        return False
    if finding.opened_by in chosen.raw:
        return True
    touched = finding.subject in chosen.pack["streams"]
    asked_for = finding.customer_id is not None and finding.customer_id == chosen.pack["selected_by"].get("customer")
    return chosen.pack["sample"] is None and (touched or asked_for)
