"""What takes part in a comparison: tokenzip's predictors and the peers, all on token grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenzip import predictors
from tokenzip.bench.layouts import Grid, Layout
from tokenzip.bench.peers import Peer, all_peers
from tokenzip.errors import OptionError

TOKENS = "tokens"  # the "layout" of tokenzip, which needs none


class Contender(Protocol):
    """A compressor of token grids."""

    def encode(self, grids: Sequence[Grid], alphabet: int) -> bytes:
        """All these grids in one piece."""

    def decode(self, data: bytes, shapes: Sequence[tuple[int, ...]], alphabet: int) -> list[Grid]:
        """The grids again."""


@dataclass(frozen=True)
class Ours:
    """tokenzip with one predictor; several grids are coded solid."""

    predictor: str
    threads: int

    def encode(self, grids: Sequence[Grid], alphabet: int) -> bytes:
        from tokenzip.codec import Codec

        single = len(grids) == 1
        codec = Codec(
            alphabet=alphabet, predictor=self.predictor, solid=not single, threads=self.threads
        )
        return codec.encode(grids[0] if single else list(grids))

    def decode(self, data: bytes, shapes: Sequence[tuple[int, ...]], alphabet: int) -> list[Grid]:
        from tokenzip.codec import Codec

        decoded = Codec(threads=self.threads).decode(data)
        return decoded if isinstance(decoded, list) else [decoded]


@dataclass(frozen=True)
class Theirs:
    """A peer with a byte layout."""

    peer: Peer
    layout: Layout

    def encode(self, grids: Sequence[Grid], alphabet: int) -> bytes:
        return self.peer.compress(self.layout.to_bytes(grids, alphabet))

    def decode(self, data: bytes, shapes: Sequence[tuple[int, ...]], alphabet: int) -> list[Grid]:
        size = self.layout.size(shapes, alphabet)
        return self.layout.from_bytes(self.peer.decompress(data, size), shapes, alphabet)


def our_names() -> list[str]:
    """The names of tokenzip's own contenders."""
    return [f"tokenzip {name}" for name in predictors.CHOICES if name != "auto"]


def missing(name: str) -> str | None:
    """What must be installed before this contender can run; None when it can.

    Raises:
        OptionError: there is no contender of this name.
    """
    return None if name in our_names() else peer_named(name).missing()


def peer_named(name: str) -> Peer:
    """The peer of this name; its first word is enough ("xz").

    Raises:
        OptionError: there is none.
    """
    for peer in all_peers():
        if name in (peer.name, peer.name.split()[0]):
            return peer
    known = ", ".join([*our_names(), *(peer.name for peer in all_peers())])
    raise OptionError(f"no compressor is called {name!r}; there are: {known}")
