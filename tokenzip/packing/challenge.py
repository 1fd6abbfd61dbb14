"""Submissions to comma.ai's compression challenge, and their score.

A submission is one zip file with everything that is needed to restore the data set: compressed
tokens and `decompress.py`. It is unzipped, `decompress.py` is run with OUTPUT_DIR set, and each
clip's file, by the `file_name` of its JSON, is held against the tokens. The score is the size of
the tokens at ten bits each over the size of the zip file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import codec as codecs
from ..archive import ArchivedClip
from ..archive.parallel import Work, in_order
from ..codec import Codec
from ..errors import FileError, InputError, OptionError, TokenzipError
from ..files.atomic import atomic_output
from ..files.formats import Format
from ..files.named import Member, is_safe_file_name, join_names
from ..files.npy import parse_npy
from ..grid import TokenGrid
from .sources import Sources

#: Bits of a commaVQ token, and so of the score.
BITS = 10
SCRIPT = "decompress.py"
_PART = "part-{:04d}.tkz"
_ALPHABET = 1 << BITS
_NPY: Format = "npy"

#: What runs on the judges' machine: nothing but Python and what pip can install.
_DECOMPRESS = '''#!/usr/bin/env python3
"""Restores the tokens of this submission: one .npy file for each clip, in OUTPUT_DIR.

Made by tokenzip {version}, https://pypi.org/project/tokenzip: its decoder is exact integer
arithmetic, so the result is the same on every machine.
"""
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = Path(os.environ.get("OUTPUT_DIR", "./compression_challenge_submission_decompressed/"))


def restore(part):
    import numpy as np
    import tokenzip
    from tokenzip.files import split_names

    members, blob = split_names(part.read_bytes())
    for member, tokens in zip(members, tokenzip.decode(blob, max_tokens=1 << 40)):
        with open(OUTPUT / member.name, "wb") as file:
            np.save(file, tokens)


if __name__ == "__main__":
    try:
        import tokenzip
    except ImportError:
        subprocess.check_call([sys.executable, "-m", "pip", "install", "tokenzip=={version}"])
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(restore, sorted(HERE.glob("part-*.tkz"))))
'''


@dataclass(frozen=True)
class Score:
    """What a submission comes to.

    Attributes:
        clips: number of clips.
        tokens: number of tokens.
        bytes: size of the zip file.
        checked: whether it was unpacked, run and compared.
    """

    clips: int
    tokens: int
    bytes: int
    checked: bool

    @property
    def rate(self) -> float:
        """The score: bytes of the tokens at ten bits each over bytes of the zip file."""
        return self.tokens * BITS / 8 / self.bytes


def build_submission(
    path: str,
    sources: Sources,
    *,
    predictor: str = "auto",
    clips_of_a_part: int = 100,
    workers: int | None = None,
    force: bool = False,
    done: Callable[[int, int], object] | None = None,
) -> Score:
    """Write the zip file of a submission.

    Args:
        path: the zip file.
        sources: the data set, from find_clips; clips are called by the `file_name` of their JSON.
        predictor: as tokenzip.encode has it.
        clips_of_a_part: clips that are compressed together, each learning from those before it.
            More are smaller, need more memory, and leave less to do side by side.
        workers: processes; each holds a part.
        force: overwrite the file.
        done: called with the clips and bytes so far, after each part.

    Raises:
        FileError: a clip's name cannot be a file's, or appears twice; the file cannot be written.
    """
    from .. import __version__

    codec = Codec(alphabet=_ALPHABET, predictor=predictor, solid=True)
    clips = tokens = 0
    with (
        atomic_output(path, force=force) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        _store(archive, SCRIPT, _DECOMPRESS.format(version=__version__).encode())
        for number, outcome in enumerate(
            in_order(_parts(sources, codec, clips_of_a_part), workers=workers)
        ):
            if outcome.error is not None:
                raise outcome.error
            names, sizes = outcome.work.extra
            members = [Member(name, _NPY, ("",)) for name in names]
            _store(archive, _PART.format(number), join_names(members, outcome.value))
            clips += len(names)
            tokens += sum(sizes)
            if done is not None:
                done(clips, file.tell())
    return Score(clips, tokens, os.stat(path).st_size, checked=False)


def check_submission(path: str, sources: Sources) -> Score:
    """Do what the judges do: unzip, run decompress.py, compare every clip, and count.

    Raises:
        FileError: the zip file or its script fails, or a clip differs or is missing.
    """
    with tempfile.TemporaryDirectory(prefix="tokenzip-challenge-") as folder:
        _unzip(path, folder)
        script = os.path.join(folder, SCRIPT)
        if not os.path.isfile(script):
            raise FileError(f"{path}: there is no {SCRIPT} in it")
        package = str(Path(codecs.__file__).parents[1])
        search = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "OUTPUT_DIR": folder, "PYTHONPATH": search}
        ran = subprocess.run(
            [sys.executable, script],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if ran.returncode:
            last = ran.stdout.decode(errors="replace").strip().splitlines()[-1:]
            raise FileError(f"{path}: its {SCRIPT} failed: {''.join(last)}")
        clips = tokens = 0
        for name, array in _named_clips(sources):
            _compare(path, os.path.join(folder, *name.split("/")), name, array)
            clips += 1
            tokens += array.size
    return Score(clips, tokens, os.stat(path).st_size, checked=True)


def _compare(path: str, file: str, name: str, tokens: np.ndarray[Any, Any]) -> None:
    try:
        with open(file, "rb") as stream:
            restored = parse_npy(stream.read(), name)
    except OSError as error:
        raise FileError(f"{path}: {name} was not restored") from error
    if restored.shape != tokens.shape or not np.array_equal(restored, tokens):
        raise FileError(f"{path}: {name}: decompressed data does not match the original")


def _named_clips(sources: Sources) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for clip in sources.clips():
        name = clip.attributes.get("file_name")
        if not isinstance(name, str) or not name:
            name = clip.name.rpartition("/")[2] + ".npy"
        tokens = clip.load()
        yield name, np.asarray(tokens) if isinstance(tokens, ArchivedClip) else tokens


def _parts(sources: Sources, codec: Codec, clips_of_a_part: int) -> Iterator[Work]:
    if clips_of_a_part < 1:
        raise OptionError("a part has at least one clip")
    seen: set[str] = set()
    names: list[str] = []
    arrays: list[np.ndarray[Any, Any]] = []
    for name, array in _named_clips(sources):
        if not is_safe_file_name(name) or "/" in name or name == SCRIPT or name.endswith(".tkz"):
            raise FileError(f"the submission cannot hold a file called {name!r}")
        if name in seen:
            raise FileError(f"two clips are called {name!r}")
        seen.add(name)
        try:
            TokenGrid.of(array, _ALPHABET)
        except InputError as error:
            error.args = (f"clip {name!r}: {error}",)
            raise
        names.append(name)
        arrays.append(np.array(array))
        if len(names) == clips_of_a_part:
            yield _part(names, arrays, codec)
            names, arrays = [], []
    if names:
        yield _part(names, arrays, codec)
    if not seen:
        raise FileError("there are no clips in these sources")


def _part(names: Sequence[str], arrays: Sequence[np.ndarray[Any, Any]], codec: Codec) -> Work:
    sizes = [array.size for array in arrays]
    return Work(f"clips {names[0]} ...", codec.encode, (list(arrays),), (list(names), sizes))


def _store(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name)  # without a time of day: the same data makes the same file
    info.external_attr = 0o644 << 16
    if name == SCRIPT:
        info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


def _unzip(path: str, folder: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if not is_safe_file_name(name.rstrip("/")):
                    raise FileError(f"{path}: unsafe name {name!r}")
            archive.extractall(folder)
    except (zipfile.BadZipFile, OSError) as error:
        if isinstance(error, TokenzipError):
            raise
        raise FileError(f"{path}: not a readable zip file: {error}") from error
