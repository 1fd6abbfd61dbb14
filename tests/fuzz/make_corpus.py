"""Writes the seeds of all targets into corpus/: `PYTHONPATH=tests:. python -m fuzz.make_corpus`."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zlib
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
from network_cases import tiny_model

import tokenzip
from tokenzip.blob import CodedChunk, CodedGrid, write_blob
from tokenzip.blob.choice import GIVEN, Candidate, Choice
from tokenzip.files.named import Member, join_names
from tokenzip.models.packed import pack
from tokenzip.predictors import hybrid

from .target import CORPUS
from .targets.files import KINDS


def main() -> None:
    for make in (blobs, models, archives, files, commands):
        for name, data in make().items():
            path = CORPUS / make.__name__.removesuffix("s").replace("file", "files") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    total = sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file())
    print(f"{total:,} bytes in {CORPUS}")


def grid(frames: int = 60) -> np.ndarray:
    return ((np.arange(frames)[:, None, None] // 9 + np.arange(6).reshape(2, 3)) % 11).astype(
        np.int16
    )


def blobs() -> dict[str, bytes]:
    small = grid()
    several = [small, small > 4, np.array(7), np.zeros((0, 4), ">u4")]
    noise = np.random.default_rng(1).integers(0, 700, (9, 4))
    return {
        "stored": tokenzip.encode(noise, predictor="stored"),
        "adaptive": tokenzip.encode(small, predictor="adaptive", chunk_frames=20),
        "solid": tokenzip.encode(several, predictor="adaptive", solid=True, chunk_frames=20),
        "list": tokenzip.encode(several, predictor="adaptive"),
        "wide": tokenzip.encode(small.astype(np.int64) * 5000, predictor="adaptive"),
        "row": tokenzip.encode(np.repeat(small.reshape(-1), 3).astype(np.uint8)),
        "hybrid": with_model("lstm", "hybrid"),
        "hybrid_solid": with_model("conv3d", "hybrid", solid=True),
        **version_1_of_hybrids(),
        "lstm": with_model("lstm", "lstm"),
        "conv3d": with_model("conv3d", "conv3d"),
    }


def version_1_of_hybrids() -> dict[str, bytes]:
    with mock.patch.object(hybrid, "VERSION", 1):
        return {
            "hybrid_1": with_model("lstm", "hybrid"),
            "hybrid_solid_1": with_model("conv3d", "hybrid", solid=True),
        }


def with_model(family: str, predictor: str, solid: bool = False) -> bytes:
    """A blob with its model in it, and a note, though both cost more here than they save."""
    model = tiny_model(family, (2, 3), 11, coarse=True)
    blob = tokenzip.encode([grid(), grid() > 4], model=model, predictor=predictor, solid=solid)
    info = tokenzip.inspect(blob)
    assert info.predictor == predictor
    grids = []
    for one in info.grids:
        chunks = tuple(
            CodedChunk(c.kind == "stored", blob[c.offset : c.offset + c.bytes], c.token_crc)
            for c in one.chunks
        )
        grids.append(CodedGrid(one.shape, one.dtype, one.alphabet, None, chunks))
    tried = Candidate(predictor, GIVEN, 1000), Candidate("adaptive", None, 2000)
    return write_blob(
        grids,
        is_list=True,
        predictor=predictor,
        parameters=info.parameters,
        model=model.identity,
        embedded=pack(model),
        solid=solid,
        choice=Choice(64, tried),
    )


def models() -> dict[str, bytes]:
    made = {}
    for family in ("lstm", "conv3d"):
        for version in (1, 2):
            model = tiny_model(family, (2, 3), 11, coarse=True)
            made[f"{family}_{version}"] = pack(model, version)
    made["planes"] = pack(tiny_model("lstm", (3,), 11, coarse=True))
    return made


def archives() -> dict[str, bytes]:
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tkz.h5")
        with tokenzip.open(path, "w", predictor="adaptive", chunk_frames=20) as archive:
            archive.attrs["source"] = {"fps": 20, "names": ["a", "b"]}
            archive.add("one", grid(), attrs={"n": 1})
            archive.add("folder/two", grid(20).astype(">u4"))
            archive["gone"] = grid(10)
            del archive["gone"]
        made["adaptive"] = path.read_bytes()
        with tokenzip.open(path, "w", predictor="stored") as archive:
            archive["one"] = grid(4)
            archive["point"] = np.array(3)
            archive.add("empty", np.zeros((0, 4), np.uint8), attrs={"x": None})
        with tokenzip.open(path, "a", predictor="stored") as archive:
            archive.add("one", grid(5), replace=True)
            archive["point"].attrs["later"] = True
        made["changed"] = path.read_bytes()
        model = tiny_model("lstm", (2, 3), 11, coarse=True)
        with tokenzip.open(path, "w", model=model) as archive:
            archive.add_model(model.identity.hex(), pack(model))
            archive["one"] = grid(20)
        made["model"] = path.read_bytes()
    return made


def files() -> dict[str, bytes]:
    small = grid(8)
    npy, npz, hdf5, tar = (io.BytesIO() for _ in range(4))
    np.save(npy, small)
    np.savez_compressed(npz, a=small, b=np.arange(4, dtype=">i8"), c=np.ones(2))
    with h5py.File(hdf5, "w") as file:
        file.create_dataset("clips/one", data=small, chunks=(4, 2, 3), compression="gzip")
        file["two"] = small[:2]
        file["clips"].attrs["fps"] = 20
        file["soft"] = h5py.SoftLink("/two")
        file["outside"] = h5py.ExternalLink("other.h5", "/x")
    with tarfile.open(fileobj=tar, mode="w") as shard:
        for name, content in (("a.token.npy", npy.getvalue()), ("a.json", b'{"fps": 20}')):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    gz = zlib.compressobj(9, zlib.DEFLATED, 31)
    members = [Member("x/a.npz", "npz", ("p", "q")), Member("b.npy", "npy", ("",))]
    made = {
        "npy": npy.getvalue(),
        "npz": npz.getvalue(),
        "h5": hdf5.getvalue(),
        "raw": small.astype("<u2").tobytes(),
        "tar": tar.getvalue()[:3072],
        "tar.gz": gz.compress(tar.getvalue()) + gz.flush(),
        "names": join_names(members, b"\xf7TKZ"),
    }
    return {kind: bytes([KINDS.index(kind)]) + data for kind, data in made.items()}


def commands() -> dict[str, bytes]:
    lines = {
        "compress": "compress clip.npy -o out.tkz --predictor stored",
        # By default, which compiles: no input after it has to.
        "default": "compress clip.npy -o out.tkz",
        "decompress": "decompress clip.npy.tkz -o out.npy --frames 1:3",
        "info": "info clip.npy.tkz pack.tkz.h5 --json",
        "verify": "verify clip.npy.tkz --fast",
        "ls": "ls -l pack.tkz.h5",
        "extract": "extract pack.tkz.h5 one:1:3 -o out.npy",
        "unpack": "unpack pack.tkz.h5 -o out",
        "raw": "compress clip.npy --dtype uint16 --shape -1,8,16 --predictor stored",
        "values": "1:3 npy >u2 -1,2,3 0x3 *",
    }
    return {name: line.replace(" ", "\n").encode() for name, line in lines.items()}


if __name__ == "__main__":
    main()
