"""The second decoder (tests/reference/) agrees on everything that was ever committed.

It knows the format from FORMAT.md alone, so this proves that the text is enough to read what people
have. Single parts of it are tested where the parts of the package are (test_adaptive_reference.py,
test_hybrid_reference.py, test_network_format.py, test_archive_format.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reference import archive_reader, blob_decoder, network_decoder
from reference.decode import decode

import tokenzip
from tokenzip.models.bundled import table

TESTS = Path(__file__).resolve().parent
FIXTURES = TESTS / "fixtures"
BUNDLED = FIXTURES / "v2" / "bundled"
#: Of models that come with tokenzip; the others beside it are of the one in BUNDLED.
OF_BUNDLED = FIXTURES / "v2" / "models"
BLOBS = sorted(FIXTURES.rglob("*.tkz"))
ARCHIVES = sorted(FIXTURES.rglob("*.h5"))
MODELS = sorted(FIXTURES.rglob("*.safetensors"))

#: Tokens that plain Python decodes in a second or two; a blob of more is for `make test-slow`.
FEW = {0: 10**6, 1: 400, 2: 900, 3: 900, 4: 300}


def parameters() -> Iterator[object]:
    for path in BLOBS:
        blob = blob_decoder.parse(path.read_bytes())
        tokens = sum(int(np.prod(grid.shape, dtype=int)) for grid in blob.grids)
        # The models that come with tokenzip take minutes in plain Python, even to be read.
        slow = tokens > FEW[blob.predictor] or path.parent == OF_BUNDLED
        marks = [pytest.mark.slow, pytest.mark.timeout(3600)] if slow else []
        yield pytest.param(path, id=str(path.relative_to(FIXTURES)), marks=marks)


def model_for(blob: blob_decoder.Blob) -> network_decoder.Model | None:
    """The model file that a blob needs, read by the second decoder."""
    if blob.bundled:
        rows = json.loads((table.FOLDER / "table.json").read_text())
        (row,) = (row for row in rows if row["number"] == blob.bundled)
        packed = (table.FOLDER / f"{row['name']}.packed").read_bytes()
        return network_decoder.read_embedded(packed, bytes.fromhex(row["identity"]))
    if blob.model is None or blob.embedded:
        return None
    for path in MODELS:
        if tokenzip.Model.load(path).identity == blob.model:
            return network_decoder.read_model_file(path.read_bytes())
    raise AssertionError("no such model")


def wanted(path: Path, blob: blob_decoder.Blob) -> list[list[int]]:
    """What the package decodes it to."""
    models: object = [*MODELS]
    if blob.bundled:
        models = None
    arrays = tokenzip.decode(path.read_bytes(), model=models)
    return [a.ravel().tolist() for a in (arrays if isinstance(arrays, list) else [arrays])]


def test_it_needs_nothing_but_python() -> None:
    """In a process of its own, without site-packages."""
    code = """
import pkgutil, sys, reference
for module in pkgutil.iter_modules(reference.__path__):
    __import__(f"reference.{module.name}")
parts = {name.partition(".")[0] for name in sys.modules}
print(sorted(parts - set(sys.stdlib_module_names) - {"__main__"}))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(TESTS)!r}){code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['reference']\n"


@pytest.mark.parametrize("path", list(parameters()))
def test_blobs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.parent == FIXTURES / "v2":
        monkeypatch.setattr(table, "FOLDER", BUNDLED)
    blob = blob_decoder.parse(path.read_bytes())
    assert decode(path.read_bytes(), model_for(blob)) == wanted(path, blob)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_models(path: Path) -> None:
    found = network_decoder.read_model_file(path.read_bytes())
    assert found.identity() == tokenzip.Model.load(path).identity


@pytest.mark.slow
@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_archives(path: Path) -> None:
    """Every clip of an archive, with the models that the archive keeps."""
    data = path.read_bytes()
    clips, attrs = archive_reader.by_walking(data)
    assert archive_reader.by_index(data) == (clips, attrs)
    models = {
        record["name"]: network_decoder.read_model_file(record["body"])
        for record in archive_reader.records(data)
        if record["kind"] == 4
    }
    with tokenzip.open(path) as archive:
        assert list(archive) == list(clips) and dict(archive.attrs) == attrs
        for name, (body, attributes) in clips.items():
            identity = blob_decoder.parse(body).model
            model = models[identity.hex()] if identity else None
            assert decode(body, model) == [archive[name][:].ravel().tolist()]
            assert dict(archive[name].attrs) == attributes
