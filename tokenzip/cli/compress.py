"""`tokenzip compress`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codec import DEFAULT_MAX_TOKENS, Codec, inspect
from ..errors import FileError, InputError, OptionError, TokenzipError
from ..files.atomic import atomic_output, is_special
from ..files.find import Source
from ..files.formats import COMPRESSED_SUFFIX, SUFFIXES, format_of_suffix
from ..files.named import Member, join_names
from ..files.raw import parse_dtype, parse_shape
from ..files.read import READABLE_SUFFIXES, STDIN, TokenFile, read_tokens
from ..files.reasons import os_error_text
from ..training.interrupt import TrainingInterrupted
from .compiling import warm_up
from .fit import FitWish, checkpoint_of, fitted, remove_checkpoint
from .info import predictor_text
from .loading import labels_of
from .session import Session, binary_stdout, printable
from .targets import (
    STDOUT,
    Targets,
    check_early,
    compressed_target,
    is_directory_target,
    make_parents,
    refuse_shared_stdout,
    remove_source,
    sources_of,
)
from .work import each

if TYPE_CHECKING:
    from ..blob import BlobInfo


@dataclass(frozen=True)
class CompressOptions:
    """What the options of `compress` say; see its --help."""

    output: str | None
    select: tuple[str, ...]
    dtype: str | None
    shape: str | None
    codec: Codec
    force: bool
    remove: bool
    verify: bool
    fit: FitWish | None = None


@dataclass(frozen=True)
class _Job:
    """Sources that go into one .tkz file: several only with --solid."""

    sources: tuple[Source, ...]
    target: str


def compress(session: Session, arguments: Sequence[str], options: CompressOptions) -> int:
    """Compress the files that `arguments` mean; returns the exit code."""
    if options.dtype is not None:
        parse_dtype(options.dtype)
    elif options.shape is not None:
        raise OptionError("--shape is for raw files and needs --dtype as well")
    if options.shape is not None:
        parse_shape(options.shape)
    if options.remove and not options.verify:
        raise OptionError("--rm removes only what was verified; leave out --no-verify")
    suffixes = READABLE_SUFFIXES if options.dtype is None else tuple(SUFFIXES)
    jobs = _plan(sources_of(arguments, suffixes), arguments, options)
    if STDOUT in [job.target for job in jobs]:
        binary_stdout()
        if session.json:
            raise OptionError("--json and the compressed bytes both want standard output; use -o")
    if options.codec.predictor != "stored":
        warm_up(session, options.codec)
    taken = Targets()

    def work(job: _Job) -> Iterator[dict[str, Any]]:
        yield _compress_one(session, job, options, taken)

    try:
        # A fit has a bar of its own.
        long = options.fit is None
        return each(session, jobs, lambda job: job.sources[0].path, work, long=long)
    except TrainingInterrupted as stop:
        return session.stopped(str(stop), stop.number)


def _plan(sources: list[Source], arguments: Sequence[str], options: CompressOptions) -> list[_Job]:
    output = options.output
    if options.codec.solid and len(sources) > 1:
        if output is None or output.endswith(("/", os.sep)) or os.path.isdir(output):
            raise OptionError("--solid makes one file of several sources: name it with -o FILE.tkz")
        return [_Job(tuple(sources), output)]
    refuse_shared_stdout(output, len(sources))
    in_directory = is_directory_target(output, arguments, len(sources))
    return [_Job((s,), compressed_target(s, output, in_directory)) for s in sources]


def _compress_one(
    session: Session, job: _Job, options: CompressOptions, taken: Targets
) -> dict[str, Any]:
    target = job.target
    if target != STDOUT:
        taken.claim(target, job.sources[0].path)
        check_early(target, force=options.force)
    before = [None if s.path == STDIN else _status(s.path) for s in job.sources]
    files = [_read(session, source, options) for source in job.sources]
    if options.remove:
        _check_removable(job, target)

    members = _members(job, files)
    arrays = [array for file in files for _, array in file.arrays]
    codec, checkpoint = options.codec, None
    if options.fit is not None:
        checkpoint = checkpoint_of(target)
        if options.force:
            remove_checkpoint(checkpoint)
        codec = _fitted_codec(session, arrays, options.fit, codec, checkpoint)
    start = time.perf_counter()
    blob = _encode(arrays, members, codec)
    encode_seconds = time.perf_counter() - start
    start = time.perf_counter()
    if options.verify:
        _verify(blob, arrays, job, codec)
    verify_seconds = time.perf_counter() - start

    data = join_names(members, blob) if _needs_names(members, target) else blob
    _write(data, target, options, before[0])
    remove_checkpoint(checkpoint)
    if options.remove:
        for source, status in zip(job.sources, before, strict=True):
            _remove(source.path, status)
    info = inspect(blob)
    if info.tokens > DEFAULT_MAX_TOKENS:
        session.note(
            f"{printable(target)}: {info.tokens:,} tokens are more than is decoded unasked; "
            f"decompress it with --max-tokens {info.tokens}"
        )
    session.say(_line(job, len(data), info, encode_seconds, verified=options.verify))
    return {
        "source": job.sources[0].path,
        "sources": [source.path for source in job.sources],
        "output": target,
        "arrays": len(arrays),
        "tokens": info.tokens,
        "alphabet": max(grid.alphabet for grid in info.grids),
        "predictor": info.predictor,
        "bundled": info.bundled,
        "choice": info.choice.to_dict() if info.choice else None,
        "model_bytes": info.embedded_bytes or None,
        "raw_bytes": info.raw_bytes,
        "bytes": len(data),
        "ratio": info.raw_bytes / len(data),
        "bits_per_token": 8 * len(data) / info.tokens if info.tokens else None,
        "encode_seconds": encode_seconds,
        "verified": options.verify,
        "verify_seconds": verify_seconds if options.verify else None,
        "removed": options.remove,
        "left_out": [item for file in files for item in file.left_out],
    }


def _fitted_codec(
    session: Session,
    arrays: list[np.ndarray[Any, Any]],
    wished: FitWish,
    codec: Codec,
    checkpoint: str | None,
) -> Codec:
    """The codec with a network of the arrays' own, or without one where none pays."""
    model = fitted(session, arrays, wished, codec, checkpoint)
    if model is None:
        return replace(codec, predictor="auto")
    return replace(codec, model=model, embed_model=True)


def _read(session: Session, source: Source, options: CompressOptions) -> TokenFile:
    if source.path != STDIN and source.path.lower().endswith(COMPRESSED_SUFFIX):
        raise FileError(f"{source.path}: is compressed already (its name ends in .tkz)")
    file = read_tokens(source.path, select=options.select, dtype=options.dtype, shape=options.shape)
    _report_left_out(session, file, options)
    return file


def _write(data: bytes, target: str, options: CompressOptions, like: os.stat_result | None) -> None:
    if target == STDOUT:
        stream = binary_stdout()
        stream.write(data)
        stream.flush()
        return
    make_parents(target)
    with atomic_output(target, force=options.force, like=like) as stream:
        stream.write(data)


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {os_error_text(error)}") from error


def _report_left_out(session: Session, file: TokenFile, options: CompressOptions) -> None:
    if not file.left_out:
        return
    from ..files.select import listing

    what = listing(file.left_out)
    if options.remove:
        raise FileError(f"{file.path}: not removed, for it also holds {what}; leave out --rm")
    if not options.select:
        session.note(printable(f"{file.path}: not kept: {what}"))


def _members(job: _Job, files: Sequence[TokenFile]) -> list[Member]:
    alone = len(files) == 1
    return [
        Member(
            "" if alone else source.relative.replace(os.sep, "/"),
            file.format,
            tuple(name for name, _ in file.arrays),
        )
        for source, file in zip(job.sources, files, strict=True)
    ]


def _needs_names(members: Sequence[Member], target: str) -> bool:
    """Whether the .tkz file's own name and the blob do not say all of what is to be restored."""
    if len(members) > 1 or members[0].format in ("npz", "h5"):
        return True
    stem = target[: -len(COMPRESSED_SUFFIX)] if target.endswith(COMPRESSED_SUFFIX) else target
    return members[0].format != (format_of_suffix(stem) or "npy")


def _encode(arrays: list[np.ndarray[Any, Any]], members: list[Member], codec: Codec) -> bytes:
    """The blob of one array, or of a list of several; errors call the arrays by their names."""
    labels = labels_of(members, len(arrays))
    try:
        return codec.encode(arrays if len(arrays) > 1 else arrays[0])
    except InputError as error:
        found = re.match(r"grid (\d+) of the list: ", str(error))
        if found is not None:
            label, text = labels[int(found[1])], str(error)[found.end() :]
        else:
            label, text = labels[0] if len(labels) == 1 else "", str(error)
        hint = "; choose arrays with --dataset or --key" if len(labels) > 1 else ""
        error.args = ((f"{label}: {text}" if label else text) + hint,)
        raise


def _verify(blob: bytes, arrays: Sequence[np.ndarray[Any, Any]], job: _Job, codec: Codec) -> None:
    """Decode and compare. Raises TokenzipError if anything differs: nothing is written then."""
    tokens = sum(array.size for array in arrays)
    decoded = replace(codec, max_tokens=tokens, limits=None).decode(blob)
    back = decoded if isinstance(decoded, list) else [decoded]
    same = len(back) == len(arrays) and all(
        a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b)
        for a, b in zip(arrays, back, strict=True)
    )
    if not same:
        raise TokenzipError(
            f"{job.sources[0].path}: what was decoded differs from what was encoded; nothing was "
            "written. This is a bug in tokenzip or faulty memory: please report it"
        )


def _check_removable(job: _Job, target: str) -> None:
    if target == STDOUT or is_special(target):
        raise OptionError("--rm needs an output file")
    for source in job.sources:
        if source.path == STDIN:
            raise OptionError("--rm: standard input cannot be removed")
        if os.path.islink(source.path):
            raise FileError(f"{source.path}: is a symbolic link, which --rm does not remove")


def _remove(path: str, before: os.stat_result | None) -> None:
    """Remove a source unless it changed after it was read."""
    now = _status(path)
    if before is None or (now.st_ino, now.st_size, now.st_mtime_ns) != (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    ):
        raise FileError(f"{path}: changed while it was compressed; it was not removed")
    remove_source(path)


def _line(job: _Job, size: int, info: BlobInfo, seconds: float, *, verified: bool) -> str:
    first = job.sources[0].path
    name = first if len(job.sources) == 1 else f"{len(job.sources)} files"
    chosen = predictor_text(info.predictor, info.bundled)
    if not info.tokens:
        return f"{printable(name)} -> {printable(job.target)}: no tokens, {size:,} bytes"
    return (
        f"{printable(name)} -> {printable(job.target)}: {info.tokens:,} tokens, "
        f"{info.raw_bytes:,} -> {size:,} bytes, {info.raw_bytes / size:.3f}x, "
        f"{8 * size / info.tokens:.3f} bits/token, {seconds:.1f} s, {chosen}"
        + (", verified" if verified else "")
    )
