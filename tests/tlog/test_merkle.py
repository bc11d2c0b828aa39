import pytest

from ledger.tlog.errors import MalformedFrontier
from ledger.tlog.merkle import EMPTY_ROOT, Extension, Frontier, leaf_hash, node_hash, root
from tests.tlog.naive import LEAVES, naive_inclusion, naive_node, naive_root


def test_the_published_check_values_hold():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


def test_the_roots_of_the_well_known_eight_leaf_tree_hold():
    entries = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    assert [root(map(bytes.fromhex, entries[: size + 1])).hex() for size in range(8)] == roots


def test_every_size_has_the_root_of_the_naive_tree():
    for size in range(301):
        assert Frontier().extend(LEAVES[:size]).root() == naive_root(0, size)


def test_the_root_of_many_entries_does_not_depend_on_the_chunks():
    entries = [b"%d" % number for number in range(20_000)]
    assert root(iter(entries)) == Frontier().extend([leaf_hash(entry) for entry in entries]).root()


@pytest.mark.parametrize("old_size", [0, 1, 2, 3, 7, 8, 100, 127, 128, 129, 255, 256, 257, 300])
def test_an_extension_equals_the_tree_built_at_once(old_size: int):
    frontier = Frontier().extend(LEAVES[:old_size])
    for size in range(old_size, 301):
        extension = Extension(frontier, LEAVES[old_size:size])
        assert extension.root == naive_root(0, size)
        assert extension.frontier == Frontier().extend(LEAVES[:size])


def test_every_new_leaf_of_every_extension_gets_the_naive_proof():
    for old_size in [*range(70), 127, 128, 129, 255, 256]:
        frontier = Frontier().extend(LEAVES[:old_size])
        for size in {old_size, old_size + 1, old_size + 2, old_size + 7, 299, 300}:
            extension = Extension(frontier, LEAVES[old_size:size])
            expected = [naive_inclusion(index, 0, size) for index in range(old_size, size)]
            assert extension.inclusion_proofs() == expected
    assert [extension.inclusion_proof(index) for index in range(extension.old_size, extension.size)] == expected


def test_an_extension_names_the_nodes_that_it_completes():
    for old_size, size in [(0, 0), (0, 8), (3, 9), (5, 6), (127, 300), (128, 300)]:
        extension = Extension(Frontier().extend(LEAVES[:old_size]), LEAVES[old_size:size])
        for level in range(10):
            nodes = [naive_node(level, index) for index in range(old_size >> level, size >> level)]
            assert extension.completed(level) == (old_size >> level, nodes)


def test_an_extension_has_no_proof_for_other_leaves():
    extension = Extension(Frontier().extend(LEAVES[:5]), LEAVES[5:9])
    for index in (-1, 4, 9):
        with pytest.raises(AssertionError):
            extension.inclusion_proof(index)


def test_a_frontier_survives_its_bytes():
    for size in range(301):
        frontier = Frontier().extend(LEAVES[:size])
        assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier


@pytest.mark.parametrize(
    ("size", "data"),
    [
        (1, b""),
        (0, b"x" * 32),
        (3, b"x" * 32),
        (3, b"x" * 63),
        (3, b"x" * 65),
        (3, b"x" * 96),
        (-1, b"x" * 32),
        (2**63, b"x" * 32),
        (True, b"x" * 32),
        (1.0, b"x" * 32),
        ("1", b"x" * 32),
        (1, None),
        (1, "x" * 32),
    ],
)
def test_a_frontier_that_does_not_fit_its_size_is_refused(size: int, data: bytes):
    with pytest.raises(MalformedFrontier):
        Frontier.from_bytes(size, data)


def test_a_tree_never_grows_beyond_the_largest_size():
    full = Frontier(2**63 - 1, tuple(LEAVES[:63]))
    with pytest.raises(MalformedFrontier):
        full.extend(LEAVES[:1])
    with pytest.raises(MalformedFrontier):
        Extension(full, LEAVES[:1])
