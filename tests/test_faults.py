"""Every command that writes, with a fault at every single call that makes a change last.

Not at random moments, but at each there is: the disk is full, fails, or the process is ended or
killed at the first such call, the second, and so on until the command gets through. What lies under
a final name is whole each time, and the command then does its work as if nothing had been.
(Archives have more: test_archive_faults.py. Signals, pipes and full devices at the command line:
test_cli_signals.py. Training: test_training_cli.py as well.)
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_cases import tiny_model

import tokenzip
from tokenzip.cli.entry import run
from tokenzip.models import Model

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

#: What ends in a change of the disk; between two of these a process may die as well.
CALLS = ("pwrite", "ftruncate", "fsync", "link", "replace", "unlink")
#: What may be refused. Where even unlink is, a file that is not wanted must stay.
REFUSED = CALLS[:-1]
STORED = ["--predictor", "stored", "-q"]
CLIPS = {
    f"c{n}": np.random.default_rng(n).integers(0, 1024, (20, 8, 16)).astype("<i2") for n in range(3)
}
INTERRUPTED = {128 + signal.SIGTERM}


Whole = Callable[[bytes, bytes], bool]


def same_bytes(found: bytes, wanted: bytes) -> bool:
    return found == wanted


def same_clips(found: bytes, _: bytes) -> bool:
    """Of archives, whose bytes may come in another number of sessions."""
    with tokenzip.open(io.BytesIO(found)) as archive:
        return all(np.array_equal(archive[name][:], CLIPS[name]) for name in archive)


def same_page(found: bytes, wanted: bytes) -> bool:
    """Of pages, which say how long the work took."""
    return found.splitlines()[-1] == wanted.splitlines()[-1] == b"</html>"


def good_training(found: bytes, _: bytes) -> bool:
    """Of models and checkpoints: a training that is stopped leaves those of its last step."""
    if found[:2] == b"PK":
        import torch

        return "best" in torch.load(io.BytesIO(found), weights_only=True)
    return Model.from_bytes(found).summary["steps"] >= 0


@dataclass(frozen=True)
class Command:
    """A command line, the files that it makes, and what makes it overwrite them."""

    arguments: list[str]
    files: list[str]
    again: list[str]
    whole: Whole = same_bytes


COMMANDS = {
    "compress": Command(
        ["compress", "clips", *STORED], [f"clips/{c}.npy.tkz" for c in CLIPS], ["-f"]
    ),
    "compress solid": Command(["compress", "clips", "-o", "x.tkz", *STORED], ["x.tkz"], ["-f"]),
    "decompress": Command(["decompress", "blobs", "-q"], [f"blobs/{c}.npy" for c in CLIPS], ["-f"]),
    "pack": Command(
        ["pack", "clips", "-o", "a.tkz.h5", *STORED], ["a.tkz.h5"], ["--resume"], same_clips
    ),
    "unpack": Command(
        ["unpack", "archive.tkz.h5", "-o", "out/", "-q"],
        [f"out/{c}.npy" for c in CLIPS],
        ["-f"],
    ),
    "unpack to one file": Command(
        ["unpack", "archive.tkz.h5", "-o", "x.npz", "-q"], ["x.npz"], ["-f"]
    ),
    "extract": Command(["extract", "archive.tkz.h5", "c1", "-o", "x.npy"], ["x.npy"], ["-f"]),
    "models add": Command(["models", "add", "m.safetensors", "-q"], ["registry"], []),
    "challenge": Command(
        ["challenge", "clips", "-o", "x.zip", "--no-check", *STORED], ["x.zip"], ["-f"]
    ),
    "report": Command(
        ["report", "blobs/c0.npy.tkz", "-o", "x.html", "-q"], ["x.html"], ["-f"], same_page
    ),
    "train": Command(
        [
            *("train", "clips", "--predictor", "lstm", "--alphabet", "1024", "-o", "x.safetensors"),
            *("--preset", "small", "--size", "embedding=4", "--size", "state=4"),
            *("--size", "hidden=4", "--steps", "2", "--threads", "1", "-q"),
            *("--checkpoint-seconds", "0"),
        ],
        ["x.safetensors", "x.safetensors.checkpoint"],
        ["--resume", "-f"],
        good_training,
    ),
}


#: The others write by the same functions; archives have test_archive_faults.py as well.
QUICK = ("decompress", "models add")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands work on."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("clips", "blobs"):
        (folder / name).mkdir()
    for name, clip in CLIPS.items():
        np.save(folder / "clips" / f"{name}.npy", clip)
        blob = tokenzip.encode(clip, predictor="stored")
        (folder / "blobs" / f"{name}.npy.tkz").write_bytes(blob)
    with tokenzip.open(folder / "archive.tkz.h5", "w", predictor="stored") as archive:
        archive.append(CLIPS)
    tiny_model("lstm", (2, 3), 9).save(folder / "m.safetensors")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def in_child(folder: Path, arguments: list[str], prepare: Callable[[], None]) -> int:
    """Run a command line in a forked process; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.chdir(folder)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            os.environ["TOKENZIP_REGISTRY"] = str(folder / "registry")
            prepare()
            code = run(arguments)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_call(
    number: int, fault: Callable[[], None], when: str, met: Path, calls: tuple[str, ...]
) -> Callable[[], None]:
    """Do something at the n-th of the calls, before it or after, and make a file that says so."""

    def prepare() -> None:
        count = 0

        def faulty(function: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                due = count == number
                if due:
                    met.touch()
                if due and when == "before":
                    fault()
                result = function(*arguments, **options)
                if due and when == "after":
                    fault()
                return result

            return call

        for name in calls:
            setattr(os, name, faulty(getattr(os, name)))

    return prepare


def fails(number: int) -> Callable[[], None]:
    def fault() -> None:
        raise OSError(number, os.strerror(number))

    return fault


def gets(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


FAULTS = {
    "full disk": (fails(errno.ENOSPC), "before", {1}),
    "disk error": (fails(errno.EIO), "before", {1}),
    "terminated": (gets(signal.SIGTERM), "before", INTERRUPTED),
    "terminated after": (gets(signal.SIGTERM), "after", INTERRUPTED),
    "killed": (gets(signal.SIGKILL), "before", {-signal.SIGKILL}),
    "killed after": (gets(signal.SIGKILL), "after", {-signal.SIGKILL}),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow][name in QUICK :]) for name in COMMANDS],
)
def test_at_every_call(
    name: str,
    fault: str,
    sources: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    if name == "train":
        pytest.importorskip("torch")
    command = COMMANDS[name]
    action, when, codes = FAULTS[fault]
    calls = REFUSED if codes == {1} else CALLS
    clean = tmp_path / "clean"
    shutil.copytree(sources, clean)
    assert in_child(clean, command.arguments, lambda: None) == 0
    whole, given = contents(clean), contents(sources)
    made = set(whole) - set(given)
    assert all(any(new.startswith(file) for file in command.files) for new in made)
    number, met = 0, tmp_path / "met"
    while not number or met.exists():
        met.unlink(missing_ok=True)
        number += 1
        folder = tmp_path / str(number)
        shutil.copytree(sources, folder)
        code = in_child(folder, command.arguments, at_call(number, action, when, met, calls))
        found = contents(folder)
        assert {file: found.get(file) for file in given} == given
        for file in set(found) - set(given):
            if file.endswith(".tmp"):
                assert code == -signal.SIGKILL, f"{file} was left behind"
            else:
                assert file in made
                assert command.whole(found[file], whole[file]), (file, number)
        # A call may fail without harm, as hard links do where there are none.
        assert code in codes or code == 0, (code, number)
        assert code or all(file in found for file in made), number
        if code:
            assert in_child(folder, [*command.arguments, *command.again], lambda: None) == 0
            found = contents(folder)
            for file in made:
                assert command.whole(found[file], whole[file])
        shutil.rmtree(folder)
    record_property("faults", number - 1)
    assert number > 1, "the fault was never met"
