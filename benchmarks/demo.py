"""A sample compressed and given back, step by step, and a comparison: ``make demo``."""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console

import tokenzip
from tokenzip import bench, samples


def main() -> None:
    """Print the demonstration; takes well under two minutes, compilation included."""
    console = Console()
    say = console.print
    say("Drawing a drive of 1,200 frames and quantising it (synthetic, made by this package) ...")
    tokens = samples.drive(frames=1200, seed=0)
    copied = (tokens[1:] == tokens[:-1]).mean()
    say(f"  {tokens.shape} {tokens.dtype}, alphabet 1024; {copied:.0%} repeat the previous frame\n")

    say("Compressing (the first call on a machine compiles; later ones find it cached) ...")
    start = time.perf_counter()
    blob = tokenzip.encode(tokens, alphabet=1024)
    say(f"  blob = tokenzip.encode(tokens): {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    again = tokenzip.decode(blob)
    say(f"  tokenzip.decode(blob): {time.perf_counter() - start:.1f} s")
    if again.dtype != tokens.dtype or not np.array_equal(again, tokens):
        raise SystemExit("the tokens did not come back: please report this")
    raw = tokens.size * 10 / 8
    say(f"  {raw:,.0f} bytes of packed tokens, {len(blob):,} of blob: ratio {raw / len(blob):.2f}")
    say("  [bold]round trip verified: same values, shape and dtype[/bold]\n")

    say("The same tokens through general compressors, each in its best byte layout ...")
    for name, lacking in bench.contenders().items():
        if lacking is not None:
            say(f"  {name} is left out: it needs {lacking}")
    results = bench.compare([tokens], alphabet=1024, report=lambda name: say(f"  {name}"))
    say()
    say(bench.rich_table(results, "one synthetic drive of a minute"))
    say("\nYour own tokens: tokenzip compress FILE.npy, or tokenzip bench FILE.npy to compare.")


if __name__ == "__main__":
    main()
