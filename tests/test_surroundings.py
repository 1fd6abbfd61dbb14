"""The process around encode and decode: memory, caches, signals, forks, threads, slow pipes."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import ENVIRONMENT, STORED, make_clip, run, run_unread, saved

sys.path.insert(0, str(Path(__file__).resolve().parent / "fixtures"))

from make_network_fixtures import model_path

import tokenzip
from tokenzip.blob import write_blob
from tokenzip.chunk_coding import encode_chunks
from tokenzip.grid import token_grids

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
ROOT = Path(tokenzip.__file__).parents[1]

VIDEO = np.repeat(np.arange(240).reshape(6, 10, 4) % 24, 5, 0).astype("<i2")
CODERS: dict[str, dict[str, Any]] = {
    "stored": {"predictor": "stored"},
    "adaptive": {"predictor": "adaptive"},
    **{
        f"{predictor} {family}": {"predictor": predictor, "model": model_path(family, "video")}
        for family in ("lstm", "conv3d")
        for predictor in (family, "hybrid")
    },
}


def there_and_back(name: str) -> bytes:
    """The blob of VIDEO by one coder, decoded too. In any thread and process."""
    options = CODERS[name]
    blob = tokenzip.encode(VIDEO, alphabet=24, **options)
    assert np.array_equal(tokenzip.decode(blob, model=options.get("model")), VIDEO)
    return blob


@pytest.fixture(scope="module")
def blobs() -> dict[str, bytes]:
    return {name: there_and_back(name) for name in CODERS}


# ---- processes and threads ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes(method: str, blobs: dict[str, bytes]) -> None:
    """Forked after everything was used in the parent, or started anew."""
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(there_and_back, blobs, timeout=300)) == list(blobs.values())


FORKED = """
import os, sys
import numpy as np
import torch
import tokenzip
from tokenzip.models import Geometry, new_spec
from tokenzip.models.blank import blank_model
torch.set_num_threads(2)
model = blank_model(new_spec("lstm", "base", Geometry.of((8, 16), 1024)))
options = {"model": model, "predictor": "lstm", "backend": "torch"}
tokens = np.arange(8 * 8 * 16).reshape(8, 8, 16) % 500
blob = tokenzip.encode(tokens, alphabet=1024, **options)
child = os.fork()
if child == 0:
    ok = tokenzip.encode(tokens, alphabet=1024, **options) == blob
    os._exit(0 if ok and torch.get_num_threads() == 2 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_torch_in_a_forked_child() -> None:
    """OpenMP waited for the parent's threads for ever."""
    pytest.importorskip("torch")
    subprocess.run([sys.executable, "-c", FORKED], env=ENVIRONMENT, check=True, timeout=120)


def test_threads(blobs: dict[str, bytes]) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        names = [*blobs] * 4
        found = pool.map(there_and_back, names)
        assert list(found) == [blobs[name] for name in names]


# ---- memory -------------------------------------------------------------------------------------

LITTLE_MEMORY = """
import os, resource, sys
import numpy as np
import tokenzip
blob, warm, model, megabytes = sys.argv[1], sys.argv[2], sys.argv[3] or None, int(sys.argv[4])
data = open(blob, "rb").read()
tokenzip.decode(open(warm, "rb").read(), model=model)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + megabytes * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    tokens = tokenzip.decode(data, model=model)
    wrong = tokens.size and (tokens != tokens.ravel()[0]).any()
except (MemoryError, tokenzip.TokenzipError) as error:
    print(type(error).__name__)
else:
    print("wrong" if wrong else "right")
"""


def constant(frames: int, coder: str) -> bytes:
    """A blob of zeros as int64, stored or predicted: short, for many tokens."""
    zeros = np.zeros((frames, 10, 4), np.int64)
    if coder == "stored":
        grids, _ = token_grids(zeros, 2)
        coded, _ = encode_chunks(grids, predictor=None, chunk_frames=None, solid=False, threads=1)
        return write_blob(coded, is_list=False)
    return tokenzip.encode(zeros, alphabet=2, **CODERS[coder])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize(
    ("coder", "frames"),
    [
        ("stored", 200_000),
        pytest.param("adaptive", 400, marks=pytest.mark.slow),
        pytest.param("lstm lstm", 400, marks=pytest.mark.slow),
    ],
)
def test_little_memory(coder: str, frames: int, tmp_path: Path) -> None:
    """Too little is a MemoryError or an error of tokenzip's own; never a crash or a wrong array."""
    (tmp_path / "blob").write_bytes(constant(frames, coder))
    (tmp_path / "warm").write_bytes(constant(8, coder))
    model = str(CODERS[coder].get("model", ""))
    found = []
    for megabytes in (0, 1, 4, 16, 64, 512):
        done = subprocess.run(
            [sys.executable, "-c", LITTLE_MEMORY, "blob", "warm", model, str(megabytes)],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (megabytes, done.stderr)
        found.append(done.stdout.strip())
    assert set(found) <= {"right", "MemoryError", "LimitError"}
    assert found[-1] == "right"
    if coder == "stored":
        assert found[0] == "MemoryError"


# ---- the cache of compiled code -----------------------------------------------------------------

TABLES = """
import os, sys
import numpy as np
from tokenzip.coding.tables import tables_from_scores
print(int(tables_from_scores(np.zeros((1, 4), np.int32))[0, -1]))
"""


def start(cache: Path, code: str = TABLES) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=cache.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_several_compile_into_one_cache(tmp_path: Path) -> None:
    """At the same time; one of them is killed on the way."""
    children = [start(tmp_path / "cache") for _ in range(3)]
    time.sleep(2)
    children.pop().kill()
    for child in [*children, start(tmp_path / "cache")]:
        output, errors = child.communicate(timeout=300)
        assert output.strip() == str(2**24 - 2), errors


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"\x80\x04K\x01."])
def test_a_damaged_cache(damage: bytes, tmp_path: Path) -> None:
    """Kept code that is cut off or overwritten is compiled anew, or said; nothing is made up."""
    cache = tmp_path / "cache"
    start(cache).communicate(timeout=300)
    kept = [path for path in cache.rglob("*.nbc")]
    assert kept
    for path in kept:
        path.write_bytes(damage)
    output, errors = start(cache).communicate(timeout=300)
    assert output.strip() == str(2**24 - 2) or (not output and errors)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o555)
    code = f"""
import os, sys
from pathlib import Path
import cmath, numba, numpy, tokenzip.coding.constants
numba.njit(lambda: 1)()  # so that all of Python that is needed is loaded, which others may not read
os.environ["HOME"] = "/nonexistent"
os.setgroups([]); os.setgid(65534); os.setuid(65534)
{TABLES}
"""
    output, errors = start(cache, code).communicate(timeout=300)
    assert output.strip() == str(2**24 - 2), errors
    assert list(cache.iterdir()) == []


# ---- interrupted system calls, slow pipes -------------------------------------------------------

# A signal every two milliseconds, whose handler does nothing: what is interrupted goes on.
ALARMED = """
import signal, sys
from tokenzip.cli import run
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
code = run()
signal.setitimer(signal.ITIMER_REAL, 0)
sys.exit(code)
"""


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_interrupted_calls_and_slow_pipes(command: str, tmp_path: Path) -> None:
    """The input comes in small pieces with pauses, while alarms go off."""
    clip = make_clip(tmp_path)
    assert run("compress", "clip.npy", *STORED, cwd=tmp_path).returncode == 0
    files = (tmp_path / "clip.npy", tmp_path / "clip.npy.tkz")
    order = files if command == "compress" else files[::-1]
    given, wanted = (file.read_bytes() for file in order)
    options = STORED if command == "compress" else []
    child = subprocess.Popen(
        [sys.executable, "-c", ALARMED, command, "-", "-o", "-", *options],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None
    for at in range(0, len(given), 1777):
        child.stdin.write(given[at : at + 1777])
        child.stdin.flush()
        time.sleep(0.002)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    if command == "compress":
        assert np.array_equal(tokenzip.decode(output), clip)
    else:
        assert output == wanted == saved(clip)


@pytest.mark.parametrize("command", [["ls", "a.tkz.h5"], ["extract", "a.tkz.h5", "c", "-o", "-"]])
def test_readers_that_leave_archives(command: list[str], tmp_path: Path) -> None:
    """As test_cli_pipes.py has it for single files."""
    with tokenzip.open(tmp_path / "a.tkz.h5", "w", predictor="stored") as archive:
        archive["c"] = np.arange(60_000) % 1024
    before = (tmp_path / "a.tkz.h5").read_bytes()
    done = run_unread(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    assert (tmp_path / "a.tkz.h5").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.tkz.h5"]
