"""Compare tokenzip with general compressors on any token files.

    python benchmarks/ratio.py clip.npy
    python benchmarks/ratio.py --solid ../shared/data/drive/val.h5 --markdown out/drive.md
    python benchmarks/ratio.py folder/ --peers xz,zstd --plot out/ratio.png --json out/ratio.json

Files: .npy, .npz, .h5, or directories of these; every integer array in them is a clip, axis 0 being
time. Per clip, each is compressed on its own; with --solid, all of them in one stream as well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy.typing as npt
from rich.console import Console

from tokenzip import bench
from tokenzip.errors import TokenzipError
from tokenzip.files.find import find_sources
from tokenzip.files.read import READABLE_SUFFIXES, read_tokens


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    options = _parser().parse_args(arguments)
    errors = Console(stderr=True)
    try:
        _run(options, errors)
    except TokenzipError as error:
        errors.print(f"ratio.py: {error}", markup=False)
        return 1
    return 0


def load_clips(paths: list[str], limit: int | None = None) -> list[npt.NDArray[Any]]:
    """The arrays of all files, in order, at most ``limit`` of them."""
    clips: list[npt.NDArray[Any]] = []
    for source in find_sources(paths, READABLE_SUFFIXES):
        clips += [array for _, array in read_tokens(source.path).arrays]
    return clips[:limit]


def _run(options: argparse.Namespace, errors: Console) -> None:
    clips = load_clips(options.files, options.limit)
    compressors = None
    if options.peers:
        compressors = ["tokenzip adaptive", *options.peers.split(",")]
    if options.only:
        compressors = options.only.split(",")
    machine = bench.machine_info()
    console = Console()
    everything: list[bench.Result] = []
    sections = []
    for solid in (False, True) if options.solid and len(clips) > 1 else (False,):
        results = bench.compare(
            clips,
            alphabet=options.alphabet,
            compressors=compressors,
            solid=solid,
            threads=options.threads,
            report=lambda name: errors.print(f"measuring {name} ...", style="dim"),
        )
        title = f"{options.title or ', '.join(Path(name).name for name in options.files)}"
        title += ", solid" if solid else ""
        console.print(bench.rich_table(results, title))
        sections.append(bench.to_markdown(results, title, machine))
        everything += results
        if options.plot:
            plot = Path(options.plot)
            target = plot.with_stem(f"{plot.stem}-solid") if solid else plot
            bench.save_plot(results, _ready(target), title)
    if options.json:
        _ready(options.json).write_text(bench.to_json(everything, machine))
    if options.markdown:
        _ready(options.markdown).write_text("\n".join(sections))


def _ready(path: str | Path) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="token files or directories")
    parser.add_argument("--solid", action="store_true", help="also all clips in one stream")
    parser.add_argument("--alphabet", type=int, help="number of symbols (default: largest + 1)")
    parser.add_argument("--peers", help="tokenzip and these, e.g. xz,zstd,zpaq (default: all)")
    parser.add_argument("--only", help="only these, tokenzip included only where it is named")
    parser.add_argument("--threads", type=int, default=1, help="for tokenzip (default 1)")
    parser.add_argument("--limit", type=int, help="only the first so many clips")
    parser.add_argument("--title", help="what the tables are called (default: the files' names)")
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--plot", help="write ratio against decoding speed to this image")
    parser.add_argument("--markdown", help="write the tables to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
