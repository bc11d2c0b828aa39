import pytest

from ledger.tlog.errors import BadProof
from ledger.tlog.proofs import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from tests.tlog.naive import LEAVES, naive_consistency, naive_inclusion, naive_node, naive_root


def test_every_leaf_of_every_size_is_proven_as_the_naive_tree_says():
    for size in range(1, 301):
        root = naive_root(0, size)
        for index in range(size):
            proof = inclusion_proof(index, size, naive_node)
            assert proof == naive_inclusion(index, 0, size)
            verify_inclusion(LEAVES[index], index, size, proof, root)


def test_every_pair_of_sizes_is_proven_as_the_naive_tree_says():
    for size2 in range(1, 301):
        for size1 in range(1, size2 + 1):
            proof = consistency_proof(size1, size2, naive_node)
            assert proof == naive_consistency(size1, 0, size2)
            verify_consistency(size1, size2, proof, naive_root(0, size1), naive_root(0, size2))


def test_the_proof_from_the_empty_tree_is_empty_and_proves_nothing():
    assert consistency_proof(0, 5, naive_node) == []
    for size2 in (0, 5):
        with pytest.raises(BadProof):
            verify_consistency(0, size2, [], naive_root(0, 0), naive_root(0, size2))


def test_every_one_byte_corruption_of_an_inclusion_proof_is_refused():
    for size in (1, 2, 3, 7, 8, 11, 64, 300):
        for index in {0, size // 2, size - 1}:
            proof = naive_inclusion(index, 0, size)
            hashes = [LEAVES[index], naive_root(0, size), *proof]
            for broken in _corruptions(hashes):
                with pytest.raises(BadProof):
                    verify_inclusion(broken[0], index, size, broken[2:], broken[1])


def test_every_one_byte_corruption_of_a_consistency_proof_is_refused():
    for size1, size2 in [(1, 1), (1, 2), (3, 3), (3, 7), (4, 7), (6, 8), (7, 8), (64, 300), (255, 300), (299, 300)]:
        hashes = [naive_root(0, size1), naive_root(0, size2), *naive_consistency(size1, 0, size2)]
        for broken in _corruptions(hashes):
            with pytest.raises(BadProof):
                verify_consistency(size1, size2, broken[2:], broken[0], broken[1])


def _corruptions(hashes: list[bytes]):
    for place, value in enumerate(hashes):
        for byte in range(32):
            changed = value[:byte] + bytes([value[byte] ^ 1 << byte % 8]) + value[byte + 1 :]
            yield [*hashes[:place], changed, *hashes[place + 1 :]]


def test_a_proof_of_another_length_is_refused():
    for size in range(1, 40):
        for index in range(size):
            proof, root = naive_inclusion(index, 0, size), naive_root(0, size)
            wrong = [[*proof, root], [root, *proof], [*proof, *proof, root]] + (
                [proof[1:], proof[:-1]] if proof else []
            )
            for other in wrong:
                with pytest.raises(BadProof):
                    verify_inclusion(LEAVES[index], index, size, other, root)
        for size2 in range(size, 40):
            proof, root1, root2 = naive_consistency(size, 0, size2), naive_root(0, size), naive_root(0, size2)
            wrong = [[*proof, root1], [root1, *proof]] + ([[], proof[1:], proof[:-1]] if proof else [])
            for other in wrong:
                with pytest.raises(BadProof):
                    verify_consistency(size, size2, other, root1, root2)


def test_a_proof_for_one_leaf_or_size_does_not_serve_another():
    for size in range(2, 60):
        root = naive_root(0, size)
        for index in range(size):
            proof = naive_inclusion(index, 0, size)
            for other in {index - 1, index + 1, index ^ 2, index + size, 2**62}:
                with pytest.raises(BadProof):
                    verify_inclusion(LEAVES[index], other, size, proof, root)
        with pytest.raises(BadProof):
            verify_consistency(size, size, [], root, naive_root(0, size - 1))
        with pytest.raises(BadProof):
            verify_consistency(size, size - 1, naive_consistency(size - 1, 0, size), root, naive_root(0, size - 1))


def test_a_lax_verifier_would_be_led_to_a_true_root_by_a_wrong_length_or_place():
    root = naive_root(0, 2)
    with pytest.raises(BadProof, match="do not prove"):
        verify_inclusion(LEAVES[1], 1, 1, [LEAVES[0]], root)
    with pytest.raises(BadProof, match="do not prove"):
        verify_inclusion(LEAVES[1], 0, 1, [LEAVES[0]], root)


def test_a_larger_size_signed_for_a_smaller_tree_is_not_proven_by_a_proof_that_ends_early():
    for size1 in range(1, 20):
        for size2 in range(size1 + 1, 20):
            proof, root1, root2 = naive_consistency(size1, 0, size2), naive_root(0, size1), naive_root(0, size2)
            for claimed in range(size2 + 1, 80):
                if len(naive_consistency(size1, 0, claimed)) > len(proof):
                    with pytest.raises(BadProof, match="too short"):
                        verify_consistency(size1, claimed, proof, root1, root2)


H = b"h" * 32


@pytest.mark.parametrize("number", [-1, 2**63, 2**64, 10**400, 1.0, True, None, "1", b"1", [], float("nan")])
def test_a_number_of_any_strange_kind_is_a_bad_proof(number):
    for index, size in [(number, 5), (0, number), (number, number)]:
        with pytest.raises(BadProof):
            verify_inclusion(H, index, size, [H], H)
    for size1, size2 in [(number, 5), (1, number), (number, number)]:
        with pytest.raises(BadProof):
            verify_consistency(size1, size2, [H], H, H)


@pytest.mark.parametrize("value", [b"", b"h" * 31, b"h" * 33, "h" * 32, None, 5, bytearray(32), [H], memoryview(H)])
def test_a_hash_of_any_strange_kind_is_a_bad_proof(value):
    for leaf, proof, root in [(value, [H], H), (H, [value], H), (H, [H], value), (H, value, H)]:
        if proof == [H] and leaf == root == H:
            continue
        with pytest.raises(BadProof):
            verify_inclusion(leaf, 0, 2, proof, root)
        with pytest.raises(BadProof):
            verify_consistency(1, 2, proof, leaf, root)


def test_an_endless_proof_is_refused_before_it_is_read():
    with pytest.raises(BadProof, match="longer than any tree"):
        verify_inclusion(H, 0, 2**63 - 1, [H] * 1_000_000, H)
    with pytest.raises(BadProof, match="longer than any tree"):
        verify_consistency(1, 2**63 - 1, [H] * 1_000_000, H, H)


def test_a_root_that_could_still_change_is_refused():
    with pytest.raises(BadProof):
        verify_inclusion(LEAVES[0], 0, 1, [], bytearray(LEAVES[0]))
    with pytest.raises(BadProof):
        verify_consistency(1, 1, [], LEAVES[0], bytearray(LEAVES[0]))


def test_the_largest_tree_can_be_verified():
    leaf, size = LEAVES[0], 2**63 - 1
    proof = inclusion_proof(size - 1, size, lambda level, index: LEAVES[level])
    assert len(proof) == 62
    with pytest.raises(BadProof):
        verify_inclusion(leaf, size - 1, size, proof, H)
