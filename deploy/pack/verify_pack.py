#!/usr/bin/env python3
"""Checks an evidence pack of a promise ledger, offline. Needs Python 3.8 or later and nothing else; changes nothing.

    python3 verify_pack.py [DIR] --vkey VKEY [--witness VKEY]...      exit code 0: all is as it was signed; 1: it is not

VKEY is the log's public key as you got it yourself, not with the pack. Take this program too from somebody you trust:
the copy in a pack is as honest as the pack. To be read from top to bottom: the arithmetic of signatures and of the
tree; how tables are written; then `Pack`, whose `check` does all in order and stops at the first thing that is wrong.
"""

from __future__ import annotations

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
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

FORMAT = "promise-ledger/evidence-pack/v1"
FILES = (
    "README.md checkpoint entries.jsonl findings.csv keys.txt manifest pack.json promises.csv report.html texts.txt "
    "timeline.csv totals.json verify_pack.py"
).split()
STAMP = "timestamp.tsr"
PROOF = re.compile(r"proofs/(0|[1-9][0-9]{0,18})\.tlog-proof")
MAX_FILES, MAX_BYTES, MAX_POPULATION = 100_000, 512 * 1024 * 1024, 20_000_000
READ_ONLY = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
SHARED = ("outage", "source")  # streams of many customers: one event of theirs does not bring in the others
UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    csv.Error,
)


class Wrong(Exception):
    """Something in the pack is not as it was signed; the sentence names the file or the leaf."""


def wrong(sentence: str) -> NoReturn:
    raise Wrong(sentence)


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
    if len(data) != 32 or y >= P or (x * x - square) % P or (x == 0 and sign):
        wrong("a public key is not a point of the curve in its one spelling")
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


class Key(NamedTuple):
    """`kind` 1 signs notes; 4 is a witness, whose signature begins with its time (c2sp.org/tlog-cosignature)."""

    name: str
    kind: int
    id: bytes
    public: bytes


def bytes_of(text: str) -> bytes:
    """What `text` says in base64, in its one legal spelling; ValueError where it is none."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError(f"{text!r} is not base64 in its one legal spelling")
    return data


def key_of(vkey: str, kind: int) -> Key:
    """The key `name+id in hexadecimal+base64`; ValueError where it is none of that kind."""
    name, hexadecimal, text = vkey.split("+", 2)
    data = bytes_of(text)
    key_id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    if len(data) != 33 or data[0] != kind or key_id.hex() != hexadecimal:
        raise ValueError(f"{vkey!r} is not the key that it says it is")
    return Key(name, kind, key_id, data[1:])


def signed_text(note: bytes, key: Key) -> str:
    """The text of a note that `key` signed."""
    text, _, tail = note.decode().rpartition("\n\n")
    text, signed = text + "\n", 0
    for line in tail[:-1].split("\n"):
        dash, name, data = line.split(" ")
        signature = bytes_of(data)
        if (dash, name, signature[:4]) == ("—", key.name, key.id):
            message, signature, signed = text, signature[4:], signed + 1
            if key.kind == 4:
                message = f"cosignature/v1\ntime {int.from_bytes(signature[:8], 'big')}\n{text}"
                signature = signature[8:]
            if not ed25519(key.public, message.encode(), signature):
                wrong(f"the signature of {key.name} does not fit")
    if not signed or not tail.endswith("\n"):
        wrong(f"it is not signed by {key.name}")
    return text


# ---- The tree (RFC 9162, section 2.1)


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root_over(hashes: Iterable[bytes]) -> bytes:
    """The root of the tree whose leaves have these hashes, all of them."""
    edge: list[bytes] = []  # roots of complete subtrees, largest first
    for count, node in enumerate(hashes, 1):
        while not count & 1:
            node, count = node_hash(edge.pop(), node), count >> 1
        edge.append(node)
    root = edge.pop()
    while edge:
        root = node_hash(edge.pop(), root)
    return root


def root_from_proof(node: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root of the tree of `size` leaves in which leaf `index` hashes to `node`; `proof` goes from leaf to root."""
    inner = (index ^ (size - 1)).bit_length()
    if index >= size or len(proof) != inner + bin(index >> inner).count("1") or any(len(each) != 32 for each in proof):
        wrong("a proof has the wrong length")
    for level, sibling in enumerate(proof):
        on_the_right = level >= inner or index >> level & 1
        node = node_hash(sibling, node) if on_the_right else node_hash(node, sibling)
    return node


# ---- How things are written. Whoever makes a pack writes it with these same functions.

TIMELINE = (
    "leaf_index occurred_at recorded_at type stream version actor source customer_id case_id text data event_id "
    "command_id leaf_hash"
).split()
INVISIBLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def visible(value: object) -> str:
    """As text, with \\u… for what cannot be seen or would turn the direction of reading."""
    return INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", "" if value is None else str(value))


def cell(value: object) -> str:
    """As a cell of a table: what a spreadsheet would take for a formula gets a ' in front."""
    text = visible(value)
    return "'" + text if text.lstrip()[:1] in tuple("=+-@\t＝＋－＠") else text


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([columns, *(map(cell, row) for row in rows)])
    return file.getvalue().encode()


def rows_of(data: bytes) -> list[dict[str, str]]:
    csv.field_size_limit(MAX_BYTES)
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def told(words: dict[str, str] | str | None) -> str | None:
    """The words of one event as one text: the main one first, the others with what they are."""
    if not isinstance(words, dict):
        return words
    others = [f"{member}: {said}" for member, said in sorted(words.items()) if member != "text"]
    return "\n".join([words["text"], *others] if "text" in words else others)


def timeline(raw: dict[int, bytes], texts: dict[int, dict[str, str] | str]) -> list[list[object]]:
    """The rows of timeline.csv: what each entry says, and its words."""
    rows: list[list[object]] = []
    for leaf, line in raw.items():
        entry = json.loads(line)
        own = {"leaf_index": leaf, "text": told(texts.get(leaf)), "leaf_hash": leaf_hash(line).hex()}
        own["data"] = canonical(entry["data"]).decode()
        rows.append([own[name] if name in own else entry.get(name) for name in TIMELINE])
    return rows


def totals(raw: dict[int, bytes], texts: dict[int, dict[str, str] | str], files: dict[str, bytes]) -> bytes:
    """totals.json: what ties entries, texts and tables to one another."""
    entries = [json.loads(line) for line in raw.values()]
    erased = sum(isinstance(text, str) for text in texts.values())
    found: dict[str, Any] = {
        "entries": len(entries),
        "entry_bytes": sum(map(len, raw.values())),
        "entries_by_type": Counter(entry["type"] for entry in entries),
        "entries_by_customer": Counter(entry.get("customer_id", "nobody") for entry in entries),
        "first_and_last_leaf": [min(raw), max(raw)],
        "sha256_of_all_leaf_hashes": hashlib.sha256(b"".join(map(leaf_hash, raw.values()))).hexdigest(),
        "texts": {"open": len(texts) - erased, "erased": erased},
        "promises_by_standing": Counter(row["standing"] for row in rows_of(files["promises.csv"])),
        "findings_by_code": Counter(row["code"] for row in rows_of(files["findings.csv"])),
    }
    tables = ("timeline.csv", "promises.csv", "findings.csv")
    found["tables"] = {n: [len(rows_of(files[n])), hashlib.sha256(files[n]).hexdigest()] for n in tables}
    return pretty(found)


def manifest_of(origin: str, files: dict[str, bytes]) -> str:
    """The text of the manifest: SHA-256, length and name of each file, by name."""
    listed = sorted(name for name in files if name != "manifest")
    lines = [f"{hashlib.sha256(files[name]).hexdigest()} {len(files[name])} {name}\n" for name in listed]
    return f"{FORMAT}\n{origin}\n{''.join(lines)}"


def selected(pack: dict[str, Any]) -> list[int]:
    """The leaves of the pack: `population` (ranges, first to before stop) or a sample of it, and `also` (erasures).

    The sample are the leaves with the smallest SHA-256(seed ‖ newline ‖ leaf index in decimal).
    """
    edges = [edge for first, stop in pack["population"] for edge in (first, stop)]
    if edges != sorted(set(edges)) or sum(edges[1::2]) - sum(edges[::2]) > MAX_POPULATION:
        wrong(f"its population is not in order, or more than {MAX_POPULATION} events, which are not looked at here")
    leaves = [leaf for first, stop in pack["population"] for leaf in range(first, stop)]
    if (sample := pack["sample"]) is not None:
        drawn = f"{sample['seed']}\n".encode()
        leaves = heapq.nsmallest(sample["count"], leaves, lambda leaf: hashlib.sha256(drawn + b"%d" % leaf).digest())
    return sorted({*leaves, *pack["also"]})


def gaps(pack: dict[str, Any], entries: dict[int, dict[str, Any]]) -> list[str]:
    """The streams that are not here from version 1 to the last that the owner says they have under the checkpoint."""
    versions: dict[str, list[int]] = {stream: [] for stream in pack["streams"]}
    for entry in entries.values():
        versions[entry["stream"]].append(entry["version"])
    return [stream for stream, last in sorted(pack["streams"].items()) if versions[stream] != list(range(1, last + 1))]


def completeness(pack: dict[str, Any], entries: dict[int, dict[str, Any]]) -> str:
    """What a pack shows about omissions."""
    if pack["sample"] is not None:
        return "a sample: which events of the population it holds follows from the seed, and these are they"
    if "all" in pack["selected_by"]:
        return "every event of the log up to the checkpoint is here: they make its root"
    if "from" in pack["selected_by"]:
        (first, stop), *_ = pack["population"]
        edges = "that these are the first and the last of that time is the owner's signed word, and no proof"
        return f"no event from leaf {first} to leaf {stop - 1} is left out; {edges}"
    streams = len(pack["streams"])
    return (
        f"{streams - len(gaps(pack, entries))} of {streams} streams are here from their first version to the last that "
        "the owner says they have; that no other event belongs here is the owner's signed word, and no proof"
    )


# ---- The pack


class Pack:
    """The files of a pack, and step by step what they say; `where` is what is being looked at."""

    def __init__(self, directory: str) -> None:
        """Read every file. No other file, link or directory may be there; nothing outside is opened."""
        self.where, self.files, space = directory, {}, MAX_BYTES
        for folder in ("", "proofs/"):
            if folder and not os.path.lexists(os.path.join(directory, "proofs")):
                continue
            for name in sorted(os.listdir(os.path.join(directory, folder))):
                path, name = os.path.join(directory, folder, name), folder + name
                mode = os.lstat(path).st_mode
                if name == "proofs" and stat.S_ISDIR(mode):
                    continue
                if not (name in FILES or name == STAMP or PROOF.fullmatch(name)) or not stat.S_ISREG(mode):
                    wrong(f"{name} does not belong in an evidence pack")
                with open(os.open(path, READ_ONLY), "rb") as file:
                    self.files[name] = file.read(space + 1)
                space -= len(self.files[name])
                if space < 0 or len(self.files) > MAX_FILES:
                    wrong(f"more than {MAX_FILES} files or {MAX_BYTES} bytes are not looked at here")
        for name in FILES:
            if name not in self.files:
                wrong(f"{name} is missing")

    def file(self, name: str) -> bytes:
        """One file, which is looked at from now on."""
        self.where = name
        return self.files[name] if name in self.files else wrong("it is missing")

    def check(self, vkey: str | None = None, witnesses: Sequence[str] = ()) -> dict[str, Any]:
        """What the pack shows. Raises Wrong at the first thing that is not right."""
        try:
            self.read_keys(vkey, witnesses)
            self.check_manifest()
            self.read_checkpoint()
            self.read_entries()
            self.check_proofs()
            self.read_texts()
            self.check_streams()
            self.check_tables()
        except Wrong as error:
            raise Wrong(f"{self.where}: {error}") from None
        except UNREADABLE as error:
            raise Wrong(f"{self.where}: it does not hold what it should hold ({type(error).__name__})") from None
        erased = sum(isinstance(text, str) for text in self.texts.values())
        return {
            "origin": self.log.name,
            "size": self.size,
            "root": self.root.hex(),
            "entries": len(self.raw),
            "texts": len(self.texts) - erased,
            "erased": erased,
            "completeness": completeness(self.pack, self.entries),
            "cosigned_by": [key.name for key in self.witnesses],
            "has_timestamp": STAMP in self.files,
            "key_was_given": vkey is not None,
        }

    def read_keys(self, vkey: str | None, witnesses: Sequence[str]) -> None:
        """keys.txt: `log VKEY`, and `witness VKEY` a line. What the checker trusts stands above it."""
        (word, log), *others = (line.split(" ") for line in self.file("keys.txt").decode()[:-1].split("\n"))
        self.log = key_of(log, 1)
        if word != "log" or any(word != "witness" for word, _ in others):
            wrong("it is not a list of keys")
        if vkey is not None and key_of(vkey, 1) != self.log:
            wrong("it names another key of the log than the one that you gave")
        self.witnesses = [key_of(each, 4) for each in witnesses or [vkey for _, vkey in others]]

    def check_manifest(self) -> None:
        """Every file is the one that the log's owner signed for."""
        text, expected = signed_text(self.file("manifest"), self.log), manifest_of(self.log.name, self.files)
        if text != expected:
            said, found = ({line.split(" ")[-1]: line for line in each.split("\n")[2:-1]} for each in (text, expected))
            for self.where in sorted(name for name in {*said, *found} if said.get(name) != found.get(name)):
                what = "it is missing" if self.where not in found else "it is not the file that was signed for"
                wrong(what if self.where in said else "it is not in the manifest")
            wrong("it is not in its one legal spelling")

    def read_checkpoint(self) -> None:
        """The log's owner, and each witness named, signed that the tree has this size and root."""
        note = self.file("checkpoint")
        text = signed_text(note, self.log)
        origin, size, root = text[:-1].split("\n")
        self.size, self.root = int(size), bytes_of(root)
        if (origin, str(self.size), len(self.root)) != (self.log.name, size, 32):
            wrong("it is not a checkpoint of this log")
        for witness in self.witnesses:
            signed_text(note, witness)
        if STAMP in self.files and hashlib.sha512(text.encode()).digest() not in self.file(STAMP):
            wrong("it is of another checkpoint")
        self.pack = json.loads(self.file("pack.json"))
        if self.pack["checkpoint"] != {"size": self.size, "root": root} or pretty(self.pack) != self.files["pack.json"]:
            wrong("it is not about this checkpoint")

    def read_entries(self) -> None:
        """entries.jsonl: line by line, as hashed, the leaves that pack.json selects, in their order."""
        by, population, leaves = self.pack["selected_by"], self.pack["population"], selected(self.pack)
        whole = [[0, self.size]] if "all" in by else population[:1] if "from" in by else population
        if population != whole:
            wrong("its population is not what was selected")
        lines = self.file("entries.jsonl").split(b"\n")
        if lines.pop() or len(lines) != len(leaves):
            wrong(f"it does not hold the {len(leaves)} entries that were selected")
        self.raw, self.entries = dict(zip(leaves, lines)), {}
        for leaf, line in self.raw.items():
            self.where = f"entries.jsonl, leaf {leaf}"
            entry = self.entries[leaf] = json.loads(line)
            if canonical(entry) != line:
                wrong("it is not in its one legal spelling")
            if "customer" in by and entry.get("customer_id") != by["customer"]:
                wrong("it is of another customer")
            if "from" in by and leaf not in self.pack["also"]:
                start, stop = ((by[edge] or open_end)[:-1] for edge, open_end in (("from", "0Z"), ("to", "9999Z")))
                if not start <= entry["recorded_at"][:-1] < stop:
                    wrong("it was recorded at another time")

    def check_proofs(self) -> None:
        """Every entry is in the tree, by its proof. All entries of the log together need none: they make the root."""
        proofs = {name for name in self.files if PROOF.fullmatch(name)}
        if list(self.raw) == list(range(self.size)):
            self.where = "entries.jsonl"
            if proofs or root_over(map(leaf_hash, self.raw.values())) != self.root:
                wrong("its entries do not make the root of the checkpoint")
            return
        for leaf, line in self.raw.items():
            head, _, note = self.file(f"proofs/{leaf}.tlog-proof").partition(b"\n\n")
            first, index, *hashes = head.decode().split("\n")
            if (first, index, note) != ("c2sp.org/tlog-proof@v1", f"index {leaf}", self.files["checkpoint"]):
                wrong("it is not the proof of this leaf under the checkpoint")
            if root_from_proof(leaf_hash(line), leaf, self.size, [bytes_of(each) for each in hashes]) != self.root:
                wrong(f"leaf {leaf} and its proof do not lead to the root of the checkpoint")
            proofs.remove(self.where)
        for self.where in sorted(proofs):
            wrong("it proves no entry of this pack")

    def read_texts(self) -> None:
        """texts.txt: the words of each entry that has words, with r, or the leaf that orders their erasure.

        `<leaf> <base64 of r> <words as JSON>`, or `<leaf> erased <leaf of the order> [erased on <day>]`.
        """
        self.texts: dict[int, dict[str, str] | str] = {}
        wanted = [leaf for leaf, entry in self.entries.items() if "personal" in entry]
        lines = self.file("texts.txt").split(b"\n")
        if lines.pop() or len(lines) != len(wanted):
            wrong(f"it does not hold the {len(wanted)} texts that the entries have")
        for leaf, line in zip(wanted, lines):
            self.where, entry = f"texts.txt, leaf {leaf}", self.entries[leaf]
            number, r, words = line.split(b" ", 2)
            made = b"promise-ledger/personal/v1\0" + entry["event_id"].encode() + b"\0" + words
            if int(number) != leaf:
                wrong("it is the text of another leaf")
            if r == b"erased":
                order, mark = words.decode().split(" ", 1)
                ordered = self.entries[int(order)]
                same = (ordered["type"], ordered["customer_id"]) == ("subject.erasure_requested", entry["customer_id"])
                if not same or mark != f"[erased on {ordered['recorded_at'][:10]}]":
                    wrong("what it names does not order its erasure")
                self.texts[leaf] = mark
            elif hmac.new(bytes_of(r.decode()), made, "sha256").digest() == bytes_of(entry["personal"]["commitment"]):
                self.texts[leaf] = {str(member): str(said) for member, said in json.loads(words).items()}
            else:
                wrong("it is not the text that the entry commits to")

    def check_streams(self) -> None:
        """Where whole streams were selected, each is here from version 1 to the last that pack.json says it has."""
        self.where, by = "pack.json", self.pack["selected_by"]
        others = {self.entries[leaf]["stream"] for leaf in self.pack["also"]}
        for stream in gaps(self.pack, self.entries):
            as_a_whole = self.pack["sample"] is None and ("case" in by or "promise" in by)
            if as_a_whole and stream.split(":")[0] not in SHARED and stream not in others:
                wrong(f"{stream} is to be here as a whole and is not")

    def check_tables(self) -> None:
        """Tables, totals and page say the same as the entries."""
        if csv_of(TIMELINE, timeline(self.raw, self.texts)) != self.file("timeline.csv"):
            wrong("it is not what the entries make it")
        promises = {f"promise:{row['promise_id']}": int(row["events"]) for row in rows_of(self.file("promises.csv"))}
        if promises != {stream: n for stream, n in self.pack["streams"].items() if stream.startswith("promise:")}:
            wrong("it has other promises than the entries")
        for row in rows_of(self.file("findings.csv")):
            if row["proven_here"] != ("yes" if int(row["opened_by"]) in self.raw else "no"):
                wrong(f"{row['code']} of leaf {row['opened_by']} does not fit the entries")
        if totals(self.raw, self.texts, self.files) != self.file("totals.json"):
            wrong("it is not what the other files add up to")
        page = self.file("report.html")
        shown = [int(leaf) for leaf in re.findall(rb'<tr id="leaf-([0-9]{1,19})">', page)]
        if shown != list(self.raw) or hashlib.sha256(self.files["totals.json"]).hexdigest().encode() not in page:
            wrong("it does not show what the tables hold")


def check(directory: str, vkey: str | None = None, witnesses: Sequence[str] = ()) -> dict[str, Any]:
    """What the pack in `directory` shows; raises Wrong, or OSError where it cannot be read."""
    return Pack(directory).check(vkey, witnesses)


def sentences(found: dict[str, Any]) -> list[str]:
    """The same for people."""
    lines = [
        f"AS SIGNED: {found['entries']} events of {found['origin']}, under its checkpoint of {found['size']} events",
        f"root {found['root']}, cosigned by {', '.join(found['cosigned_by']) or 'nobody'}",
        f"texts that are those committed to: {found['texts']}; erased: {found['erased']}",
        found["completeness"],
    ]
    if found["has_timestamp"]:
        lines.append("a timestamp names this checkpoint; `openssl ts -verify` says whether it holds, see README.md")
    if not found["key_was_given"]:
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
        lines = sentences(check(options.directory, options.vkey, options.witness))
    except (Wrong, OSError) as error:
        lines = [f"NOT AS SIGNED: {error}"]
    print(*(visible(line).encode("ascii", "backslashreplace").decode() for line in lines), sep="\n")
    return 1 if lines[0].startswith("NOT") else 0


if __name__ == "__main__":
    sys.exit(main())
