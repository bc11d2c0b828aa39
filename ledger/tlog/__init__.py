"""The transparency log as a pure library: tree, proofs, notes, checkpoints, tiles, cosignatures. No I/O.

Formats beside parsers, each parser strict: one legal spelling, anything else raises `Malformed…`; a claim that
does not hold raises `BadProof`. Sources: RFC 9162, RFC 8785 and the C2SP specifications (c2sp.org/tlog-tiles,
tlog-checkpoint, signed-note, tlog-cosignature, tlog-witness, tlog-proof, tlog-policy).
"""
