"""The errors of the transparency log: malformed bytes, or a proof that does not hold."""


class TlogError(Exception):
    """Base of everything that this package raises about its input."""


class BadProof(TlogError):
    """A well-formed claim that does not hold: a hash, a length or a position does not fit."""


class BadSignature(BadProof):
    """A trusted key's signature fails, or there is no signature by a trusted key."""


class Malformed(TlogError):
    """Bytes that are not the one legal spelling of what they should be."""


class MalformedFrontier(Malformed):
    """Hashes that are not the right edge of a tree of that size."""


class MalformedKey(Malformed):
    """A verifier or signer key that does not parse."""


class MalformedNote(Malformed):
    """A signed note that does not parse."""


class MalformedCheckpoint(Malformed):
    """A checkpoint text that does not parse."""


class MalformedCosignature(Malformed):
    """A cosignature or its time that does not parse."""


class MalformedProofFile(Malformed):
    """A proof file that does not parse."""


class MalformedTile(Malformed):
    """A tile path, a tile or an entry bundle that does not parse."""


class MalformedRequest(Malformed):
    """A request to a witness that does not parse."""


class MalformedPolicy(Malformed):
    """A policy file that does not parse."""


class MalformedEntry(Malformed):
    """A log entry that is not bytes, or not canonical JSON within the limits."""
