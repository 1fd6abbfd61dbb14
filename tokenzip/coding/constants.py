"""The numbers every part of the coder agrees on."""

from __future__ import annotations

# Probabilities are integers in units of 2**-24, the precision of constriction's range coder.
PRECISION = 24

# The sum of every frequency table. One count at either end of the 2**24 is a guard that no symbol
# owns: it lets a three-entry row stand for any table (see encoder.py), and words that lead into a
# guard are known to be corrupted. The symbol with (cum, freq) owns [cum + 1, cum + 1 + freq).
USABLE = 2**PRECISION - 2

# constriction's default word and state sizes in bits.
WORD_BITS = 32
STATE_BITS = 64

# Scores, from which tables are made, count in 1/64 bits.
SCORE_BITS = 6
SCORE_ONE: int = 2**SCORE_BITS

MAX_ALPHABET = 65536
