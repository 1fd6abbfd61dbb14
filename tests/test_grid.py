"""What an input must be: TokenGrid and the errors that name the first token at fault."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from tokenzip.errors import DTypeError, InputError, OptionError, ShapeError, TokenRangeError
from tokenzip.grid import TokenGrid, share_alphabets, token_grids

INTEGERS = ["?", *"bBhHiIlLqQ", ">i2", ">u2", ">i4", ">u4", ">i8", ">u8"]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 3), (2, 3, 4), (0,), (0, 3), (3, 0, 2)])
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...], rng: Any) -> None:
    array = rng.integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)
    grid = TokenGrid.of(array)
    assert grid.tokens.dtype == np.uint16 and grid.tokens.dtype.isnative
    assert grid.tokens.flags.c_contiguous
    assert grid.shape == array.shape and grid.dtype == array.dtype
    assert grid.tokens.shape == (array.shape or (1,))
    assert np.array_equal(grid.tokens.reshape(shape), array)
    assert grid.alphabet == max(2, int(array.max(initial=0)) + 1)


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda a: a[::-1],
        lambda a: a[:, ::2],
        lambda a: a.transpose(2, 0, 1),
        lambda a: np.broadcast_to(a[:1], (6, *a.shape[1:])),
        lambda a: a.astype(">i4")[1:, :, ::-1],
    ],
)
def test_any_memory_layout(layout: Any, rng: Any) -> None:
    array = layout(rng.integers(0, 1024, (6, 8, 4)))
    before = array.copy()
    grid = TokenGrid.of(array)
    assert np.array_equal(grid.tokens, array) and grid.tokens.flags.c_contiguous
    assert np.array_equal(array, before)


def test_nested_lists_and_scalars() -> None:
    assert TokenGrid.of([[1, 2], [3, 4]]).dtype == np.int64
    assert TokenGrid.of(7).shape == ()
    assert TokenGrid.of(True).alphabet == 2
    assert TokenGrid.of(np.uint8(200)).alphabet == 201
    assert TokenGrid.of([[], []]).shape == (2, 0)
    assert TokenGrid.of([np.int8(3), np.int8(4)]).shape == (2,)


def test_alphabet_is_inferred_or_given() -> None:
    assert TokenGrid.of(np.zeros(3, int)).alphabet == 2
    assert TokenGrid.of(np.array([65535])).alphabet == 65536
    assert TokenGrid.of(np.array([5]), 1024).alphabet == 1024
    assert TokenGrid.of(np.array([True]), 1024).alphabet == 1024
    assert TokenGrid.of(np.array([5]), np.int32(6)).alphabet == 6


@pytest.mark.parametrize("alphabet", [1, 0, -5, 65537, 2.0, "8", True, 2**70])
def test_impossible_alphabet(alphabet: Any) -> None:
    with pytest.raises(OptionError, match="alphabet must be"):
        TokenGrid.of(np.array([0]), alphabet)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", ">i2", ">i8"])
def test_negative_token_is_named(dtype: str) -> None:
    array = np.zeros((4, 3, 5), dtype)
    array[2, 1, 3] = -7
    array[3, 0, 0] = -9
    with pytest.raises(TokenRangeError, match=r"token -7 at index \(2, 1, 3\)") as caught:
        TokenGrid.of(array)
    assert caught.value.index == (2, 1, 3) and caught.value.value == -7


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("i4", 65536),
        ("i4", 65536 + 5),  # would become 5 in a cast to uint16
        ("i8", 2**32 + 1),
        ("i8", 2**62),
        ("u8", 2**63 + 3),
        ("u8", 2**64 - 1),
        (">u8", 2**40),
        (">i4", 2**30),
        ("i8", -(2**63)),
        ("i8", -(2**32) + 5),
    ],
)
def test_no_cast_hides_a_value_out_of_range(dtype: str, value: int) -> None:
    array = np.ones((3, 4), dtype)
    array[1, 2] = value
    for alphabet in (None, 1024, 65536):
        with pytest.raises(TokenRangeError) as caught:
            TokenGrid.of(array, alphabet)
        assert caught.value.index == (1, 2) and caught.value.value == value


@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, np.asfortranarray, lambda a: a[::-1, ::2]]
)
def test_first_offender_is_first_in_c_order(layout: Any) -> None:
    array = layout(np.arange(40_000).reshape(200, 200))
    position = int(np.flatnonzero(array.reshape(-1) >= 30_011)[0])
    expected = tuple(int(part) for part in np.unravel_index(position, array.shape))
    with pytest.raises(TokenRangeError) as caught:
        TokenGrid.of(array, 30_011)
    assert caught.value.index == expected and caught.value.value == array[expected]


def test_zero_dimensional_offender() -> None:
    with pytest.raises(TokenRangeError) as caught:
        TokenGrid.of(-1)
    assert caught.value.index == () and caught.value.value == -1


def test_python_integers_beyond_64_bits() -> None:
    with pytest.raises(TokenRangeError) as caught:
        TokenGrid.of([[1, 2], [2**70, 3]])
    assert caught.value.index == (1, 0) and caught.value.value == 2**70


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.array([[0.5, 1.0]]), r"float64 \(first at index \(0, 0\): .*0\.5"),
        (np.float32(3), r"float32 \(first at index \(\)"),
        (np.zeros(0), "float64 .*empty"),
        (np.array([1 + 2j]), "complex128"),
        (np.array([1, 2, "x"], object), r"object \(first at index \(2,\): 'x'"),
        (np.array([None]), "object"),
        ([1, 2.5], "float64"),
        ("text", "<U4"),
        (b"raw", "np.frombuffer"),
        (None, "object"),
        ({1: 2}, "object"),
        (np.array(["2024-01-01"], "M8[D]"), "datetime64"),
        (np.array([1], "m8[s]"), "timedelta64"),
        (np.zeros(2, "i4,i4"), "integers"),
        (np.ma.masked_array([1, 2], [0, 1]), "mask"),
        (iter([1, 2]), "object"),
    ],
)
def test_not_integers(tokens: Any, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        TokenGrid.of(tokens)


@pytest.mark.parametrize("tokens", [[[1, 2], [3]], [[1], 2]])
def test_ragged(tokens: Any) -> None:
    with pytest.raises(ShapeError, match="regular"):
        TokenGrid.of(tokens)


def test_dimensions() -> None:
    assert TokenGrid.of(np.zeros((1,) * 32, int)).tokens.ndim == 32
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        with pytest.raises(ShapeError, match="at most 32"):
            TokenGrid.of(np.zeros((1,) * 33, int))
    with pytest.raises(ShapeError, match="too large"):
        TokenGrid.of(np.zeros((2**31, 0, 2**30), np.uint8))


def test_lists_of_grids() -> None:
    a, b = np.arange(6).reshape(2, 3), np.zeros((0, 4), np.int8)
    grids, is_list = token_grids([a, b])
    assert is_list and [grid.shape for grid in grids] == [(2, 3), (0, 4)]
    assert token_grids((a,))[1]
    assert token_grids([]) == ([], True)
    assert not token_grids([[1, 2], [3, 4]])[1]
    assert not token_grids([np.int64(1), np.int64(2)])[1]
    assert token_grids([a, np.int64(2)])[1]
    with pytest.raises(ShapeError, match="mixes"):
        token_grids([a, [1, 2]])
    with pytest.raises(TokenRangeError, match="grid 1 of the list: token -1") as caught:
        token_grids([a, np.array([[3, -1]])])
    assert caught.value.index == (0, 1)
    with pytest.raises(InputError, match="grid 0 of the list"):
        token_grids([a.astype(float)])


def test_shared_alphabets() -> None:
    grids, _ = token_grids(
        [np.full((2, 3), 5), np.full((4, 3), 9), np.full((2, 4), 7), np.ones((2, 3), bool)]
    )
    assert [grid.alphabet for grid in share_alphabets(grids)] == [6, 10, 8, 2]
    grids, _ = token_grids([np.full((2, 3), top) for top in (5, 7, 6, 8, 15, 1, 0, 3)])
    shared = share_alphabets(grids)
    assert [grid.alphabet for grid in shared] == [8, 8, 8, 16, 16, 2, 2, 4]
    assert [grid.raw_bytes for grid in shared] == [grid.raw_bytes for grid in grids]


def test_memory_of_a_big_input_stays_near_one_uint16_copy() -> None:
    array = np.zeros((1 << 14, 8, 16), np.int64)  # 2 M tokens: 16 MB; as uint16 4 MB
    array[-1, -1, -1] = 1023
    tracemalloc.start()
    try:
        TokenGrid.of(array)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
        tracemalloc.reset_peak()
        array[-1, -1, -1] = -1
        with pytest.raises(TokenRangeError):
            TokenGrid.of(array)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_contiguous_uint16_is_not_copied() -> None:
    array = np.zeros((4, 8), np.uint16)
    assert np.shares_memory(TokenGrid.of(array).tokens, array)


class TestTorch:
    @pytest.fixture
    def torch(self) -> Any:
        return pytest.importorskip("torch")

    @pytest.mark.parametrize("name", ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16"])
    def test_dtypes(self, torch: Any, name: str) -> None:
        tensor = torch.tensor([[0, 1], [1, 1]]).to(getattr(torch, name))
        grid = TokenGrid.of(tensor)
        assert grid.dtype == np.dtype(name) and grid.tokens.tolist() == [[0, 1], [1, 1]]

    def test_layouts_and_lists(self, torch: Any) -> None:
        tensor = torch.arange(24).reshape(4, 6)
        assert np.array_equal(TokenGrid.of(tensor.t()[::2]).tokens, tensor.t()[::2].numpy())
        grids, is_list = token_grids([tensor, tensor[:0], torch.tensor(3)])
        assert is_list and [grid.shape for grid in grids] == [(4, 6), (0, 6), ()]
        assert TokenGrid.of([torch.tensor(1), torch.tensor(2)]).shape == (2,)

    @pytest.mark.parametrize("name", ["float32", "bfloat16", "complex64"])
    def test_floats_are_refused(self, torch: Any, name: str) -> None:
        with pytest.raises(DTypeError):
            TokenGrid.of(torch.zeros(3, dtype=getattr(torch, name)))

    def test_unreadable_tensors_are_refused(self, torch: Any) -> None:
        for tensor in (
            torch.zeros(3, device="meta", dtype=torch.int64),
            torch.eye(3, dtype=torch.int64).to_sparse(),
        ):
            with pytest.raises(InputError):
                TokenGrid.of(tensor)

    def test_range_error(self, torch: Any) -> None:
        with pytest.raises(TokenRangeError) as caught:
            TokenGrid.of(torch.tensor([[1, 2], [3, -4]]))
        assert caught.value.index == (1, 1) and caught.value.value == -4

    @pytest.mark.gpu
    def test_cuda(self, torch: Any) -> None:
        if not torch.cuda.is_available():
            pytest.skip("no CUDA GPU")
        tensor = torch.arange(24, device="cuda").reshape(4, 6)
        assert np.array_equal(TokenGrid.of(tensor).tokens, tensor.cpu().numpy())
