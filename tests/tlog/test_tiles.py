import pytest

from ledger.tlog.errors import MalformedTile
from ledger.tlog.merkle import Frontier, leaf_hash
from ledger.tlog.proofs import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from ledger.tlog.tiles import (
    ENTRIES,
    Tile,
    format_bundle,
    node_reader,
    parse_bundle,
    parse_tile_path,
    split_tile,
    tile_path,
    tile_width,
    tiles_between,
)

PATHS = {
    (0, 1234067, 256): "tile/0/x001/x234/067",
    (0, 0, 256): "tile/0/000",
    (1, 0, 5): "tile/1/000.p/5",
    (63, 999, 255): "tile/63/999.p/255",
    (2, 1000, 1): "tile/2/x001/000.p/1",
    (ENTRIES, 256, 256): "tile/entries/256",
    (ENTRIES, 1_000_000, 128): "tile/entries/x001/x000/000.p/128",
    (0, 2**63 - 1, 256): "tile/0/x009/x223/x372/x036/x854/x775/807",
}


@pytest.mark.parametrize(("tile", "path"), PATHS.items())
def test_paths_are_as_the_specification_says(tile: tuple[int, int, int], path: str):
    assert tile_path(*tile) == path
    assert parse_tile_path(path) == parse_tile_path(path.encode()) == Tile(*tile) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/x001/x000",
        "",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/001",
        "tile/00/000",
        "tile/64/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "TILE/0/000",
        "tile/0/000.p/",
        "tile/0/000.p/5\n",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/٠٠٠",
        "tile/entries/x/000",
        "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/" + "x001/" * 7 + "000",
        "tile/0/000\0",
        "tile/data/000",
        "tile/0/../000",
        "tile/" + "0" * 1000,
        "tile/8/0/000",
        None,
        7,
        b"\xff",
        bytearray(b"tile/0/000"),
    ],
)
def test_a_path_in_another_spelling_is_malformed(path):
    with pytest.raises(MalformedTile):
        parse_tile_path(path)


@pytest.mark.parametrize(
    "tile", [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0), (0, 0, 257), (0, 0, True), (0, "0", 1)]
)
def test_a_tile_that_cannot_be_has_no_path(tile):
    with pytest.raises(MalformedTile):
        tile_path(*tile)


def test_the_width_of_a_partial_tile_is_what_the_tree_fills():
    assert [tile_width(0, 0, size) for size in (0, 1, 255, 256, 257)] == [0, 1, 255, 256, 256]
    assert [tile_width(0, 1, size) for size in (256, 257, 511, 512, 10_000)] == [0, 1, 255, 256, 256]
    assert [tile_width(1, 0, size) for size in (255, 256, 511, 512, 65_535, 65_536)] == [0, 1, 1, 2, 255, 256]
    assert tile_width(ENTRIES, 1, 300) == 44


def test_a_growing_tree_writes_each_tile_that_changed_and_no_other():
    assert list(tiles_between(0, 0)) == list(tiles_between(300, 300)) == []
    assert list(tiles_between(0, 256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert list(tiles_between(256, 257)) == [Tile(0, 1, 1)]
    assert list(tiles_between(250, 600)) == [Tile(0, 0, 256), Tile(0, 1, 256), Tile(0, 2, 88), Tile(1, 0, 2)]
    assert list(tiles_between(65_535, 65_536)) == [Tile(0, 255, 256), Tile(1, 0, 256), Tile(2, 0, 1)]


@pytest.fixture(scope="module")
def big_log():
    """70,000 leaves as tiles of three levels, and their leaf hashes."""
    leaves = [leaf_hash(b"%d" % index) for index in range(70_000)]
    levels = [leaves]
    while len(levels[-1]) >= 256:
        below = levels[-1]
        full = range(0, len(below) // 256 * 256, 256)
        levels.append([Frontier().extend(below[start : start + 256]).root() for start in full])
    tiles = {
        tile: b"".join(levels[tile.level][tile.index * 256 : tile.index * 256 + tile.width])
        for size in (300, 65_536, 70_000)
        for tile in tiles_between(0, size)
    }
    return leaves, tiles


def test_proofs_made_from_tiles_verify(big_log):
    leaves, tiles = big_log
    roots = {size: Frontier().extend(leaves[:size]).root() for size in (300, 65_536, 70_000)}
    for size, root in roots.items():
        node = node_reader(size, tiles.__getitem__)
        for index in (0, 1, 255, 256, 299, size - 257, size - 1):
            verify_inclusion(leaves[index], index, size, inclusion_proof(index, size, node), root)
        for old_size in (other for other in roots if other <= size):
            proof = consistency_proof(old_size, size, node)
            verify_consistency(old_size, size, proof, roots[old_size], root)


def test_a_tile_of_another_length_is_malformed(big_log):
    assert len(split_tile(b"h" * 64, 2)) == 2
    for data, width in [
        (b"", 0),
        (b"h" * 63, 2),
        (b"h" * 65, 2),
        (b"h" * 64, 3),
        (b"h" * 32 * 257, 257),
        ("h" * 32, 1),
        (b"h" * 32, None),
        (b"h" * 32, True),
    ]:
        with pytest.raises(MalformedTile):
            split_tile(data, width)
    with pytest.raises(MalformedTile):
        node_reader(300, lambda tile: b"h" * 31)(0, 5)


def test_a_bundle_survives_its_bytes():
    for entries in ([b"ab", b"c"], [b""], [b"x" * 65_535], [b"%d" % number for number in range(256)]):
        assert parse_bundle(format_bundle(entries), len(entries)) == entries
    assert format_bundle([b"ab", b"c"]) == b"\x00\x02ab\x00\x01c"


@pytest.mark.parametrize(
    ("data", "width"),
    [
        (b"", 1),
        (b"\0", 1),
        (b"\0\x01", 1),
        (b"\0\x02a", 1),
        (b"\0\x01ab", 1),
        (b"\0\x01a", 2),
        (b"\0\0", 0),
        (b"\0\0" * 257, 257),
        (b"\xff\xff" + b"a" * 65_534, 1),
        ("\0\0", 1),
        (None, 1),
        (b"\0\0", "1"),
        (b"\0\0", 1.0),
    ],
)
def test_a_bundle_that_does_not_end_with_its_last_entry_is_malformed(data, width):
    with pytest.raises(MalformedTile):
        parse_bundle(data, width)


@pytest.mark.parametrize("entries", [[], [b""] * 257, [b"x" * 65_536]])
def test_a_bundle_that_cannot_be_written_is_refused(entries):
    with pytest.raises(MalformedTile):
        format_bundle(entries)
