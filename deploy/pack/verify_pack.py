#!/usr/bin/env python3
"""Checks an evidence pack of a promise ledger, offline. Needs Python 3.8 or later and nothing else; changes nothing.

    python3 verify_pack.py [DIR] --vkey VKEY [--witness VKEY]...      exit code 0: all is as it was signed; 1: it is not

VKEY is the log's public key as you got it yourself, not with the pack. Take this program too from somebody you trust:
the copy in a pack is as honest as the pack. To be read from top to bottom: the arithmetic of signatures and of the
tree; how files are written; the pack, step by step; then `check`, which stops at the first thing that is wrong.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.isolated:
    del sys.path[0]  # the folder of this file: whoever put a json.py beside it would be run, and could say anything

import argparse
import base64
import csv
import hashlib
import heapq
import hmac
import io
import json
import os
import re
import stat
from collections import Counter
from functools import lru_cache
from html import escape
from typing import Any

FORMAT = "promise-ledger/evidence-pack/v1"
TABLES = ("promises.csv", "findings.csv", "timeline.csv")
TEXTS = (
    "README.md checkpoint entries.jsonl keys.txt manifest pack.json report.html texts.txt totals.json verify_pack.py"
)
FILES = {*TABLES, *TEXTS.split()}
STAMP, ROTATIONS = "timestamp.tsr", "rotations.json"  # not in every pack
PROOF = re.compile(r"proofs/(0|[1-9][0-9]{0,18})\.tlog-proof")
MAX_FILES, MAX_BYTES, MAX_POPULATION = 100_000, 512 * 1024 * 1024, 20_000_000
SHARED = ("outage", "source")  # streams of many customers: one event of theirs does not bring in the others


class Wrong(Exception):
    """Something in the pack is not as it was signed; the sentence names the file or the leaf."""


def require(condition: object, otherwise: str) -> None:
    if not condition:
        raise Wrong(otherwise)


# ---- Ed25519 (RFC 8032, section 5.1): points of the curve -x² + y² = 1 + d·x²·y² over the numbers modulo P

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
BASE = (4 * pow(5, P - 2, P) % P).to_bytes(32, "little")


def point_of(data: bytes) -> tuple[int, int, int, int]:
    """The point (x, y, 1, x·y) that 32 bytes spell; Wrong where they spell none, or not in the one legal way."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    legal = len(data) == 32 and y < P and (x * x - square) % P == 0 and not (x == 0 and sign)
    require(legal, "a public key is not a point of the curve in its one spelling")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def add(one: tuple[int, int, int, int], two: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    a, b = (one[1] - one[0]) * (two[1] - two[0]), (one[1] + one[0]) * (two[1] + two[0])
    c, d = 2 * one[3] * two[3] * D, 2 * one[2] * two[2]
    return (b - a) * (d - c) % P, (d + c) * (b + a) % P, (d - c) * (d + c) % P, (b - a) * (b + a) % P


def times(number: int, point: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    result = (0, 1, 1, 0)
    for bit in bin(number)[2:]:
        result = add(result, result)
        result = add(result, point) if bit == "1" else result
    return result


def ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of `public` over `message`: R = s·B - h·A, as bytes, with s below the order."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= ORDER:
        return False
    key, h = point_of(public), int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % ORDER
    x, y, z, _ = add(times(s, point_of(BASE)), times(h, (P - key[0], key[1], 1, P - key[3])))
    x, y = x * pow(z, P - 2, P) % P, y * pow(z, P - 2, P) % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == r


# ---- Keys, and signed notes (c2sp.org/signed-note): text, blank line, lines "— name base64(key id ‖ signature)"


def key_of(vkey: str, kind: int) -> tuple[str, bytes, bytes]:
    """Name, id and bytes of the key `name+id in hexadecimal+base64`; ValueError where it is none of that kind: 1 signs
    notes, 4 is a witness, whose signature begins with its time (c2sp.org/tlog-cosignature).
    """
    name, key_id, text = vkey.split("+", 2)
    data = base64.b64decode(text, validate=True)
    found = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    if (len(data), data[:1], found.hex(), base64.b64encode(data).decode()) != (33, bytes([kind]), key_id, text):
        raise ValueError(vkey)
    return name, found, data[1:]


def signed_text(note: bytes, vkey: str, kind: int = 1) -> str:
    """The text of a note that this key signed."""
    text, _, tail = note.decode().rpartition("\n\n")
    text, signed, (name, key_id, public) = text + "\n", False, key_of(vkey, kind)
    require(tail.count("\n") <= 100, "it has more than 100 signatures")
    for line in tail.split("\n")[:-1]:
        dash, signer, data = line.split(" ")
        found = base64.b64decode(data, validate=True)
        if (dash, signer, found[:4]) == ("—", name, key_id):
            message, signature, signed = text, found[4:], True
            if kind == 4:
                message = f"cosignature/v1\ntime {int.from_bytes(signature[:8], 'big')}\n{text}"
                signature = signature[8:]
            require(ed25519(public, message.encode(), signature), f"the signature of {name} does not fit")
    require(signed, f"it is not signed by {name} with the key {key_id.hex()}")
    return text


# ---- The tree (RFC 9162, section 2.1), and what is signed of it


def checkpoint_of(note: bytes, vkey: str) -> tuple[int, bytes]:
    """How many leaves the log has, and their root, as this key signed it."""
    origin, size, root = signed_text(note, vkey)[:-1].split("\n")
    require((origin, str(int(size))) == (vkey.split("+")[0], size), "it is not a checkpoint of this log")
    return int(size), base64.b64decode(root, validate=True)


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """The root of the tree whose leaves have these hashes, all of them."""
    if len(hashes) == 1:
        return hashes[0]
    left = 1 << (len(hashes) - 1).bit_length() - 1  # the largest power of two that leaves some for the right side
    return node_hash(root_of(hashes[:left]), root_of(hashes[left:]))


def check_proof(proof: bytes, entry: bytes, leaf: int, note: bytes, size: int, root: bytes) -> None:
    """`proof` (c2sp.org/tlog-proof) leads from `entry` as that leaf to the root under the checkpoint in `note`."""
    head, _, tail = proof.partition(b"\n\n")
    version, index, *hashes = head.decode().split("\n")
    right = (version, index, tail) == ("c2sp.org/tlog-proof@v1", f"index {leaf}", note) and leaf < size
    inner, node = (leaf ^ (size - 1)).bit_length(), leaf_hash(entry)
    right = right and len(hashes) == inner + bin(leaf >> inner).count("1")
    require(right, "it is not the proof of this leaf under the checkpoint")
    for level, line in enumerate(hashes):
        sibling, is_left = base64.b64decode(line, validate=True), level >= inner or leaf >> level & 1
        node = node_hash(sibling, node) if is_left else node_hash(node, sibling)
    require(node == root, f"leaf {leaf} and its proof do not lead to the root of the checkpoint")


# ---- How things are written. Whoever makes a pack writes it with these same functions.

TIMELINE = (
    "leaf_index occurred_at recorded_at type stream version actor source customer_id case_id text data event_id "
    "command_id leaf_hash"
).split()
PAGE = {  # what report.html shows of each table
    "promises.csv": "promise_id customer_id kind owner standing fulfilment timeliness made_at due_at ended_as".split(),
    "findings.csv": "code severity subject customer_id opened_at closed_at opened_by rule".split(),
    "timeline.csv": "leaf_index occurred_at recorded_at type stream version actor customer_id text".split(),
}
INVISIBLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def json_of(value: Any, indent: int | None = None) -> bytes:
    """The one legal spelling: of what is hashed without spaces, of files for people with `indent` 1."""
    separators = (",", ": " if indent else ":")
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=separators, indent=indent).encode()


def visible(value: object) -> str:
    """As text, with \\u… for what cannot be seen or would turn the direction of reading."""
    return INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", "" if value is None else str(value))


def cell(value: object) -> str:
    """As a cell of a table: what a spreadsheet would take for a formula gets a ' in front."""
    text = visible(value)
    return "'" + text if text.lstrip()[:1] in tuple("=+-@＝＋－＠") else text


def csv_of(columns: Any, rows: Any) -> bytes:
    """Every cell is in quotes: a program that takes ; or a tab for a comma as well would begin a formula there."""
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([columns, *(map(cell, row) for row in rows)])
    return file.getvalue().encode()


@lru_cache(maxsize=len(TABLES))
def rows_of(table: bytes) -> list[dict[str, str]]:
    """The rows of a table, each by column. Wrong where it is not written as here: a cell might be a formula."""
    csv.field_size_limit(MAX_BYTES)
    columns, *rows = csv.reader(io.StringIO(table.decode(), newline=""), strict=True)
    right = csv_of(columns, rows) == table and all(len(row) == len({*columns}) for row in (columns, *rows))
    require(right, "it is not in its one legal spelling")
    return [dict(zip(columns, row)) for row in rows]


def told(words: dict[str, Any]) -> str:
    """The words of one event as one text: where it has several, the main one first, the others with what they are."""
    ordered = sorted(words, key=lambda member: (member != "text", member))
    return "\n".join(words[member] if member == "text" else f"{member}: {words[member]}" for member in ordered)


def timeline(raw: dict[int, bytes], texts: dict[int, str]) -> list[list[Any]]:
    """The rows of timeline.csv: what each entry says, and its words."""
    rows = []
    for leaf, line in raw.items():
        row, text, shown = json.loads(line), texts.get(leaf), leaf_hash(line).hex()
        row.update(leaf_index=leaf, text=text, data=json_of(row["data"]).decode(), leaf_hash=shown)
        rows.append([row.get(column) for column in TIMELINE])
    return rows


def asked_for(pack: dict[str, Any]) -> str:
    """What pack.json says was selected, in words."""
    by = pack["selected_by"]
    (what, value), *_ = by.items()
    said = (
        f"Every stream that names the {what} {value}, as a whole (of outages and sources, which are many customers', "
        "only the events that name it)"
    )
    if "all" in by:
        said = "All events of the ledger"
    elif "from" in by:
        said = f"What was recorded from {by['from'] or 'the beginning'} until {by['to'] or 'the end'}"
    elif "customer" in by:
        said = f"Every event that carries customer {value}"
    sample = pack["sample"]
    return said if sample is None else f"{said}; of these a sample of {sample['count']}, by the seed {sample['seed']}"


STYLE = """
body { font: 10.5pt/1.4 Georgia, serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; break-after: avoid; }
table { border-collapse: collapse; width: 100%; font-size: 8.5pt; }
th, td { border-bottom: 1px solid #bbb; padding: .2rem .5rem .2rem 0; text-align: left; vertical-align: top; }
td { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; } tr { break-inside: avoid; }
thead { display: table-header-group; } pre { font-size: 8pt; white-space: pre-wrap; overflow-wrap: anywhere; }
@page { margin: 15mm; } @media print { body { margin: 0; max-width: none; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
WORD = "its signed word, and no proof. Whoever has all events can reckon it again."
SECTIONS = {  # what stands above each table
    "promises.csv": ("Promises", f"How each stood, as the ledger's owner reckons it: {WORD}"),
    "findings.csv": ("Findings: rules of honest dealing that were broken", f"By the owner's reckoning: {WORD}"),
    "timeline.csv": ("What happened, event by event", "Each event and its words are proven."),
}


def page_of(origin: str, pack: dict[str, Any], files: dict[str, bytes], shown: str) -> bytes:
    """report.html: the pack for reading and printing, of which `shown` says how complete it is. No script, nothing is
    loaded, every value is escaped.
    """
    named, root, totals_shown = shown_on_page(origin), pack["checkpoint"]["root"], files["totals.json"]
    parts = [
        f"<h1>Evidence from the promise ledger {named}</h1>",
        f"<p>{shown_on_page(asked_for(pack))}. As of {shown_on_page(pack['as_of'])}, the last of "
        f"{pack['checkpoint']['size']} events under the signed checkpoint with root {shown_on_page(root)}.</p>",
        f"<p>Completeness: {shown_on_page(shown)}.</p>",
        "<p>This page is for reading. What proves it are the files beside it: README.md says what each is, and how to "
        "check them offline with <code>python3 verify_pack.py --vkey KEY</code>. A value that begins with ' had a sign "
        "in front that a spreadsheet would take for a formula.</p>",
        *(section_of(name, files[name]) for name in PAGE),
        f"<h2>Control totals</h2>\n<pre>{shown_on_page(totals_shown.decode())}</pre>"
        f"<p>SHA-256 of totals.json: <code>{hashlib.sha256(totals_shown).hexdigest()}</code></p>",
    ]
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    title = f"<title>Evidence from {named}</title><style>{STYLE}</style>"
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}{title}</head>\n<body>\n{body}\n</body></html>\n'.encode()


def section_of(name: str, table: bytes) -> str:
    """A table in report.html: the rows of the CSV file, with fewer columns."""
    heads = "".join(f"<th>{column.replace('_', ' ')}</th>" for column in PAGE[name])
    lines = ["".join(f"<td>{escape(row[column])}</td>" for column in PAGE[name]) for row in rows_of(table)]
    rows = "".join(f"<tr>{line}</tr>\n" for line in lines)
    title, standing = SECTIONS[name]
    table_shown = f"<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table>"
    return f"<h2>{title}</h2>\n<p>{standing}{'' if rows else ' None.'}</p>\n{table_shown}"


def shown_on_page(value: object) -> str:
    return escape(visible(value))


def totals(files: dict[str, bytes]) -> bytes:
    """totals.json: how many rows each table has, in all and of each kind."""
    kinds = ("timeline.csv type", "timeline.csv customer_id", "promises.csv standing", "findings.csv code")
    found: dict[str, Any] = {f"rows of {name}": len(rows_of(files[name])) for name in PAGE}
    for name, column in map(str.split, kinds):
        found[f"{name} by {column}"] = Counter(row[column] for row in rows_of(files[name]))
    return json_of(found, 1)


def manifest_of(origin: str, files: dict[str, bytes]) -> str:
    """The text of the manifest: SHA-256, length and name of each file, by name."""
    lines = [f"{hashlib.sha256(files[n]).hexdigest()} {len(files[n])} {n}\n" for n in sorted({*files} - {"manifest"})]
    return f"{FORMAT}\n{origin}\n{''.join(lines)}"


def selected(pack: dict[str, Any]) -> list[int]:
    """The leaves of the pack: `population` (ranges, first to before stop) or a sample of it, and `also` (what says that
    words were erased or lost).

    The sample are the leaves with the smallest SHA-256(seed ‖ newline ‖ leaf index in decimal).
    """
    edges = [edge for first, stop in pack["population"] for edge in (first, stop)]
    few = sum(edges[1::2]) - sum(edges[::2]) <= MAX_POPULATION
    require(few and edges == sorted({*edges}), f"its population is not in order, or more than {MAX_POPULATION} events")
    leaves = [leaf for first, stop in pack["population"] for leaf in range(first, stop)]
    if (sample := pack["sample"]) is not None:
        drawn = f"{sample['seed']}\n".encode()
        leaves = heapq.nsmallest(sample["count"], leaves, lambda leaf: hashlib.sha256(drawn + b"%d" % leaf).digest())
    return sorted({*leaves, *pack["also"]})


def names(entry: dict[str, Any], by: dict[str, Any]) -> bool:
    """Whether this event names the case or the promise that was asked for."""
    data = entry["data"]
    if "case" in by:
        return bool(entry.get("case_id") == by["case"])
    promises = [data.get(f"{what}promise_id") for what in ("", "about_", "for_")]
    return by["promise"] in [*promises, data.get("superseded_by"), *data.get("promises", ())]


def completeness(pack: dict[str, Any], entries: dict[int, dict[str, Any]]) -> str:
    """What the pack shows about omissions. Wrong where a stream of the case or promise asked for is not whole."""
    versions: dict[str, list[int]]
    by, versions = pack["selected_by"], {stream: [] for stream in pack["streams"]}
    for entry in entries.values():
        versions[entry["stream"]].append(entry["version"])
    whole = {stream: len(here) for stream, here in versions.items() if here == list(range(1, len(here) + 1))}
    gaps = [stream for stream, last in pack["streams"].items() if whole.get(stream) != last]
    if pack["sample"] is not None:
        drawn = "a sample: which events of the population it holds follows from the seed, and these are they"
        word = "; that the population is what was asked for is the owner's signed word, and no proof"
        return drawn if "all" in by else drawn + word
    if "all" in by:
        return "every event of the log up to the checkpoint is here: they make its root"
    if "from" in by:
        shown = "no event from leaf {} to before leaf {} is left out".format(*pack["population"][0])
        return f"{shown}; that nothing before or after it is of that time is the owner's signed word, and no proof"
    naming = {entry["stream"] for entry in entries.values() if "customer" in by or names(entry, by)}
    for stream in sorted({*versions} - {entries[leaf]["stream"] for leaf in pack["also"]}):
        in_part = "customer" in by or stream.split(":")[0] in SHARED
        require(in_part or stream not in gaps, f"{stream} is to be here as a whole and is not")
        require(stream in naming, f"{stream} does not name what was asked for")
    require("promise" not in by or f"promise:{by['promise']}" in versions, "the promise asked for is not here")
    return (
        f"{len(versions) - len(gaps)} of {len(versions)} streams are here from their first version to the last that "
        "the owner says they have; that no other event belongs here is the owner's signed word, and no proof"
    )


# ---- The pack


class Pack:
    """The files of a pack, and step by step what they say; `where` is what is being looked at."""

    def __init__(self, directory: str) -> None:
        """Read every file. No other file, link or folder may be there; nothing outside is opened."""
        self.where, self.files = directory, dict.fromkeys(FILES, b"")
        paths = [os.path.join(folder, name) for folder, inner, names in os.walk(directory) for name in (*inner, *names)]
        few = len(paths) <= MAX_FILES and sum(os.lstat(path).st_size for path in paths) <= MAX_BYTES
        require(few, f"more than {MAX_FILES} files or {MAX_BYTES} bytes are not looked at here")
        for path in sorted(paths):
            name, mode = os.path.relpath(path, directory).replace(os.sep, "/"), os.lstat(path).st_mode
            if name != "proofs" or not stat.S_ISDIR(mode):
                known = name in {*FILES, STAMP, ROTATIONS} or PROOF.fullmatch(name)
                require(known and stat.S_ISREG(mode), f"{name} does not belong in an evidence pack")
                with open(path, "rb") as file:
                    self.files[name] = file.read()
        for name in sorted(FILES):
            require(os.path.join(directory, name) in paths, f"{name} is missing")

    def file(self, name: str) -> bytes:
        """One file, which is looked at from now on."""
        self.where = name
        require(name in self.files, "it is missing")
        return self.files[name]

    def check_signatures(self, vkey: str | None, witnesses: Any) -> None:
        """keys.txt names the log's key, `log VKEY`, which signed the manifest, and witnesses. What the checker trusts
        stands above it.

        rotations.json holds, for each rotation that led to this key, the event that names the old key and the new one,
        and its proof as the last leaf under a checkpoint that both signed: so whichever of the keys the checker holds
        vouches for the others. Each signs checkpoints from the size of one such checkpoint to that of the next.
        """
        (word, log), *others = (line.split(" ") for line in self.file("keys.txt").decode()[:-1].split("\n"))
        require(word == "log" and all(word == "witness" for word, _ in others), "it is not a list of keys")
        self.origin, self.witnesses = key_of(log, 1)[0], witnesses or [key for _, key in others]
        keys: list[tuple[str, int]] = []
        for line, proof in json.loads(self.file(ROTATIONS)) if ROTATIONS in self.files else ():
            event, note = json.loads(line), proof.encode().partition(b"\n\n")[2]
            old, new = event["data"]["old_vkey"], event["data"]["new_vkey"]
            keys = keys or [(old, 0)]
            require((event["type"], old) == ("log.key_rotated", keys[-1][0]), "it does not lead from key to key")
            size, _ = checkpoint_of(note, old)
            check_proof(proof.encode(), line.encode(), size - 1, note, *checkpoint_of(note, new))
            keys.append((new, size))
        keys = keys or [(log, 0)]
        require(keys[-1][0] == log, "it does not lead to the key in keys.txt")
        self.where = "keys.txt"
        trusted = vkey is None or vkey in dict(keys)
        require(trusted, "it names another key of the log than the one that you gave, and no rotation leads to that")
        text, expected = signed_text(self.file("manifest"), log), manifest_of(self.origin, self.files)
        said, found = ({line.split(" ")[-1]: line for line in each.split("\n")} for each in (text, expected))
        for self.where in sorted(name for name in {*said, *found} if said.get(name) != found.get(name)):
            raise Wrong("it is not the file that was signed for" if self.where in found else "it is missing")
        require(text == expected, "it is not in its one legal spelling")
        note = self.file("checkpoint")
        signer = [key for key, first in keys if first <= int(note.split(b"\n")[1])][-1]
        self.size, self.root = checkpoint_of(note, signer)
        for witness in self.witnesses:
            signed_text(note, witness, 4)
        stamped = hashlib.sha512(signed_text(note, signer).encode()).digest()
        require(STAMP not in self.files or stamped in self.file(STAMP), "it is of another checkpoint")

    def check_entries(self) -> None:
        """entries.jsonl has, line by line as hashed, the leaves that pack.json selects, in their order. A proof leads
        from each to the checkpoint; all events of the log need none: together they make its root.
        """
        self.pack = pack = json.loads(self.file("pack.json"))
        about = {"size": self.size, "root": base64.b64encode(self.root).decode()}
        require(pack["checkpoint"] == about, "it is not about this checkpoint")
        require(json_of(pack, 1) == self.files["pack.json"], "it is not in its one legal spelling")
        by, population, leaves = pack["selected_by"], pack["population"], selected(pack)
        whole = [[0, self.size]] if "all" in by else population[:1] if "from" in by else population
        require(population == whole, "its population is not what was selected")
        lines = self.file("entries.jsonl").split(b"\n")
        full = lines.pop() == b"" and len(lines) == len(leaves)
        require(full, f"it does not hold the {len(leaves)} entries that were selected")
        self.raw, self.entries = dict(zip(leaves, lines)), {}
        proofs = {name for name in self.files if PROOF.fullmatch(name)}
        if complete := len(leaves) >= self.size:
            whole = leaves == list(range(self.size)) and root_of([*map(leaf_hash, lines)]) == self.root
            require(whole, "its entries do not make the root of the checkpoint")
        for leaf, line in self.raw.items():
            if not complete:
                proof = self.file(f"proofs/{leaf}.tlog-proof")
                check_proof(proof, line, leaf, self.files["checkpoint"], self.size, self.root)
                proofs.remove(self.where)
            self.where = f"entries.jsonl, leaf {leaf}"
            entry = self.entries[leaf] = json.loads(line)
            require(json_of(entry) == line, "it is not in its one legal spelling")
            at, as_of = entry["recorded_at"][:-1], pack["as_of"][:-1]
            in_time = at == as_of or (at < as_of and leaf < self.size - 1)
            require(in_time, "the time of the last event under the checkpoint is not what pack.json says")
            if leaf in pack["also"]:
                continue
            require("customer" not in by or entry["customer_id"] == by["customer"], "it is of another customer")
            if "from" in by:
                start, stop = ((by[edge] or open_end)[:-1] for edge, open_end in (("from", "0Z"), ("to", "9999Z")))
                require(start <= entry["recorded_at"][:-1] < stop, "it was recorded at another time")
        for self.where in sorted(proofs):
            raise Wrong("it proves no entry of this pack")
        self.where = "pack.json"
        self.completeness = completeness(pack, self.entries)

    def check_texts(self) -> None:
        """texts.txt: the words of each entry that has words, `<leaf> <base64 of r> <words as JSON>`, where r shows that
        it commits to these; or `<leaf> erased <leaf of the order> [erased on <day>]`; or `<leaf> lost <leaf of the
        recovery> [lost on <day>]`, of a leaf that this says to have brought back. pack.json adds only what is named so.
        """
        self.texts, self.erased, self.lost, named = {}, 0, 0, set()
        wanted = [leaf for leaf, entry in self.entries.items() if "personal" in entry]
        lines = self.file("texts.txt").split(b"\n")
        full = lines.pop() == b"" and len(lines) == len(wanted)
        require(full, f"it does not hold the {len(wanted)} texts that the entries have")
        for leaf, line in zip(wanted, lines):
            self.where, entry, (number, r, words) = f"texts.txt, leaf {leaf}", self.entries[leaf], line.split(b" ", 2)
            require(number == b"%d" % leaf, "it is the text of another leaf")
            if r in (b"erased", b"lost"):
                named_leaf, self.texts[leaf] = words.decode().split(" ", 1)
                named.add(int(named_leaf))
                says, gone = self.entries[int(named_leaf)], r.decode()
                marked = self.texts[leaf] == f"[{gone} on {says['recorded_at'][:10]}]"
                if gone == "erased":
                    self.erased += 1
                    fits = (says["type"], says["customer_id"]) == ("subject.erasure_requested", entry["customer_id"])
                    require(fits and marked, "what it names does not order its erasure")
                else:
                    self.lost, first = self.lost + 1, says["data"]["kept_size"]
                    fits = says["type"] == "log.recovered" and first <= leaf < first + says["data"]["restored"]
                    require(fits and marked, "what it names did not bring its entry back")
            else:
                made = b"promise-ledger/personal/v1\0" + entry["event_id"].encode() + b"\0" + words
                commitment = hmac.new(base64.b64decode(r, validate=True), made, "sha256").digest()
                fits, read = base64.b64encode(commitment).decode() == entry["personal"]["commitment"], json.loads(words)
                require(fits, "it is not the text that the entry commits to")
                require(json_of(read) == words, "it is not in its one legal spelling")
                self.texts[leaf] = told(read)
        self.opened = len(self.texts) - self.erased - self.lost
        self.where = "pack.json"
        require(named.issuperset(self.pack["also"]), "it adds events that no erased or lost text names")

    def check_tables(self) -> None:
        """Tables, totals and page say the same as the entries, and as one another."""
        expected = csv_of(TIMELINE, timeline(self.raw, self.texts))
        require(expected == self.file("timeline.csv"), "it is not what the entries make it")
        here: dict[str, list[int]] = {}
        for leaf, entry in self.entries.items():
            here.setdefault(entry["stream"], []).append(leaf)
        rows = rows_of(self.file("promises.csv"))
        promises = {"promise:" + row["promise_id"].lstrip("'"): row for row in rows}
        counted = {stream: str(n) for stream, n in self.pack["streams"].items() if stream.startswith("promise:")}
        same = {stream: row["events"] for stream, row in promises.items()} == counted
        require(same and len(rows) == len(promises), "it has other promises than the entries, or of other length")
        for stream, row in promises.items():
            ends = [str(here[stream][0]), str(here[stream][-1])]
            fits = str(len(here[stream])) != row["events"] or ends == [row["made_leaf_index"], row["leaf_index"]]
            require(fits, f"{stream} begins and ends with other events")
        for row in rows_of(self.file("findings.csv")):
            fits = row["proven_here"] == ("yes" if int(row["opened_by"]) in self.raw else "no")
            require(fits, f"{row['code']} of leaf {row['opened_by']} does not fit the entries")
        require(totals(self.files) == self.file("totals.json"), "it does not count what the tables hold")
        expected = page_of(self.origin, self.pack, self.files, self.completeness)
        require(expected == self.file("report.html"), "it does not show what the other files hold")


def check(directory: str, vkey: str | None = None, witnesses: Any = ()) -> Pack:
    """The pack in `directory`, all of it right. Raises Wrong at the first thing that is not, OSError as files do."""
    pack = Pack(directory)
    try:
        pack.check_signatures(vkey, witnesses)
        pack.check_entries()
        pack.check_texts()
        pack.check_tables()
    except Exception as error:  # whatever a made-up file makes go wrong, it is a sentence and no traceback
        what = str(error) if isinstance(error, Wrong) else f"it is not what it should be ({type(error).__name__})"
        raise Wrong(f"{pack.where}: {what}") from None
    return pack


def sentences(pack: Pack, vkey: str | None, witnesses: Any) -> list[str]:
    """What was proven, and what was not."""
    cosigners = ", ".join(witness.split("+")[0] for witness in pack.witnesses) or "nobody"
    unpinned = " by keys that the pack names: give yours with --witness" if pack.witnesses and not witnesses else ""
    lines = [
        f"AS SIGNED: {len(pack.raw)} events of {pack.origin}, under its checkpoint of {pack.size} events",
        f"root {pack.root.hex()}, cosigned by {cosigners}{unpinned}",
        f"what was selected: {asked_for(pack.pack)}",
        f"texts that are those committed to: {pack.opened}; erased: {pack.erased}; lost: {pack.lost}",
        pack.completeness,
        "PROVEN: these events and words stood in the log, as they are here, when that was signed. They are what",
        "timeline.csv holds. totals.json and report.html are what the other files make them.",
        "NOT PROVEN, the owner's word: promises.csv and findings.csv (how promises stood, which rules were broken),",
        "and README.md. And whether what was recorded is true, nobody can prove.",
    ]
    if STAMP in pack.files:
        lines.append("a timestamp names this checkpoint; `openssl ts -verify` says whether it holds, see README.md")
    if vkey is None:
        lines.append("WARNING: no --vkey was given, so the key is that of the pack: whoever made up the one could have")
        lines.append("made up the other. Get the log's key from its owner by another way, and check again with --vkey.")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Check an evidence pack of a promise ledger, offline.")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("directory", nargs="?", default=here, metavar="DIR", help="the pack; by default where this is")
    parser.add_argument("--vkey", help="the log's key as you got it yourself")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", help="who must have cosigned")
    options = parser.parse_args()
    try:
        for vkey, kind in [(options.vkey, 1), *((each, 4) for each in options.witness)]:
            _ = vkey is None or key_of(vkey, kind)
    except ValueError:
        parser.error(f"{vkey!r} is no such key")
    try:
        pack = check(options.directory, options.vkey, options.witness)
        lines = sentences(pack, options.vkey, options.witness)
    except (Wrong, OSError) as error:
        lines = [f"NOT AS SIGNED: {error}"]
    print(*(line.encode("unicode_escape").decode() for line in lines), sep="\n")  # what is quoted begins no line
    return 1 if lines[0].startswith("NOT") else 0


if __name__ == "__main__":
    sys.exit(main())
