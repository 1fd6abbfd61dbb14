"""`import tokenzip` is light, and nothing needs torch."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import tokenzip


def run(code: str) -> str:
    """The output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_no_heavy_package() -> None:
    heavy = run(
        """
        import sys
        import tokenzip
        heavy = {"torch", "h5py", "numba", "numpy", "constriction", "typer", "rich"}
        heavy |= {"zarr", "numcodecs", "webdataset", "fsspec", "s3fs"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert heavy.strip() == "[]"


def test_stored_needs_neither_torch_nor_numba_nor_h5py() -> None:
    heavy = run(
        """
        import sys
        import numpy as np
        import tokenzip
        grid = np.arange(600).reshape(100, 2, 3)
        assert (tokenzip.decode(tokenzip.encode(grid, predictor="stored")) == grid).all()
        print(sorted({"torch", "h5py", "numba", "constriction"} & set(sys.modules)))
        """
    )
    assert heavy.strip() == "[]"


def test_works_where_torch_cannot_be_imported() -> None:
    run(
        """
        import sys

        class NoTorch:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "torch":
                    raise ImportError("torch is blocked")

        sys.meta_path.insert(0, NoTorch())
        import numpy as np
        import tokenzip
        grid = np.arange(4096).reshape(32, 8, 16) % 7
        for predictor in ("auto", "stored"):
            blob = tokenzip.encode(grid, predictor=predictor)
            assert (tokenzip.decode(blob) == grid).all()
            tokenzip.inspect(blob)
        assert "torch" not in sys.modules
        """
    )


@pytest.mark.parametrize(
    ("module", "package", "install"),
    [
        ("integrations.numcodecs", "numcodecs", "'tokenzip[numcodecs]'"),
        ("integrations.zarr", "zarr", "'tokenzip[zarr]'"),
        ("integrations.hdf5", "h5py", "h5py"),
        ("integrations.torch", "torch", "'tokenzip[torch]'"),
        ("torch", "torch", "'tokenzip[torch]'"),
    ],
)
def test_what_a_missing_package_is_called(module: str, package: str, install: str) -> None:
    run(
        f"""
        import importlib, sys
        import tokenzip
        sys.modules[{package!r}] = None
        try:
            importlib.import_module("tokenzip.{module}")
        except tokenzip.errors.MissingDependencyError as error:
            assert str(error).endswith("pip install " + {install!r}), error
        else:
            raise SystemExit("no error")
        """
    )


@pytest.mark.parametrize("name", sorted(set(tokenzip.__all__)))
def test_every_public_name_exists(name: str) -> None:
    assert getattr(tokenzip, name) is not None
    assert name in dir(tokenzip)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tokenzip.nonsense  # noqa: B018
