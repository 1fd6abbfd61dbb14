"""The command line: what options and arguments say, and whole commands over small files.

An input is text, its arguments between line ends. The commands run in a folder of their own, over
files that are there anew each time; arguments cannot lead out of it.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

import tokenzip
from tokenzip.cli.decompress import parse_frames, parse_kind
from tokenzip.cli.entry import run as run_arguments
from tokenzip.errors import TokenzipError
from tokenzip.files.raw import parse_dtype, parse_raw, parse_shape
from tokenzip.files.select import ArraySelection

from ..edits import VALUES, edited
from ..target import Target, WrongError

#: Commands that neither train, nor load from elsewhere, nor start processes.
COMMANDS = ("compress", "decompress", "info", "verify", "ls", "extract", "unpack", "models")
#: Of the inputs, so many are given to whole commands; the others to the parsers of options alone.
WHOLE = 25

_WORDS = (
    *(*COMMANDS, "list", "clip.npy", "clip.npy.tkz", "pack.tkz.h5", "damaged.tkz", "names.npz"),
    *("--json", "--quiet", "-q", "--force", "-f", "--output", "-o", "out", "out.npz", "-", "--to"),
    *("npy", "npz", "h5", "raw", "--frames", "1:3", "-2:", "x:y", ":", "--dataset", "a", "*", "[!"),
    *("--dtype", "uint16", ">u2", "float32", "O", "--shape", "-1,2,3", "2x3", "(", "--alphabet"),
    *(
        "7",
        "0",
        "-1",
        "65537",
        str(2**70),
        "--chunk-frames",
        "--solid",
        "--threads",
        "--max-tokens",
    ),
    *(
        "--predictor",
        "stored",
        "auto",
        "hybrid",
        "--fast",
        "--chunks",
        "one:1:3",
        "one::",
        "--help",
    ),
    *("--", "--no-verify", "--key", "", "é", "\ud800", "nothing.npy", "missing.tkz", "--recover"),
)
_SAFE = ("stored",)  # of predictors: others compile, which is not what is looked for here

_home: dict[int, Path] = {}


def run(data: bytes) -> bool:
    """A command line, or its values one by one for the parsers."""
    arguments = data.decode("utf-8", "surrogateescape").split("\n")
    if not arguments or arguments[0] not in COMMANDS:
        return all([_parses(text) for text in arguments])
    return _command(arguments) == 0


def _parses(text: str) -> bool:
    """Whether any parser of an option takes this text."""
    good = 0
    for parse in (parse_frames, parse_kind, parse_dtype, parse_shape):
        with contextlib.suppress(TokenzipError):
            parse(text)
            good += 1
    with contextlib.suppress(TokenzipError):
        shape = parse_shape(text)
        array = parse_raw(bytes(48), "raw", np.dtype("u2"), shape)
        if array.nbytes != 48:
            raise WrongError("a raw file that was not read whole")
    with contextlib.suppress(TokenzipError):
        selection = ArraySelection("file", [text], what="array")
        selection.offer(["a", "b/c", "d[e]"])
        selection.wants("b/c")
    return good > 0


def _command(arguments: list[str]) -> int:
    """Run in the folder; the exit code, which must be one that the help documents."""
    home, outside = _folder(), Path.cwd()
    streams = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.TextIOWrapper(io.BytesIO(b"\x93NUMPY"))
    sys.stdout = io.TextIOWrapper(io.BytesIO(), "utf-8")
    # As Python's own: what cannot be encoded is escaped.
    sys.stderr = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    try:
        os.chdir(home)
        code = run_arguments([_inside(text) for text in arguments])
    finally:
        os.chdir(outside)
        said = [stream.buffer.getvalue() for stream in (sys.stdout, sys.stderr) if _flushed(stream)]
        sys.stdin, sys.stdout, sys.stderr = streams
    if code not in (0, 1, 2):
        raise WrongError(f"exit code {code}")
    if any(b"Traceback" in text for text in said):
        raise WrongError("a traceback")
    return code


def _flushed(stream: io.TextIOWrapper) -> bool:
    with contextlib.suppress(ValueError, OSError, UnicodeError):
        stream.flush()
    return not stream.closed


def _inside(text: str) -> str:
    """The text, unless it could name something outside of the folder, or load and compile."""
    text = text.replace("/", "_").replace("\\", "_").replace("\0", "0").replace("~", "_")
    risky = ("--fit", "--workers", "-w", "--dask", "--install", "--show", "--rm", "hf:", "--device")
    if text.startswith(risky) or "::" in text or ".." in text or text.startswith("--rm"):
        return "x"
    return "stored" if text in ("auto", "hybrid", "adaptive", "lstm", "conv3d") else text


def _folder() -> Path:
    """A folder of this process with the files of _WORDS, as they should be."""
    if os.getpid() not in _home:
        room = "/dev/shm" if os.path.isdir("/dev/shm") else None
        _home[os.getpid()] = Path(tempfile.mkdtemp(prefix="tokenzip-fuzz-cli-", dir=room))
    home = _home[os.getpid()]
    if {entry.name for entry in os.scandir(home)} != _FILES:
        shutil.rmtree(home)
        home.mkdir()
        tokens = (np.arange(48).reshape(8, 2, 3) // 9).astype(np.int16)
        blob = tokenzip.encode(tokens, predictor="stored")
        np.save(home / "clip.npy", tokens)
        np.savez(home / "names.npz", a=tokens, b=tokens[:2])
        (home / "clip.npy.tkz").write_bytes(blob)
        (home / "damaged.tkz").write_bytes(blob[:-1] + b"\xff")
        with tokenzip.open(home / "pack.tkz.h5", "w", predictor="stored") as archive:
            archive["one"] = tokens
    return home


_FILES = {"clip.npy", "names.npz", "clip.npy.tkz", "damaged.tkz", "pack.tkz.h5"}


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other words of the command line, in between or in place."""
    words = data.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(words) + 1)
        word = rng.choice(_WORDS) if rng.random() < 0.8 else str(rng.choice(VALUES))[:40]
        if rng.random() < 0.3:
            word = edited(word.encode("utf-8", "surrogatepass"), rng).decode(
                "utf-8", "surrogateescape"
            )
        words[at : at + rng.randrange(2)] = [word.replace("\n", "")]
    whole = rng.randrange(WHOLE) == 0
    if whole != (words[0] in COMMANDS):
        words[:1] = [rng.choice(COMMANDS)] if whole else []
    return "\n".join(words[:8]).encode("utf-8", "surrogateescape" if _pairs(words) else "replace")


def _pairs(words: list[str]) -> bool:
    """Whether all surrogates are those of bytes that are no UTF-8."""
    return all(
        not "\ud800" <= c < "\udc80" and not "\udcff" < c <= "\udfff" for w in words for c in w
    )


TARGET = Target("command", run, mutate)
