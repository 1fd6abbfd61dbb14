"""The battery with the oldest and the newest versions of what tokenzip needs: the same blobs?

    python tests/determinism/versions.py [--torch] [FOLDER]      (make determinism-versions)

makes a virtual environment of each kind in FOLDER (default: out/versions) with this Python, runs
cases.py in it, and holds the checksums against SHA256SUMS. The oldest are those that pyproject.toml
admits, the newest what pip finds. Prints a table of the versions and how many blobs agreed; exit
status 1 if one did not. --torch: also the oldest and the newest torch, and all networks by it; its
wheels take gigabytes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHOWN = ("numpy", "numba", "constriction", "h5py", "safetensors", "typer", "rich", "torch")
_VERSIONS = f"""
import importlib.metadata, platform
print("  python", platform.python_version(), *(
    f"{{one.name}} {{one.version}}" for one in importlib.metadata.distributions()
    if one.name in {SHOWN}
))
"""


def requirements(*, torch: bool) -> list[str]:
    """The dependencies of pyproject.toml, as they stand there (Python 3.10 has no tomllib)."""
    text = (ROOT / "pyproject.toml").read_text()
    (block,) = re.findall(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    extra = re.findall(r'^torch = \["(.+?)"\]', text, re.MULTILINE)
    return re.findall(r'"(.+?)"', block) + (extra if torch else [])


def oldest(requirement: str) -> str:
    """The lowest version that a requirement admits, exactly."""
    name, version = re.findall(r"([\w-]+)>=([\d.]+)", requirement)[0]
    return f"{name}=={version}"


def try_in(folder: Path, packages: list[str]) -> bool:
    """Install, run, compare, and say."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(folder / "cache")}
    wanted = set((HERE / "SHA256SUMS").read_text().splitlines())
    runs = {"numba": [[], ["--tiny"]]}
    if any(package.startswith("torch") for package in packages):
        runs["torch"] = [["--backend", "torch"]]
    agree = {}
    for backend, several in runs.items():
        found: list[str] = []
        for arguments in several:
            command = [python, HERE / "cases.py", *arguments]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
            found += done.stdout.splitlines() if done.returncode == 0 else ["ended early"]
        agree[backend] = set(found) == wanted if backend == "numba" else set(found) <= wanted
        right = sum(line in wanted for line in found)
        print(f"{folder.name}, {backend}: {right} of {len(found)} blobs agree", flush=True)
    subprocess.run([python, "-c", _VERSIONS], check=True)
    return all(agree.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "out" / "versions")
    parser.add_argument("--torch", action="store_true")
    asked = parser.parse_args()
    admitted = requirements(torch=asked.torch)
    kinds = {"oldest": [oldest(r) for r in admitted], "newest": admitted}
    agreed = [try_in(asked.folder / kind, packages) for kind, packages in kinds.items()]
    sys.exit(not all(agreed))


if __name__ == "__main__":
    main()
