"""Copies of a log's entries, wherever they are: a site that `export-tiles` wrote, a mirror, the stream of events."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from deploy.feeding import fetch, fetch_checkpoint
from deploy.foreign import beginning
from ledger.recovery.evidence import NotRecovered
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import Malformed, TlogError
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import MAX_NOTE_SIZE, Note
from ledger.tlog.tiles import ENTRIES, WIDTH, parse_bundle, tile_path, tile_width

_BUNDLE_BYTES = WIDTH * (2 + 0xFFFF)


@dataclass(frozen=True, slots=True)
class Site:
    """A site of c2sp.org/tlog-tiles: its checkpoint, not verified yet, and its bundles of entries."""

    place: str
    note: bytes
    size: int
    fetch: Callable[[str], bytes]

    def read(self, first: int, stop: int) -> Sequence[bytes]:
        """The entries from `first` on, all of one bundle; none where the site ends before."""
        index = first // WIDTH
        width = tile_width(ENTRIES, index, self.size)
        begin = first - index * WIDTH
        if width <= begin:
            return ()
        try:
            bundle = parse_bundle(self._bundle(index, width), width)
        except (OSError, HTTPException, TlogError) as error:
            raise NotRecovered(
                f"{self.place}: the entries from leaf {index * WIDTH} cannot be read: {error}"
            ) from error
        return bundle[begin : stop - index * WIDTH]

    def _bundle(self, index: int, width: int) -> bytes:
        """The bundle; where a partial one is gone, the beginning of the full one that stands beside it."""
        try:
            return self.fetch(tile_path(ENTRIES, index, width))
        except OSError:
            if width == WIDTH:
                raise
        entries = parse_bundle(self.fetch(tile_path(ENTRIES, index)))[:width]
        return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def site(place: str) -> Site:
    """The site in a directory or at an address. Raises NotRecovered where there is none."""
    try:
        note = read_checkpoint(place)
        size = Checkpoint.parse(Note.parse(note).text).size
    except (OSError, HTTPException, Malformed) as error:
        raise NotRecovered(f"{place} is no site of a log, as `export-tiles` writes it: {error}") from error
    if place.startswith(("http://", "https://")):
        return Site(place, note, size, lambda path: fetch(f"{place.rstrip('/')}/{path}", _BUNDLE_BYTES))
    return Site(place, note, size, lambda path: beginning(Path(place) / path, _BUNDLE_BYTES))


def read_checkpoint(place: str) -> bytes:
    """The checkpoint in a file, in a site's directory, or at an address; not verified yet."""
    if place.startswith(("http://", "https://")):
        return fetch_checkpoint(place)
    path = Path(place)
    return beginning(path / "checkpoint" if path.is_dir() else path, MAX_NOTE_SIZE)


@dataclass(frozen=True, slots=True)
class Published:
    """Entries as they were published on the queue, by leaf; `left_out` counts what else was published as such."""

    entries: Mapping[int, bytes]
    left_out: int

    def read(self, first: int, stop: int) -> Sequence[bytes]:
        """The entries from `first` on, up to the first that is not there."""
        found = []
        while first < stop and (entry := self.entries.get(first)) is not None:
            found.append(entry)
            first += 1
        return found


def published(said: Mapping[int, Collection[bytes]], hashes: Mapping[int, bytes]) -> Published:
    """Of all that was `said` to be the entry of a leaf the one whose hash a receipt proves (`hashes`). Where none does,
    as of a refusal, the first: the ledger publishes soon, and whoever forges another one is seldom before it.
    """
    chosen = {}
    for leaf, candidates in said.items():
        expected = hashes.get(leaf)
        entry = next((each for each in candidates if expected in (None, leaf_hash(each))), None)
        if entry is not None:
            chosen[leaf] = entry
    return Published(chosen, sum(map(len, said.values())) - len(chosen))
