"""Inclusion and consistency proofs of RFC 9162: made from a reader of nodes, and verified from bytes alone.

    leaf 2 of 3:   proof = [node(1, 0)]                 root = H(node(1, 0), leaf 2)
    3 leaves → 4:  proof = [leaf 2, leaf 3, node(1, 0)]

A proof is a list of 32-byte hashes. `verify_…` return None or raise `BadProof`, whatever they are given.
"""

from collections.abc import Callable, Sequence

from ledger.tlog.errors import BadProof
from ledger.tlog.merkle import MAX_SIZE, is_hash, node_hash

MAX_PROOF = 63
"""More hashes than this cannot belong to a tree of at most 2^63 - 1 leaves."""

NodeReader = Callable[[int, int], bytes]
"""(level, index) → the root of the complete subtree over leaves [index·2^level, (index+1)·2^level)."""


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` leaves, from leaf to root."""
    assert 0 <= index < size <= MAX_SIZE, "the leaf is not in the tree"
    proof = []
    for level in range((size - 1).bit_length()):
        sibling = index >> level ^ 1
        start, end = sibling << level, min((sibling + 1) << level, size)
        if start < end:
            proof.append(_subtree(start, end, node))
    return proof


def consistency_proof(size1: int, size2: int, node: NodeReader) -> list[bytes]:
    """Return the proof that the tree of `size2` leaves extends that of `size1`. Empty where they are equal or 0.

    Source: RFC 9162, section 2.1.4.1 (SUBPROOF, unrolled: from the root down, so the result is reversed).
    """
    assert 0 <= size1 <= size2 <= MAX_SIZE, "a tree never shrinks"
    if size1 in (0, size2):
        return []
    proof = []
    start, end = 0, size2
    while size1 < end:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if size1 <= middle:
            proof.append(_subtree(middle, end, node))
            end = middle
        else:
            proof.append(_subtree(start, middle, node))
            start = middle
    if start > 0:
        proof.append(_subtree(start, end, node))
    return proof[::-1]


def _subtree(start: int, end: int, node: NodeReader) -> bytes:
    """Return the root over leaves [start, end), where start is a multiple of the power of two that spans them."""
    hashes = []
    while start < end:
        level = (end - start).bit_length() - 1
        hashes.append(node(level, start >> level))
        start += 1 << level
    result = hashes.pop()
    while hashes:
        result = node_hash(hashes.pop(), result)
    return result


def root_from_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Recompute the root that commits `leaf_hash` at `index` in a tree of `size` leaves.

    `proof` runs from leaf to root, 32 bytes each. Raises `BadProof` where its length does not fit `index` and
    `size`. Source: RFC 9162, section 2.1.3.2.
    """
    _check_sizes(index, size)
    _check_hashes(leaf_hash, *_checked(proof))
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if index >= size or len(proof) != inner + border:
        raise BadProof(f"{len(proof)} hashes do not prove leaf {index} of {size}")
    result = leaf_hash
    for level, sibling in enumerate(proof):
        on_the_right = level >= inner or index >> level & 1
        result = node_hash(sibling, result) if on_the_right else node_hash(result, sibling)
    return result


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `BadProof` unless `proof` shows `leaf_hash` at `index` of the tree of `size` leaves with `root`."""
    _check_hashes(root)
    if root_from_inclusion(leaf_hash, index, size, proof) != root:
        raise BadProof(f"the proof of leaf {index} of {size} leads to another root")


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Raise `BadProof` unless `proof` shows that the tree (size2, root2) extends the tree (size1, root1).

    Sizes from 1: nothing follows from an empty tree, the caller decides that case. Source: RFC 9162, 2.1.4.2.
    """
    _check_sizes(size1, size2)
    _check_hashes(root1, root2, *_checked(proof))
    if not 1 <= size1 <= size2:
        raise BadProof(f"a tree of {size2} leaves cannot be shown to extend one of {size1}")
    if size1 == size2:
        if proof or root1 != root2:
            raise BadProof(f"two trees of {size1} leaves differ")
        return
    if _roots_from_consistency(size1, size2, list(proof), root1) != (root1, root2):
        raise BadProof(f"the tree of {size2} leaves does not extend that of {size1}")


def _roots_from_consistency(size1: int, size2: int, proof: list[bytes], root1: bytes) -> tuple[bytes, bytes]:
    """Recompute both roots from the proof; the loop names are those of RFC 9162 (fn, sn, fr, sr)."""
    path = proof if size1.bit_count() > 1 else [root1, *proof]
    if not proof:
        raise BadProof("the consistency proof is empty")
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise BadProof("the consistency proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(sibling, fr), node_hash(sibling, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise BadProof("the consistency proof is too short")
    return fr, sr


def _check_sizes(*numbers: int) -> None:
    if not all(type(number) is int and 0 <= number <= MAX_SIZE for number in numbers):
        raise BadProof("an index or size is not between 0 and 2^63 - 1")


def _check_hashes(*hashes: bytes) -> None:
    if not all(map(is_hash, hashes)):
        raise BadProof("a hash is not 32 bytes")


def _checked(proof: Sequence[bytes]) -> Sequence[bytes]:
    """Return `proof`; refuse one that is no list or tuple, or too long for any tree."""
    if type(proof) not in (list, tuple) or len(proof) > MAX_PROOF + 1:
        raise BadProof("the proof is not a list of hashes, or longer than any tree is high")
    return proof
