"""The battery with the oldest and the newest versions of what tokenzip needs: the same blobs?

    python tests/determinism/versions.py [FOLDER]      (make determinism-versions)

makes a virtual environment of each kind in FOLDER (default: out/versions) with this Python, runs
cases.py in it, and holds the checksums against SHA256SUMS. The oldest are those that pyproject.toml
admits, the newest what pip finds. Prints a table of the versions and how many blobs agreed; exit
status 1 if one did not. torch is left out: no case needs it, and its wheels take gigabytes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHOWN = ("numpy", "numba", "constriction", "h5py", "safetensors", "typer", "rich")


def requirements() -> list[str]:
    """The dependencies of pyproject.toml, as they stand there (Python 3.10 has no tomllib)."""
    text = (ROOT / "pyproject.toml").read_text()
    (block,) = re.findall(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    return re.findall(r'"(.+?)"', block)


def oldest(requirement: str) -> str:
    """The lowest version that a requirement admits, exactly."""
    name, version = re.findall(r"([\w-]+)>=([\d.]+)", requirement)[0]
    return f"{name}=={version}"


def sums(text: str) -> set[str]:
    return set(text.splitlines())


def try_in(folder: Path, packages: list[str]) -> bool:
    """Install, run, compare, and say."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(folder / "cache")}
    wanted, found = sums((HERE / "SHA256SUMS").read_text()), set()
    for arguments in ([], ["--tiny"]):
        command = [python, HERE / "cases.py", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        print(done.stderr, end="", file=sys.stderr)
        found |= sums(done.stdout)
    code = f"import importlib.metadata as m; print(*(m.version(n) for n in {SHOWN}))"
    versions = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    row = " ".join(map(" ".join, zip(SHOWN, versions.stdout.split(), strict=True)))
    print(f"{folder.name}: {row}: {len(found & wanted)} of {len(wanted)} blobs agree", flush=True)
    return found == wanted


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "out" / "versions"
    kinds = {"oldest": [oldest(r) for r in requirements()], "newest": requirements()}
    agreed = [try_in(folder / kind, packages) for kind, packages in kinds.items()]
    sys.exit(not all(agreed))


if __name__ == "__main__":
    main()
