"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from tokenzip import __version__
from tokenzip.files.memory import physical_memory

PACKAGES = ("numpy", "numba", "constriction", "zstandard", "brotli", "torch")


def machine_info() -> dict[str, Any]:
    """Processor, cores, memory, system, Python and package versions; JSON-ready."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "tokenzip": __version__,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def machine_line(info: dict[str, Any]) -> str:
    """``machine_info`` as one sentence of a report."""
    packages = ", ".join(
        f"{name} {version}" for name, version in info["packages"].items() if version
    )
    memory = f", {info['memory_gib']} GiB" if info["memory_gib"] else ""
    return (
        f"{info['cpu']}, {info['cores']} cores{memory}; {info['system']}; {info['python']}; "
        f"tokenzip {info['tokenzip']}, {packages}."
    )


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    size = physical_memory()
    return None if size is None else round(size / 2**30, 1)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
