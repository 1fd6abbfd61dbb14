"""What an archive survives: a table of faults, each done for real.

    python benchmarks/archive_faults.py                 # some minutes
    python benchmarks/archive_faults.py --kills 10 --markdown out/faults.md

The disk that fills up is a small tmpfs where mounting is allowed (root), else a limit on the size
of files. For comparison, a writer of plain HDF5 (h5py) is killed as well.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

import tokenzip
from tokenzip.archive import verify
from tokenzip.archive.records import HEAD_BYTES
from tokenzip.errors import ArchiveError, TokenzipError

ROOT = Path(tokenzip.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
CLIPS = 400

PACKER = """
import sys
import numpy as np, tokenzip
path, count, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with tokenzip.open(path, "a", predictor="stored") as archive:
    print("ready", flush=True)
    for n in range(len(archive), count):
        archive[f"c{n:04d}"] = np.random.default_rng(n).integers(0, 1024, (60, 8, 16)).astype("u2")
        print(n, flush=True)
        if n % step == step - 1:
            archive.flush()
print("closed", flush=True)
"""

PLAIN = """
import sys
import h5py, numpy as np
with h5py.File(sys.argv[1], "a", libver=sys.argv[2]) as file:
    print("ready", flush=True)
    for n in range(len(file), 4000):
        data = np.random.default_rng(n).integers(0, 255, 9600).astype("u1")
        file.create_dataset(f"c{n:04d}", data=data)
        file.flush()
        print(n, flush=True)
"""


def tokens(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 1024, (60, 8, 16)).astype("u2")


def make(path: Path, clips: int) -> None:
    with tokenzip.open(path, "w", predictor="stored") as archive:
        for n in range(clips):
            archive[f"c{n:04d}"] = tokens(n)


def sound(path: Path, *, recover: bool = False) -> int:
    """How many clips an archive has; all are decoded and compared."""
    with tokenzip.open(path, recover=recover) as archive:
        for name in archive:
            assert np.array_equal(archive[name][:], tokens(int(name[1:]))), name
        return len(archive)


def problems(path: Path) -> set[str]:
    with tokenzip.open(path, recover=True) as archive:
        return {finding.name for finding in verify(archive) if finding.problem}


def killed(script: str, arguments: list[str], after: float) -> list[str]:
    """Run a script, kill -9 it so many seconds after it was ready; the lines it wrote."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        text=True,
    )
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    return [first.strip(), *rest] if first else []


def kills(folder: Path, count: int) -> tuple[str, str]:
    """kill -9 at random moments: of packing, of flushing, of closing."""
    chance = random.Random(1)
    path = folder / "killed.tkz.h5"
    acknowledged = done = restarts = mid_close = 0
    while done < count:
        step = chance.choice([1, 5, 50])
        lines = killed(PACKER, [str(path), str(CLIPS), str(step)], chance.uniform(0, 0.4))
        done += 1
        numbers = [int(line) for line in lines if line.isdigit()]
        acknowledged = max([acknowledged, *(n + 1 for n in numbers)])
        present = sound(path)
        assert present >= acknowledged, (present, acknowledged)
        assert problems(path) == set()
        with h5py.File(path):
            pass
        if present == CLIPS:
            mid_close += "closed" not in lines
            restarts += 1
            path.unlink()
            acknowledged = 0
    return (
        f"kill -9 at {count} random moments of packing, resumed each time",
        f"{count} of {count} opened (by tokenzip and h5py), no acknowledged clip lost, verify "
        f"clean; {restarts} archives were finished on the way, {mid_close} of them killed between "
        "the last clip and the end",
    )


def plain_kills(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    """The same done to h5py, flushing after every dataset."""
    chance = random.Random(2)
    for libver in ("earliest", "latest"):
        unopened = lost = 0
        for _ in range(count):
            path = folder / "plain.h5"
            path.unlink(missing_ok=True)
            lines = killed(PLAIN, [str(path), libver], chance.uniform(0.05, 0.4))
            numbers = [int(line) for line in lines if line.isdigit()]
            try:
                with h5py.File(path, "r") as file:
                    lost += any(f"c{n:04d}" not in file for n in numbers)
                    for name in file:
                        file[name][()]
            except (OSError, RuntimeError, KeyError):
                unopened += 1
        yield (
            f"for comparison: h5py (libver={libver!r}), flushed after each dataset, {count} kills",
            f"{unopened} files cannot be opened or read, {lost} lost flushed data",
        )


def truncation(folder: Path) -> tuple[str, str]:
    path = folder / "cut.tkz.h5"
    make(path, 40)
    data = path.read_bytes()
    chance = random.Random(3)
    refused = 0
    for _ in range(50):
        length = chance.randrange(200, len(data) - 2500)
        path.write_bytes(data[:length])
        try:
            tokenzip.open(path)
        except ArchiveError:
            refused += 1
        whole = sum(1 for n in range(40) if length >= _end(data, path, n))
        assert sound(path, recover=True) == whole, (length, whole)
    return "cut off at 50 random places", (
        f"{refused} of 50 refused until recover=True; then exactly the clips before the cut are "
        "read"
    )


def _end(data: bytes, path: Path, number: int) -> int:
    if not hasattr(_end, "ends"):
        whole = path.with_name("whole.tkz.h5")
        whole.write_bytes(data)
        with tokenzip.open(whole) as archive:
            entries = [archive._contents.entry(name) for name in archive]
        _end.ends = [entry.offset + entry.length for entry in entries]  # type: ignore[attr-defined]
    return _end.ends[number]  # type: ignore[attr-defined, no-any-return]


def flips(folder: Path, count: int) -> tuple[str, str]:
    path = folder / "flips.tkz.h5"
    make(path, 300)
    with tokenzip.open(path) as archive:
        entries = [archive._contents.entry(name) for name in archive]
    spans = [
        (e.offset - e.attributes - len(e.name) - HEAD_BYTES, e.offset + e.length, e.name)
        for e in entries
    ]
    size = path.stat().st_size
    chance = random.Random(4)
    places = chance.sample(range(size), count)
    hit: set[str] = set()
    with open(path, "r+b") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << chance.randrange(8)]))
            hit |= {name for a, b, name in spans if a <= place < b} or {""}
    found = problems(path)
    assert found == hit, (found ^ hit,)
    with tokenzip.open(path, recover=True) as archive:
        others = [name for _, _, name in spans if name not in hit]
        assert all(np.array_equal(archive[name][:], tokens(int(name[1:]))) for name in others)
    outside = "" in hit
    return f"{count} bytes flipped at random in an archive of 300 clips", (
        f"verify names exactly the {len(hit - {''})} clips that were hit"
        + (" and the part outside of clips" if outside else "")
        + f"; the other {len(others)} decode right"
    )


def single_flips(folder: Path, count: int) -> tuple[str, str]:
    path = folder / "single.tkz.h5"
    make(path, 30)
    data = path.read_bytes()
    with tokenzip.open(path) as archive:
        entries = [archive._contents.entry(name) for name in archive]
    chance = random.Random(5)
    for _ in range(count):
        place = chance.randrange(len(data))
        damaged = bytearray(data)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        owner = ""
        for e in entries:
            if e.offset - e.attributes - len(e.name) - HEAD_BYTES <= place < e.offset + e.length:
                owner = e.name
        assert problems(path) == {owner}, place
        with tokenzip.open(path) as archive:
            for name in archive:
                if name != owner:
                    assert np.array_equal(archive[name][:], tokens(int(name[1:])))
    return f"{count} times a single flipped bit, anywhere in the file", (
        "verify names the clip (or the part outside) each time, no other clip affected"
    )


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[tuple[Path, str]]:
    mount = folder / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(mount)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        yield mount, "limit"
        return
    try:
        yield mount, "tmpfs"
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def full_disk(folder: Path) -> tuple[str, str]:
    size = 1 << 20

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    with small_disk(folder, size) as (mount, kind):
        path = mount / "full.tkz.h5"
        done = subprocess.run(
            [sys.executable, "-c", PACKER, str(path), str(CLIPS), "10"],
            capture_output=True,
            env=ENVIRONMENT,
            text=True,
            check=False,
            preexec_fn=None if kind == "tmpfs" else limit,
        )
        last = done.stderr.strip().splitlines()[-1]
        acknowledged = sum(line.isdigit() for line in done.stdout.split())
        assert done.returncode and "ArchiveError" in last and "cannot be written" in last, last
        present = sound(path)
        assert present == acknowledged > 50 and problems(path) == set()
        reason = last.split("cannot be written: ")[1].split(".")[0]
    what = "disk full (tmpfs of 1 MiB)" if kind == "tmpfs" else "file size limit of 1 MiB"
    return what, f"ArchiveError ({reason}); the {present} clips before it are there, verify clean"


def two_writers(folder: Path) -> tuple[str, str]:
    path = folder / "two.tkz.h5"
    with tokenzip.open(path, "w", predictor="stored") as archive:
        archive["c0000"] = tokens(0)
        done = subprocess.run(
            [sys.executable, "-c", PACKER, str(path), "5", "1"],
            capture_output=True,
            env=ENVIRONMENT,
            text=True,
            check=False,
        )
        message = done.stderr.strip().splitlines()[-1]
        assert "ArchiveLockedError" in message
        reader = sound(path)
        archive["c0001"] = tokens(1)
    assert sound(path) == 2 and reader == 1
    return "two writers", "the second: " + message.split("Error: ")[1].split("tkz.h5: ")[1][
        :60
    ] + "..."


def read_only(folder: Path) -> tuple[str, str]:
    place = folder / "closed"
    place.mkdir()
    make(place / "x.tkz.h5", 5)
    os.chmod(place / "x.tkz.h5", 0o444)
    os.chmod(place, 0o555)
    os.chmod(folder, 0o755)
    code = f"""
import os, tokenzip, tokenzip.archive.writer, tokenzip.predictors.stored
if os.geteuid() == 0:
    os.setuid(65534)
with tokenzip.open({str(place / "x.tkz.h5")!r}) as archive:
    assert len(archive) == 5 and archive["c0003"][:].shape
for name, mode in (("x.tkz.h5", "a"), ("x.tkz.h5", "w"), ("new.tkz.h5", "x")):
    try:
        tokenzip.open({str(place)!r} + "/" + name, mode)
    except tokenzip.errors.ArchiveError as error:
        print(str(error).split(": ", 1)[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert os.listdir(place) == ["x.tkz.h5"]
    return "read-only directory", f"reads; each of modes a, w, x: ArchiveError ({lines[0]})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--markdown", help="write the table to this file")
    options = parser.parse_args()
    rows: list[tuple[str, str]] = []

    def add(row: tuple[str, str]) -> None:
        rows.append(row)
        print(f"{row[0]}: {row[1]}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            add(kills(folder, options.kills))
            add(truncation(folder))
            add(single_flips(folder, options.flips))
            add(flips(folder, options.flips))
            add(full_disk(folder))
            add(two_writers(folder))
            add(read_only(folder))
            for row in plain_kills(folder, options.kills):
                add(row)
        except (AssertionError, TokenzipError) as error:
            print(f"FAILED: {error!r}", file=sys.stderr)
            raise
    if options.markdown:
        table = "".join(f"| {what} | {result} |\n" for what, result in rows)
        target = Path(options.markdown)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("| fault | result |\n|---|---|\n" + table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
