"""The name of a candidate: a 64-bit content hash, for one composition or for millions at once.

``candidate_id`` is ``hm-`` and 16 hexadecimal digits of a 64-bit number made in two steps:

1. each sublattice: the first eight bytes, big-endian, of the SHA-256 of its canonical text, such as
   ``ABX3|A|Ba=1/5,La=1/5,Li=1/10,Nd=1/5,Pr=1/5,Sr=1/10``: prototype, site, species by name with exact fractions in
   lowest terms, zeros left out, ``vacancy`` included;
2. ``h = 0``, then for A, B, X in turn ``h = mix(h + word + 0x9E3779B97F4A7C15)``, modulo 2^64, where ``mix`` is the
   finaliser of SplitMix64 (Steele, Lea and Flood, doi:10.1145/2714064.2660195), a bijection.

So the name depends on what stands on which site and on nothing else: not on order, on how a fraction is written, on
oxidation states or on the campaign. In ABX3 neither cations on A and B may be swapped (twelve- and sixfold sites), nor
does the X sublattice have more than one orbit: there is no other symmetry to take out. Among n compositions the
chance of any two sharing a name is n^2 / 2^65: 1e-5 for the 1.9e7 of the largest published screen (with the 48 bits
of 12 digits it would have been half).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

PROTOTYPE = "ABX3"
SITES = ("A", "B", "X")
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_HEX_PAIRS = np.array([np.frombuffer(f"{n:02x}".encode(), np.uint16)[0] for n in range(256)], np.uint16)
ID_LENGTH = 19


def canonical_text(site: str, species: Mapping[str, Fraction]) -> str:
    """Return the text of one sublattice that is hashed."""
    return f"{PROTOTYPE}|{site}|" + ",".join(f"{s}={Fraction(x)}" for s, x in sorted(species.items()) if x)


def site_word(site: str, species: Mapping[str, Fraction]) -> int:
    """Return the 64-bit hash of one sublattice."""
    return int.from_bytes(hashlib.sha256(canonical_text(site, species).encode()).digest()[:8], "big")


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's finaliser of each word (doi:10.1145/2714064.2660195)."""
    z = words ^ (words >> np.uint64(30))
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def combine(a: NDArray[np.uint64], b: NDArray[np.uint64], x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the 64-bit names of compositions from the words of their sublattices, shape=(n,)."""
    h = np.zeros_like(a)
    for words in (a, b, x):
        h = mix(h + words + _GAMMA)
    return h


def render(names: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the names as text, ASCII codes of ``hm-0123456789abcdef``, shape=(n, 19)."""
    text = np.empty((len(names), ID_LENGTH), np.uint8)
    text[:, :3] = np.frombuffer(b"hm-", np.uint8)
    octets = names.astype(">u8").view(np.uint8)
    text[:, 3:] = _HEX_PAIRS[octets].view(np.uint8).reshape(-1, 16)
    return text


def candidate_id(sites: Mapping[str, Mapping[str, Fraction]]) -> str:
    """Return the name of a composition: equal however its species and fractions were written."""
    words = (np.array([site_word(site, sites[site])], np.uint64) for site in SITES)
    return render(combine(*words)).tobytes().decode()
