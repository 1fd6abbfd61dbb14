"""FORMAT.md section 9 against the code: every constant, list and rule that it states by value.

After a change of the code's constants or context lists, before any blob was released with them:

    PYTHONPATH=. python tests/test_adaptive_format.py --write

brings the values in FORMAT.md up to date. Afterwards it is another format version.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from reference import adaptive_decoder as reference

from tokenzip.coding import logarithms, tables, weights
from tokenzip.predictors.adaptive import (
    classes,
    coder,
    contexts,
    experts,
    kernel,
    learner,
    lists,
    logs,
    state,
)
from tokenzip.predictors.adaptive.contexts import Geometry, context_set, geometry
from tokenzip.predictors.hybrid.coder import TUNING

#: Where the code has each constant of FORMAT.md.
WHERE: dict[str, tuple[Any, str]] = {
    "LARGEST_WHOLE": (contexts, "LARGEST_WHOLE_ALPHABET"),
    "LARGEST_IDENTITY": (contexts, "LARGEST_IDENTITY_ALPHABET"),
    "CLASSES": (contexts, "CLASSES"),
    "CLASSES_OF_A_PLANE": (contexts, "CLASSES_OF_A_PLANE"),
    "MOST_PLANES": (contexts, "MOST_PLANES"),
    "BLOCK": (contexts, "BLOCK_SYMBOLS"),
    "BLOCK_OF_A_ROW": (contexts, "BLOCK_SYMBOLS_OF_A_ROW"),
    "FEWEST_ROWS": (state, "_FEWEST_ROWS"),
    "MOST_LIST_ROWS": (state, "_MOST_LIST_ROWS"),
    "MOST_CLASS_ROWS": (state, "_MOST_CLASS_ROWS"),
    "GOLDEN": (kernel, "_GOLDEN"),
    "LEVELS": (state, "LEVELS"),
    "TOKEN_ALPHA": (state.ADAPTIVE, "token_alpha"),
    "MIXED_ALPHA": (state.ADAPTIVE, "mixed_alpha"),
    "CLASS_ALPHA": (state.ADAPTIVE, "class_alpha"),
    "MOST_STEPS": (tables, "MOST_STEPS"),
    "FIRST_WEIGHT": (state.ADAPTIVE, "first_weight"),
    "FIRST_CLASS_WEIGHT": (state.ADAPTIVE, "first_class_weight"),
    "MOST_WEIGHT": (experts, "MOST_WEIGHT"),
    "WEIGHT_RATE": (state.ADAPTIVE, "weight_rate"),
    "CALM": (experts, "CALM"),
    "LEAST_SHARPNESS": (state, "LEAST_SHARPNESS"),
    "MOST_SHARPNESS": (state, "MOST_SHARPNESS"),
    "SHARPNESS_RATE": (state.ADAPTIVE, "sharpness_rate"),
    "MOST_BONUS": (kernel, "MOST_BONUS"),
    "BONUS_RATE": (state.ADAPTIVE, "bonus_rate"),
    "MOST_COUNT": (logs, "MOST_COUNT"),
    "MOST_POOL": (state, "MOST_POOL"),
    "MOST_IN_TABLES": (state, "MOST_IN_TABLES"),
    "TABLE_SHARE": (state, "TABLE_SHARE"),
    "KNEE": (logs, "KNEE"),
    "FIRST_CLASSES": (learner, "FIRST_CLASSES_AFTER"),
    "LARGE": (learner, "LARGE"),
    "ROUNDS": (classes, "ROUNDS"),
    "LENGTH": (classes, "LENGTH"),
    "FEATURES": (classes, "MOST_FEATURES"),
    "SYMBOLS_FOR_LANES": (coder, "SYMBOLS_FOR_LANES"),
    "MOST_LANES": (coder, "MOST_LANES"),
}

FAMILIES = {"video": contexts._VIDEO, "row": contexts._ROW, "stream": contexts._STREAM}


def code_constants() -> dict[str, int]:
    return {name: int(getattr(module, there)) for name, (module, there) in WHERE.items()}


def code_lists() -> dict[tuple[str, str], list[str]]:
    texts = {(family, "few"): text for family, text in contexts._FEW_SYMBOLS.items()}
    for family, kinds in FAMILIES.items():
        texts.update({(family, kind): text for kind, text in kinds.items()})
    return {
        key: [" ".join(part.split()) for part in text.split(";")] for key, text in texts.items()
    }


def used_neighbours() -> set[str]:
    words = {
        word[1:] if word[0] == "k" and len(word) > 1 else word
        for parts in code_lists().values()
        for part in parts
        for word in part.split()
    }
    return words - {"pos"}


def up_to_date(text: str) -> str:
    """FORMAT.md with the code's constants and context lists."""
    for name, value in code_constants().items():
        if reference.C.get(name) != value:
            text = re.sub(rf"^(\| `{name}` \|) [^|]+ \|", rf"\1 {value} |", text, flags=re.M)
    for (family, kind), parts in code_lists().items():
        row = f"| {family} | {kind} | `{'; '.join(parts)}` |"
        text = re.sub(rf"^\| {family} \| {kind} \| `[^`]*` \|", row, text, flags=re.M)
    places = {name: contexts._neighbour(name, 1) for name in used_neighbours()}
    rows = "".join(
        f"| `{name}` | {n.frames} | {n.rows} | {n.columns} |\n"
        for name, n in sorted(places.items(), key=lambda item: (item[1].frames, item[0]))
    )
    return re.sub(r"(^\| `\w+` \| -?\d+ \| -?\d+ \| -?\d+ \|\n)+", rows, text, flags=re.M)


class TestTables:
    def test_constants(self) -> None:
        assert code_constants() == reference.C

    def test_context_lists(self) -> None:
        assert code_lists() == reference.LISTS

    @pytest.mark.parametrize("step", [1, 2])
    def test_neighbours(self, step: int) -> None:
        for name, (frames, rows, columns) in reference.NEIGHBOURS.items():
            found = contexts._neighbour(name, step)
            assert (found.frames, found.rows, found.columns) == (frames, rows, columns * step)

    def test_every_neighbour_used_is_listed_and_causal(self) -> None:
        assert set(reference.NEIGHBOURS) == used_neighbours()
        for frames, rows, columns in reference.NEIGHBOURS.values():
            # In the same frame: to the left in this row, or above and at most one to the right.
            assert frames > 0 or (rows == 0 and columns > 0) or (rows > 0 and columns >= -1)

    def test_rewriting_leaves_what_is_up_to_date(self) -> None:
        text = reference.FORMAT.read_text(encoding="utf-8")
        assert up_to_date(text) == text
        stale = text.replace("| `LEVELS` | 12 |", "| `LEVELS` | 99 |").replace("pos; a;", "a;")
        assert stale != text
        assert "pos; a;" in up_to_date(stale)

    def test_version(self) -> None:
        assert coder.AdaptiveCoder(4, (), 8).parameters() == b"\1" == bytes([coder.VERSION])


GEOMETRIES = [
    (1024, (8, 16), 1200 * 128),
    (1024, (8,), 9000),
    (1024, (33,), 9900),
    (1024, (), 9000),
    (1024, (1,), 9000),
    (1024, (1, 1), 9000),
    (1024, (32, 32), 1024),
    (1024, (1, 32, 32), 1024),
    (1024, (3, 32, 32), 3 * 1024),
    (1024, (2, 3, 4, 5), 2 * 120),
    (1024, (7,), 7),
    (1024, (1, 7, 1), 7),
    (1024, (), 1),
    (2, (64, 64), 64 * 64 * 3),
    (2, (2, 300), 1200),
    (3, (128,), 1280),
    (3, (129,), 1290),
    (16, (129, 1), 129 * 5),
    (17, (5, 60), 3000),
    (17, (3, 127), 3810),
    (4096, (8, 16), 10**7),
    (4097, (8, 16), 10**7),
    (65536, (16,), 1600),
    (65536, (17,), 1700),
    (65536, (40, 65), 26000),
    (40000, (), 100),
]


def family(layout: Geometry) -> str:
    """Which family's lists context_set took, found by its candidates and patterns."""
    step = 2 if layout.split else 1
    chosen = context_set(layout)
    for name, kinds in FAMILIES.items():
        copies = tuple(contexts._neighbour(c.strip(), step) for c in kinds["copies"].split(";"))
        if chosen.copies == copies and len(chosen.pattern) == kinds["pattern"].count(";") + 1:
            return name
    raise AssertionError(chosen)


@pytest.mark.parametrize(("alphabet", "frame", "tokens"), GEOMETRIES)
class TestGeometry:
    def test_layout(self, alphabet: int, frame: tuple[int, ...], tokens: int) -> None:
        code, text = geometry(alphabet, frame, tokens), reference.Layout(alphabet, frame, tokens)
        assert (code.rows, code.columns, code.planes) == (text.rows, text.columns, text.planes)
        assert code.positions == text.positions
        assert (code.alphabet, code.classes) == (text.symbols, text.classes)
        assert (code.split, code.low_bits) == (text.split, text.low_bits)
        assert code.learns_classes == text.learns
        assert family(code) == text.family
        assert tokens * text.step % code.positions == 0

    def test_blocks(self, alphabet: int, frame: tuple[int, ...], tokens: int) -> None:
        code, text = geometry(alphabet, frame, tokens), reference.Layout(alphabet, frame, tokens)
        begin = 0
        for _ in range(40):
            end = kernel._block_end.py_func(code, begin)
            assert end == text.block_end(begin)
            assert begin < end <= begin + code.block_symbols
            if code.block_symbols < code.positions:
                assert begin // code.positions == (end - 1) // code.positions
            begin = end

    def test_rows(self, alphabet: int, frame: tuple[int, ...], tokens: int) -> None:
        layout = geometry(alphabet, frame, tokens)
        decoder = reference.Decoder(alphabet, frame, tokens)
        steps = 2 if layout.split else 1
        fresh = state.new_state(layout, context_set(layout), tokens * steps)
        for kind, terms in (
            ("tokens", fresh.token_terms),
            ("classes", fresh.class_terms),
            ("mixed", fresh.mixed_terms),
        ):
            wanted = decoder.contexts[kind]
            assert terms.bits.tolist() == [context.bits for context in wanted]
            assert terms.hashed.tolist() == [context.hashed for context in wanted]
            assert terms.position.tolist() == [context.position for context in wanted]
            assert np.diff(terms.begin).tolist() == [len(context.terms) for context in wanted]


class TestLogarithms:
    def test_log_is_the_nearest_whole_number(self) -> None:
        for v in range(1, 1024):
            # LOG - 1/2 <= 64 log2 v < LOG + 1/2, in whole numbers.
            assert 2 ** (2 * reference.LOG[v] - 1) <= v**128 * 2 ** (v == 1)
            assert v**128 < 2 ** (2 * reference.LOG[v] + 1)

    def test_log(self) -> None:
        rng = np.random.default_rng(1)
        values = [*range(1, 5000), *((1 << n) + d for n in range(2, 62) for d in (-1, 0, 1))]
        values += [int(rng.integers(1 << 60, 1 << 61)) >> n % 50 for n in range(500)]
        for value in values:
            assert logarithms.log2_steps(value) == reference.lg(value)

    def test_log_of_counts(self) -> None:
        wanted = [reference.lg_count(c) for c in range(1, logs.MOST_COUNT + 1)]
        codes = logs.LOG_CODES.astype(int)
        assert codes[0] == logs.LOG_STEPS[0] == 0
        assert [logs.CODE_STEPS * (code - 1) for code in codes[1:].tolist()] == wanted
        assert (logs.CODE_STEPS * codes == logs.LOG_STEPS).all()

    def test_gains(self) -> None:
        """As computed for tables, and as looked up for arrays, within the table looked up in."""
        alphas = [
            getattr(tuning, name)
            for tuning in (state.ADAPTIVE, *TUNING.values())
            for name in ("token_alpha", "mixed_alpha", "class_alpha")
        ]
        for prior in range(-max(alphas), tables.MOST_STEPS - min(alphas) + 1):
            base = prior + logs.BASE_SHIFT
            for count in (1, 2, 3, 7, 100, 5000, logs.MOST_COUNT):
                wanted = reference.grow(reference.lg_count(count) + prior)
                assert logs.gain(logs.LOG_CODES[count], np.int32(base)) == wanted
                at = int(logs.LOG_STEPS[count]) + base - logs.LOWEST_GAIN
                assert at >= 0
                assert logs.GAINS[at] == wanted
            assert logs.gain(np.uint8(0), np.int32(base)) == 0

    def test_grow_is_close_to_a_logarithm(self) -> None:
        for u in range(-600, 2700):
            assert abs(reference.grow(u) - 64 * np.log2(1 + 2 ** (u / 64))) < 8

    def test_no_score_overflows_32_bits(self) -> None:
        most_gain = reference.grow(experts.MOST_STEPS + reference.lg_count(logs.MOST_COUNT))
        for (_, kind), parts in code_lists().items():
            if kind == "mixed":
                continue
            most_contexts = len(parts) + 20  # what may come on top: few or mixed
            change = most_contexts * (experts.MOST_WEIGHT >> 6) * most_gain
            plain = max(experts.MOST_STEPS, 8192) << 10
            assert 2 * (change + plain + 4 * kernel.MOST_BONUS) < 2**31

    def test_exp(self) -> None:
        assert [*reference.EXP, 0] == weights.EXP2.tolist()

    def test_square_root(self) -> None:
        large = [n * n + d for n in (10**4, 2**30, 2**31 - 1) for d in (-1, 0, 1)]
        for value in [*range(2000), *large]:
            root = logs.integer_sqrt(value)
            assert root * root <= value < (root + 1) ** 2

    def test_frequencies(self) -> None:
        rng = np.random.default_rng(2)
        for size in (2, 3, 40, 1000):
            steps = -rng.integers(0, rng.choice([2, 400, 1800, 8000]), size).astype(np.int32)
            freq = np.empty(size, np.int32)
            best = tables.frequencies_from_scores(steps, freq)
            assert freq.tolist() == reference.frequencies(steps.tolist())
            assert best == int(np.argmax(steps))


def counts_of(lists: state.Lists, number: int) -> dict[int, int]:
    """The counts of a row, by symbol."""
    start, length, _, table = lists.row[number].tolist()
    if table:
        assert length == 0
        found = np.flatnonzero(lists.counts[table])
        assert (lists.codes[table] == logs.LOG_CODES[lists.counts[table]]).all()
        return {int(s): int(lists.counts[table, s]) for s in found}
    return {e >> 16: e & 0xFFFF for e in lists.pool[start : start + length].tolist()}


@pytest.mark.parametrize(("alphabet", "free_tables"), [(40, 2), (300, 1000), (300, 3), (300, 0)])
def test_a_pool_that_is_full(alphabet: int, free_tables: int) -> None:
    """The last places and tables of a pool: who gets them, and what is counted without."""
    rng = np.random.default_rng(6)
    layout = geometry(alphabet, (4, 4), 1000)
    fresh = state.new_state(layout, context_set(layout), 1000).token_lists
    free_places = 90
    most_tables = state.most_tables(alphabet)
    fresh = fresh._replace(  # untouched memory costs nothing
        pool=np.zeros(state.MOST_POOL, np.uint32),
        codes=np.zeros((most_tables, alphabet), np.uint8),
        counts=np.zeros((most_tables, alphabet), np.uint16),
    )
    fresh.top[0] = state.MOST_POOL - free_places
    fresh.tables[0] = most_tables - free_tables
    text = reference.Pool(alphabet)
    text.given_out = reference.C["MOST_POOL"] - free_places
    text.tables = free_tables
    rows = [reference.Row(text) for _ in range(9)]
    for _ in range(900):
        row, symbol = int(rng.integers(9)), int(rng.integers(alphabet) ** 2 // alphabet)
        assert lists.has_room(fresh, 1)
        lists.count_symbols(fresh, np.array([row]), symbol, np.array([-1]))
        rows[row].add(symbol)
    for number, row in enumerate(rows):
        assert counts_of(fresh, number) == row.count
        assert fresh.row[number, state.TOTAL] == row.total
    lost = sum(row.total - sum(row.count.values()) for row in rows)
    assert lost > 50 or free_tables == 1000
    assert fresh.top[0] <= state.MOST_POOL
    assert fresh.tables[0] <= most_tables


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_adaptive_format.py --write")
    reference.FORMAT.write_text(
        up_to_date(reference.FORMAT.read_text(encoding="utf-8")), encoding="utf-8"
    )
