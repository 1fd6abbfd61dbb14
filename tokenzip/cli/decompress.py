"""`tokenzip decompress`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..blob import dtype_name
from ..codec import Codec, inspect
from ..errors import FileError, OptionError
from ..files.atomic import is_special
from ..files.find import Source
from ..files.formats import COMPRESSED_SUFFIX, Format, as_format, format_of_suffix
from ..files.named import Member
from ..files.read import STDIN
from ..files.select import ArraySelection
from ..files.write import write_arrays, write_tokens
from .compiling import warm_up
from .loading import Compressed, decode_all, labels_of, load, members_of
from .session import Session, binary_stdout, printable
from .targets import (
    STDOUT,
    Targets,
    check_early,
    is_directory_target,
    make_parents,
    refuse_shared_stdout,
    remove_source,
    sources_of,
    stem_of,
    with_format,
)
from .work import each


@dataclass(frozen=True)
class DecompressOptions:
    """What the options of `decompress` say; see its --help."""

    output: str | None
    kind: Format | None
    select: tuple[str, ...]
    frames: slice | None
    codec: Codec
    force: bool
    remove: bool


@dataclass(frozen=True)
class _Planned:
    """One file to write: which arrays of the blob go where, as what, under which names."""

    target: str
    kind: Format
    names: tuple[str, ...]
    indices: tuple[int, ...]


def parse_frames(text: str) -> slice:
    """A slice from "A:B", each end optional and negative ends counting from the last frame.

    Raises OptionError for anything else.
    """
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError(text)
        return slice(int(first) if first else None, int(last) if last else None)
    except ValueError as error:
        raise OptionError(
            f"--frames {text}: give first and last-plus-one frame, as in 0:100 or -20:"
        ) from error


def parse_kind(text: str) -> Format:
    """A format from --to. Raises OptionError."""
    kind = as_format(text)
    if kind is None:
        raise OptionError(f"--to {text}: unknown format; npy, npz, h5 or raw")
    return kind


def decompress(session: Session, arguments: Sequence[str], options: DecompressOptions) -> int:
    """Restore the files that `arguments` mean; returns the exit code."""
    if options.remove and (options.select or options.frames is not None):
        raise OptionError("--rm would lose what --frames and --dataset leave out; leave out --rm")
    sources = sources_of(arguments, (COMPRESSED_SUFFIX,))
    output = options.output
    if output is None and sources[0].path == STDIN:
        output = STDOUT
    refuse_shared_stdout(output, len(sources))
    if output == STDOUT:
        binary_stdout()
        if session.json:
            raise OptionError("--json and the tokens both want standard output; use -o FILE")
        if options.remove:
            raise OptionError("--rm needs an output file")
    elif options.remove and sources[0].path == STDIN:
        raise OptionError("--rm: standard input cannot be removed")
    in_directory = is_directory_target(output, arguments, len(sources))
    mirrored = len(sources) > 1 or os.path.isdir(arguments[0])
    warm_up(session, options.codec)
    taken = Targets()

    def work(source: Source) -> Iterator[dict[str, Any]]:
        return _decompress_one(session, source, output, in_directory, mirrored, options, taken)

    return each(session, sources, lambda source: source.path, work)


def _decompress_one(
    session: Session,
    source: Source,
    output: str | None,
    in_directory: bool,
    mirrored: bool,
    options: DecompressOptions,
    taken: Targets,
) -> Iterator[dict[str, Any]]:
    if options.remove and os.path.islink(source.path):
        raise FileError(f"{source.path}: is a symbolic link, which --rm does not remove")
    compressed = load(source.path, options.codec.allowed)
    planned = _plan(source, compressed, output, in_directory, mirrored, options)
    for item in planned:
        if item.target != STDOUT:
            taken.claim(item.target, source.path)
            check_early(item.target, force=options.force)
            if options.remove and is_special(item.target):
                raise OptionError("--rm needs an output file")
    start = time.perf_counter()
    decoded = decode_all(compressed, options.codec, options.frames)
    seconds = time.perf_counter() - start
    for item in planned:
        arrays = [(n, decoded[i]) for n, i in zip(item.names, item.indices, strict=True)]
        tokens = sum(array.size for _, array in arrays)
        if item.target == STDOUT:
            stream = binary_stdout()
            write_arrays(stream, arrays, item.kind)
            stream.flush()
        else:
            make_parents(item.target)
            write_tokens(
                item.target, arrays, kind=item.kind, force=options.force, like=compressed.status
            )
            session.say(
                f"{printable(source.path)} -> {printable(item.target)}: "
                f"{tokens:,} tokens, {seconds:.1f} s"
            )
        yield {
            "source": source.path,
            "output": item.target,
            "format": item.kind,
            "tokens": tokens,
            "arrays": [
                {"name": name, "shape": list(array.shape), "dtype": dtype_name(array.dtype)}
                for name, array in arrays
            ],
            "decode_seconds": seconds,
            "removed": options.remove,
        }
    if options.remove:
        remove_source(source.path)


def _plan(
    source: Source,
    compressed: Compressed,
    output: str | None,
    in_directory: bool,
    mirrored: bool,
    options: DecompressOptions,
) -> list[_Planned]:
    """All files to write, decided before anything is decoded. Raises FileError, BlobError."""
    members = members_of(compressed)
    labels = labels_of(members, len(inspect(compressed.blob).grids))
    selection = ArraySelection(source.path, options.select, what="array")
    selection.offer(labels)
    if members is None:
        # A bare blob: one array without a name, or those of a list, numbered.
        wanted = _wanted(selection, labels, labels)
        return [_plan_one(source, None, wanted, output, in_directory, options)]
    groups: list[tuple[Member, list[tuple[str, int]]]] = []
    first = 0
    for member in members:
        after = first + len(member.arrays)
        wanted = _wanted(selection, labels[first:after], member.arrays, first)
        first = after
        if wanted:
            groups.append((member, wanted))
    if len(members) == 1 or (output == STDOUT and len(groups) == 1):
        return [_plan_one(source, *groups[0], output, in_directory, options)]
    if output == STDOUT:
        raise OptionError(
            f"{source.path} holds {len(members)} files, which do not go into one standard output; "
            "use -o DIRECTORY, or choose one with --dataset"
        )
    if output is None:
        directory = stem_of(source.path)
    else:  # one source: straight into the directory named; of several, each has its own in it
        directory = os.path.join(output, stem_of(source.relative)) if mirrored else output
    planned: list[_Planned] = []
    for member, wanted in groups:
        kind = options.kind or member.format
        path = os.path.join(directory, *member.name.split("/"))
        names, indices = zip(*wanted, strict=True)
        target = with_format(path, kind, as_is=kind == member.format)
        planned.append(_Planned(target, kind, names, indices))
    return planned


def _wanted(
    selection: ArraySelection, labels: Sequence[str], names: Sequence[str], first: int = 0
) -> list[tuple[str, int]]:
    """(name, index in the blob) of the arrays that were chosen; labels are what one chooses by."""
    pairs = enumerate(zip(labels, names, strict=True), start=first)
    return [(name, index) for index, (label, name) in pairs if selection.wants(label)]


def _plan_one(
    source: Source,
    member: Member | None,
    wanted: list[tuple[str, int]],
    output: str | None,
    in_directory: bool,
    options: DecompressOptions,
) -> _Planned:
    """Where the only file of a .tkz file goes, and as what."""
    stored = None if member is None else member.format
    fallback: Format = "npy" if len(wanted) == 1 else "npz"
    names = tuple(name for name, _ in wanted)
    indices = tuple(index for _, index in wanted)
    if output is not None and not in_directory:
        told = None if output == STDOUT else format_of_suffix(output)
        return _Planned(output, options.kind or told or stored or fallback, names, indices)
    if source.path == STDIN:
        stem = "stdin"
    else:
        stem = stem_of(source.path if output is None else source.relative)
    kind = options.kind or stored or format_of_suffix(stem) or fallback
    name = with_format(stem, kind, as_is=stored == kind)
    return _Planned(name if output is None else os.path.join(output, name), kind, names, indices)
