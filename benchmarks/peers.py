"""tokenzip and its peers on the same clips: ratio, speed, model, and other batch sizes.

    python benchmarks/peers.py                        # trains what is lacking, then measures all
    python benchmarks/peers.py --train window-lstm    # only trains this one
    python benchmarks/peers.py --cmix ~/cmix/cmix --lstm-compress ~/lstm-compress/lstm-compress

Data: drive/train.h5 to train on, clips spread evenly over drive/val.h5 to measure on
(TOKENZIP_DATA, else ../shared/data beside this repository). The published designs are
re-implemented in benchmarks/peers/, in float; each of them gets --minutes of one processor core,
tokenzip's network as many of the clock on one thread, which on a busy machine is less. Their
weights are kept in --weights. General compressors get the
best of six byte layouts. Times of networks and of tokenzip are those of the processor (one thread),
of programs those of the clock.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from adaptive_goals import Skip, data_path
from peers.base import ALPHABET, Peer
from peers.frame_autoregressive import FrameAutoregressive
from peers.frame_parallel import FrameParallel
from peers.measure import Row, measure_network, measure_ours, measure_program
from peers.programs import Program
from peers.training import train
from peers.window_lstm import WindowLstm
from ratio import load_clips
from rich.console import Console

import tokenzip
from tokenzip import bench
from tokenzip.bench.machine import machine_line

NETWORKS: dict[str, type[Peer]] = {
    "window-lstm": WindowLstm,
    "frame-parallel": FrameParallel,
    "frame-autoregressive": FrameAutoregressive,
}
OURS = "tokenzip"
COMMITTED = Path(__file__).parent / "models" / "drive_lstm_base.safetensors"
_say = Console(stderr=True).print


def trained_peer(name: str, weights: Path, minutes: float) -> tuple[Peer, str]:
    """A float peer, trained now unless its weights are there; and how it was trained."""
    torch.manual_seed(0)
    peer = NETWORKS[name]()
    path = weights / f"{name}-{minutes:g}.pt"
    if not path.is_file():
        _say(f"training {name} for {minutes:g} minutes of one core")
        clips = load_clips([str(data_path("drive/train.h5"))])
        tokens = train(peer, clips, 60 * minutes, lambda text: _say(f"{name}: {text}"))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"weights": peer.state_dict(), "tokens": tokens}, path)
    kept = torch.load(path, weights_only=True)
    peer.load_state_dict(kept["weights"])
    return peer.eval(), f"{minutes:g} min, {kept['tokens'] / 1e6:.1f} M tokens"


def trained_model(weights: Path, minutes: float) -> Path:
    """tokenzip's lstm base, trained for these minutes of the clock, on one thread."""
    path = weights / f"{OURS}-{minutes:g}.safetensors"
    if not path.is_file():
        _say(f"training tokenzip's lstm base for {minutes:g} minutes")
        model = tokenzip.train(
            data_path("drive/train.h5"), predictor="lstm", preset="base", minutes=minutes, threads=1
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return path


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Everything that can be measured here, one after another."""
    clips = _clips(options.clips, options.frames)
    general = ["tokenzip adaptive", "xz", "zstd", "brotli", "zpaq"]
    there = bench.contenders()
    chosen = [n for n in general if any(c.startswith(n) and not m for c, m in there.items())]
    for result in bench.compare(clips, alphabet=ALPHABET, compressors=chosen, report=_say):
        yield Row(result)
    for name, path in (("cmix", options.cmix), ("lstm-compress", options.lstm_compress)):
        if path:
            _say(name)
            yield measure_program(Program(name, path), clips)
    for name in NETWORKS:
        _say(name)
        peer, learned = trained_peer(name, options.weights, options.minutes)
        yield measure_network(f"{name} (float)", peer, clips, learned)
    same = f"{options.minutes:g} min", trained_model(options.weights, options.minutes)
    for learned, model in (same, ("65 min", COMMITTED)):
        for predictor in ("lstm", "hybrid"):
            name = f"tokenzip {predictor}, {learned}"
            _say(name)
            yield measure_ours(name, predictor, clips, model, learned)


def markdown(measured: Sequence[Row]) -> str:
    """The table, what was measured, and the machine."""
    first = measured[0].result
    lines = [
        "## Peers",
        "",
        "![ratio against decoding speed](peers.png)",
        "",
        "| compressor | bits/token | ratio | encode tokens/s | decode tokens/s | model bytes | "
        "trained | decodes at another batch size |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in sorted(measured, key=lambda row: row.result.compressed_bytes):
        one = row.result
        model = "-" if row.model_bytes is None else f"{row.model_bytes:,}"
        lines.append(
            f"| {one.compressor} | {one.bits_per_token:.3f} | {one.ratio:.3f} | "
            f"{one.encode_rate:,.0f} | {one.decode_rate:,.0f} | {model} | "
            f"{row.learned or '-'} | {row.portable or '-'} |"
        )
    frames = first.tokens // first.grids // 128
    lines += [
        "",
        f"{first.grids} clips of drive/val.h5, {frames} frames each, {first.tokens:,} tokens, "
        "coded clip by clip; every round trip verified at the batch size that wrote it. Models "
        "were trained on drive/train.h5 for the time of one core that is given, and are not in the "
        "sizes; those of peers are 32-bit floats, tokenzip's are packed integers. General "
        "compressors: the best of six byte layouts.",
        "",
        "So short a training is little for networks that were made for GPUs: the table says what "
        "each design gives for the same work, not what it can reach. A float blob that decodes at "
        "another batch size here does so on this machine; nothing promises it elsewhere.",
        "",
        machine_line(bench.machine_info()),
        "",
    ]
    return "\n".join(lines)


def _clips(count: int, frames: int) -> list[npt.NDArray[np.uint16]]:
    """The first frames of clips spread evenly over the validation set."""
    clips = load_clips([str(data_path("drive/val.h5"))])
    long = [clip for clip in clips if len(clip) >= frames]
    chosen = np.linspace(0, len(long) - 1, min(count, len(long))).round().astype(int)
    return [long[index][:frames] for index in chosen]


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=10, help="training of each (default 10)")
    add("--clips", type=int, default=6, help="how many to measure on (default 6)")
    add("--frames", type=int, default=100, help="of each clip (default 100)")
    add("--weights", type=Path, default=Path("out/peers"), help="where trained weights are kept")
    add("--train", choices=[*NETWORKS, OURS], help="only train this one")
    add("--cmix", metavar="PATH", help="also measure this program; it is slow")
    add("--lstm-compress", metavar="PATH", help="also measure this program")
    add("--markdown", type=Path, help="write the table to this file")
    add("--plot", type=Path, help="write ratio against decoding speed to this image")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        if options.train:
            if options.train == OURS:
                trained_model(options.weights, options.minutes)
            else:
                trained_peer(options.train, options.weights, options.minutes)
            return 0
        measured = list(rows(options))
    except Skip as reason:
        print(f"peers.py: skipped, {reason}", file=sys.stderr)
        return 0
    table = markdown(measured)
    print(table)
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(table)
    if options.plot:
        bench.save_plot([row.result for row in measured], options.plot, "drive/val, clip by clip")
    return 0


if __name__ == "__main__":
    sys.exit(main())
