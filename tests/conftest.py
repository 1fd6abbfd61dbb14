"""Fixtures and settings that all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tokenzip.blob.fields import PREDICTORS, WITH_MODEL
from tokenzip.models import FAMILIES

# Started in the background (nohup, a shell's &), pytest would hand ignored signals down to the
# processes that the tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The registry of whoever runs the tests is none of their business; it stays empty unless a test
# says where it is.
os.environ["TOKENZIP_REGISTRY"] = os.path.join(os.devnull, "registry")

# Times vary with the machine and with compilation; what is tested here is correctness.
settings.register_profile(
    "tokenzip", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", parent=settings.get_profile("tokenzip"), max_examples=2000)
settings.load_profile(os.environ.get("TOKENZIP_HYPOTHESIS", "tokenzip"))


@pytest.fixture(scope="session", params=[p for p in PREDICTORS if p not in WITH_MODEL])
def predictor(request: pytest.FixtureRequest) -> str:
    """The name of each predictor that needs no model, in turn."""
    return request.param


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family of networks in turn."""
    return request.param


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch's threads that wait for each other are slow where other tests keep the cores busy."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real token files; the test is skipped where there is none."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TOKENZIP_DATA", shared))
    if not folder.is_dir():
        pytest.skip(f"no token files at {folder}; set TOKENZIP_DATA")
    return folder
