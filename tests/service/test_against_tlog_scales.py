"""A log written, signed and proven by tlog-scales, which we did not write, read by our library and by our witness."""

from functools import cache
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import PlainEd25519Signer
from tlog_scales.writer import TilesWriter

from deploy.feeding import feed
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.merkle import leaf_hash, root
from ledger.tlog.note import Signer, Verifier
from ledger.tlog.proofs import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from ledger.tlog.tiles import ENTRIES, Tile, node_reader, parse_bundle, parse_tile_path, tile_path, tiles_between
from tests.service.serving import served
from tests.service.witnesses import witness_in

SIZES = (1, 255, 256, 300, 65_536, 66_000)
THEIRS = PlainEd25519Signer("their.example/log", b"t" * 32)
OURS = Signer(THEIRS.vkey.name, b"t" * 32)
KEY = Verifier.parse(THEIRS.vkey.serialize())


def entry(index: int) -> bytes:
    return b"entry %d" % index


class Written:
    """Their log in `site`, which grows; `checkpoints` are those it has published, by size."""

    def __init__(self, site: Path) -> None:
        self.site = site
        self.writer = TilesWriter.create(site, THEIRS.vkey.name)
        self.checkpoints: dict[int, Checkpoint] = {}

    def grow(self, size: int) -> Checkpoint:
        for index in range(self.writer.size, size):
            self.writer.add_leaf(entry(index))
        self.writer.commit([THEIRS], gc=False)
        self.checkpoints[size], _ = open_checkpoint((self.site / "checkpoint").read_bytes(), KEY)
        return self.checkpoints[size]

    def tile(self, tile: Tile) -> bytes:
        return (self.site / tile_path(*tile)).read_bytes()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Written:
    written = Written(tmp_path_factory.mktemp("theirs") / "site")
    for size in SIZES:
        written.grow(size)
    return written


def test_their_key_and_their_signature_are_ours_byte_for_byte(theirs: Written) -> None:
    assert OURS.vkey == THEIRS.vkey.serialize()
    newest = theirs.checkpoints[SIZES[-1]]
    assert (theirs.site / "checkpoint").read_bytes() == newest.sign(OURS)


def test_we_read_their_tiles_and_bundles_and_find_their_roots(theirs: Written) -> None:
    for path in (path for path in theirs.site.rglob("*") if path.is_file() and path.name != "checkpoint"):
        assert tile_path(*parse_tile_path(str(path.relative_to(theirs.site)))) == str(path.relative_to(theirs.site))
    entries: list[bytes] = []
    for tile in tiles_between(0, SIZES[-1]):
        if tile.level == 0:
            bundle = parse_bundle(theirs.tile(tile._replace(level=ENTRIES)), tile.width)
            assert b"".join(map(leaf_hash, bundle)) == theirs.tile(tile)
            entries += bundle
    assert entries == [entry(index) for index in range(SIZES[-1])]
    assert {size: checkpoint.root for size, checkpoint in theirs.checkpoints.items()} == {
        size: root(entries[:size]) for size in SIZES
    }


def test_we_accept_their_proofs_and_make_the_same(theirs: Written) -> None:
    newest = theirs.checkpoints[size := SIZES[-1]]
    reader, node = TilesReader(LocalBackend(theirs.site)), node_reader(size, cache(theirs.tile))
    reader.get_checkpoint()
    for index in (0, 1, 255, 256, 65_535, 65_536, size - 1):
        proof = list(reader.get_inclusion_proof(index, size).node_hashes)
        verify_inclusion(leaf_hash(entry(index)), index, size, proof, newest.root)
        assert inclusion_proof(index, size, node) == proof
    for older in SIZES[:-1]:
        proof = list(reader.get_consistency_proof(older, size).node_hashes)
        verify_consistency(older, size, proof, theirs.checkpoints[older].root, newest.root)
        assert consistency_proof(older, size, node) == proof


def test_our_witness_follows_their_log(tmp_path: Path) -> None:
    written = Written(tmp_path / "site")
    witness, _ = witness_in(tmp_path / "state", OURS)
    site = Starlette(routes=[Mount("/", StaticFiles(directory=written.site))])
    with served(site) as port:
        for size in (3, 256, 600):
            checkpoint = written.grow(size)
            answer = feed(witness, KEY, f"http://127.0.0.1:{port}")
            assert answer is not None
            assert answer.status == 200
            assert witness.latest(KEY.name) == checkpoint
