"""Runs all targets in turn, each in a process of its own, and says what was found.

python -m fuzz --minutes 60 [--target blob ...] [--out FOLDER] [--plain]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ("blob", "model", "archive", "files", "command")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for all targets together")
    parser.add_argument("--target", action="append", choices=NAMES)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        _child(options)
        return 0
    names = options.target or list(NAMES)
    rows = [_run(name, 60 * options.minutes / len(names), options) for name in names]
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "summary.jsonl").open("a") as file:
        file.write(json.dumps({"when": time.strftime("%F %T"), "targets": rows}) + "\n")
    print(f"{'target':10}{'executions':>12}{'accepted':>11}{'minutes':>9}{'findings':>10}")
    for row in rows:
        print(
            f"{row['target']:10}{row['executions']:12,}{row['accepted']:11,}"
            f"{row['seconds'] / 60:9.1f}{len(row['findings']):10}"
        )
        for what, times in row["findings"].items():
            print(f"    {times} x {what}")
    return 1 if any(row["findings"] for row in rows) else 0


def _run(name: str, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """One target for so long, begun again where a process ended before its time."""
    end = time.monotonic() + seconds
    row: dict[str, Any] = {"target": name, "executions": 0, "accepted": 0, "seconds": 0}
    row.update(slowest_seconds=0, largest_bytes=0, findings={})
    seed = int(time.time())
    while (left := end - time.monotonic()) > 2:
        report = options.out / f"{name}.json"
        report.unlink(missing_ok=True)
        options.out.mkdir(parents=True, exist_ok=True)
        seed += 1
        command = [sys.executable, "-m", "fuzz", "--target", name, "--out", str(options.out)]
        command += ["--child", str(left), "--seed", str(seed)]
        if options.plain or importlib.util.find_spec("atheris") is None:
            command.append("--plain")
        log = options.out / f"{name}.log"
        with log.open("ab") as file:
            code = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
        part = json.loads(report.read_text()) if report.exists() else {"findings": {}}
        for key in ("executions", "accepted", "seconds"):
            row[key] += part.get(key, 0)
        for key in ("slowest_seconds", "largest_bytes"):
            row[key] = max(row[key], part.get(key, 0))
        for what, times in part["findings"].items():
            row["findings"][what] = row["findings"].get(what, 0) + times
        if code:
            what = f"the process ended with {code}: see {log}"
            row["findings"][what] = row["findings"].get(what, 0) + 1
            if not report.exists():
                break  # it does not even begin
    return row


def _child(options: argparse.Namespace) -> None:
    """One process of one target."""
    (name,) = options.target
    report, folder = options.out / f"{name}.json", options.out / "findings" / name
    from . import engine

    if not options.plain:
        engine.follow_coverage(name, int(options.child), options.seed, report, folder)
    from .targets import TARGETS

    start = time.monotonic()
    total = None
    while (passed := time.monotonic() - start) < options.child:
        watch = engine.loop(TARGETS[name], engine.PULSE, options.seed + int(passed * 1e6), folder)
        total = watch if total is None else total.joined(watch)
        engine.write_report(report, total, passed)


if __name__ == "__main__":
    sys.exit(main())
