"""Two ways to run a target: a plain loop with a fixed seed, and atheris, which follows coverage."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from .edits import edited
from .target import Target
from .watch import Watch

#: Parts of the package whose bytecode atheris may change. The others hold code for numba, which
#: compiles from bytecode.
INSTRUMENTED = ("blob", "files", "archive", "packing", "codec", "chunk_coding", "selection")
INSTRUMENTED += ("grid", "models.file", "models.packed", "models.spec", "models.features", "cli")
#: Beyond this, inputs grow without telling more.
MOST_INPUT_BYTES = 1 << 16
PULSE = 500  # executions between two reports to the parent


def loop(target: Target, executions: int, seed: int, folder: Path | None = None) -> Watch:
    """All seeds, which must be good, then mutations of them, and of mutations that were good."""
    watch = Watch(target, folder)
    rng = random.Random(seed)
    pool = target.seeds()
    for data in pool:
        watch.run(data)
    assert watch.accepted == len(pool) or target.name == "command", "a seed is not good"
    while watch.executions < executions:
        data = target.mutate(rng.choice(pool), rng)
        for _ in range(rng.randrange(3)):
            data = target.mutate(data, rng)
        data = data[:MOST_INPUT_BYTES]
        before = watch.accepted
        watch.run(data)
        if watch.accepted > before:
            pool.append(data)
            if len(pool) > 500:
                pool.pop(rng.randrange(len(pool)))
    return watch


def follow_coverage(name: str, seconds: int, seed: int, report: Path, folder: Path) -> None:
    """Run a target by atheris for so long; never returns. `report` gets the Watch as JSON."""
    import atheris

    with atheris.instrument_imports(include=[f"tokenzip.{part}" for part in INSTRUMENTED]):
        from .targets import TARGETS

    watch = Watch(TARGETS[name], folder)
    start = time.monotonic()

    def one_input(data: bytes) -> None:
        watch.run(data)
        if watch.executions % PULSE == 0:
            write_report(report, watch, time.monotonic() - start)

    def mutate(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.random() < 0.1:
            return atheris.Mutate(data, most)[:most]
        for _ in range(rng.randint(1, 3)):
            data = TARGETS[name].mutate(data, rng) if data else edited(data, rng)
        return data[:most]

    corpus = folder.parent / f"{name}-corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    arguments = [
        *(sys.argv[0], f"-max_total_time={seconds}", f"-seed={seed}", "-timeout=60"),
        *(f"-max_len={MOST_INPUT_BYTES}", "-rss_limit_mb=4096", "-verbosity=0"),
        *(f"-artifact_prefix={folder}/", str(corpus)),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    TARGETS[name].prepare()
    atheris.Setup(arguments, one_input, custom_mutator=mutate)
    atheris.Fuzz()


def write_report(path: Path, watch: Watch, seconds: float) -> None:
    fields = {
        "target": watch.target.name,
        "executions": watch.executions,
        "accepted": watch.accepted,
        "seconds": round(seconds),
        "slowest_seconds": round(watch.slowest, 3),
        "largest_bytes": watch.largest,
        "findings": watch.findings,
    }
    new = path.with_suffix(".new")
    new.write_text(json.dumps(fields))
    new.replace(path)
