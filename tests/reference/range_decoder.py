"""The range coder of FORMAT.md, section 7, in plain Python integers: both directions.

Written from that text alone; neither constriction nor the package is used here.
"""

from __future__ import annotations

TOTAL = 2**24
WORD = 2**32
STATE = 2**64


class Decoder:
    """Reads symbols from a list of 32-bit words."""

    def __init__(self, words: list[int]) -> None:
        self.words = iter(words)
        self.low = 0
        self.range = STATE - 1
        self.point = next(self.words, 0) * WORD + next(self.words, 0)

    def decode(self, cumulative: list[int]) -> int:
        """The next symbol, or -1 if the words are invalid.

        cumulative: A + 1 rising numbers from 0 to 2**24 - 2.
        """
        scale = self.range // TOTAL
        quantile = (self.point - self.low) % STATE // scale
        if not 1 <= quantile < TOTAL - 1:
            return -1
        symbol = max(s for s in range(len(cumulative) - 1) if cumulative[s] <= quantile - 1)
        self.low = (self.low + scale * (cumulative[symbol] + 1)) % STATE
        self.range = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if self.range < WORD:
            self.low = self.low * WORD % STATE
            self.range *= WORD
            self.point = (self.point * WORD + next(self.words, 0)) % STATE
        return symbol


class Encoder:
    """Writes 32-bit words; carries are added to words already written."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.low = 0  # below 2**64: what of it does not fit has been carried
        self.range = STATE - 1
        self.empty = True

    def encode(self, cumulative: int, frequency: int) -> None:
        self.empty = False
        scale = self.range // TOTAL
        self._add(scale * (cumulative + 1))
        self.range = scale * frequency
        if self.range < WORD:
            self.words.append(self.low // WORD)
            self.low = self.low % WORD * WORD
            self.range *= WORD

    def finish(self) -> list[int]:
        if self.empty:
            return []
        above = (self.low + self.range) % STATE // WORD
        self._add(WORD - 1)
        self.words.append(self.low // WORD)
        if self.low // WORD == above:
            self.words.append(0)
        return self.words

    def _add(self, amount: int) -> None:
        self.low += amount
        if self.low >= STATE:
            self.low -= STATE
            at = len(self.words) - 1
            while self.words[at] == WORD - 1:
                self.words[at] = 0
                at -= 1
            self.words[at] += 1
