"""A second decoder of adaptive payloads, written from FORMAT.md section 9 and not from the package.

Plain Python integers, no numpy, no numba, and slow. Constants and context lists are read from the
tables of FORMAT.md themselves, so that the text is what is tested.
"""

from __future__ import annotations

import re
from math import isqrt, prod
from pathlib import Path
from typing import Any

from . import range_decoder

FORMAT = Path(__file__).resolve().parents[2] / "FORMAT.md"


class Corrupt(Exception):
    """The words lead nowhere."""


# What FORMAT.md says


def section_9() -> str:
    text = FORMAT.read_text(encoding="utf-8")
    found = re.search(r"^## 9\. .*?(?=^## 10\. )", text, re.MULTILINE | re.DOTALL)
    assert found
    return found.group()


def constants() -> dict[str, int]:
    """The rows | `NAME` | value | ... | of section 9; a value is decimal, hexadecimal or 2^n."""
    part = section_9().partition("### 9.1 ")[2].partition("### 9.2 ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", part, re.MULTILINE)
    return {name: number(value) for name, value in rows}


def number(text: str) -> int:
    """12, 4,096, 0x9E37, 2^20 or 2^21 - 1."""
    first, _, less = text.replace(",", "").strip().partition(" - ")
    base, _, power = first.partition("^")
    return int(base, 0) ** int(power or 1) - int(less or 0)


def context_lists() -> dict[tuple[str, str], list[str]]:
    """The rows | family | list | `a; b; ...` | of section 9, by (family, list)."""
    rows = re.findall(r"^\| (\w+) \| (\w+) \| `([^`]+)` \|", section_9(), re.MULTILINE)
    return {(family, kind): text.split("; ") for family, kind, text in rows}


def neighbours() -> dict[str, tuple[int, int, int]]:
    """The rows | `name` | frames back | rows up | columns left | of section 9."""
    rows = re.findall(r"^\| `(\w+)` \| (-?\d+) \| (-?\d+) \| (-?\d+) \|", section_9(), re.MULTILINE)
    return {name: (int(f), int(r), int(c)) for name, f, r, c in rows}


C = constants()
LISTS = context_lists()
NEIGHBOURS = neighbours()


# Logarithms and tables (9.4)


def _rounded_log(power: int) -> int:
    """floor(log2(power) / 2 + 1/2): with power = v^128 that is 64 log2 v, rounded."""
    return ((2 * power).bit_length() - 1) // 2


LOG = [0, *(_rounded_log(v**128) for v in range(1, 1024))]


def lg(value: int) -> int:
    halvings = 0
    while value >= 1024:
        value //= 2
        halvings += 1
    return LOG[value] + 64 * halvings


def lg_count(count: int) -> int:
    return min(4 * ((lg(count) + 2) // 4), 1016)


def _root64(power_of_two: int) -> int:
    """floor(2^(power / 64))."""
    value = 1 << power_of_two
    for _ in range(6):
        value = isqrt(value)
    return value


def grow(u: int) -> int:
    knee = C["KNEE"]
    return max(u - knee, 0) + (clip(u + knee, 0, 2 * knee) ** 2 >> 10)


EXP = [(_root64(1600 - d) + 1) // 2 for d in range(1601)]


def frequencies(steps: list[int]) -> list[int]:
    best = max(range(len(steps)), key=lambda s: (steps[s], -s))
    weights = [EXP[d] if (d := steps[best] - v) <= 1600 else 0 for v in steps]
    factor = ((2**24 - 2 - len(steps)) << 32) // sum(weights)
    freq = [1 + (w * factor >> 32) for w in weights]
    freq[best] += 2**24 - 2 - sum(freq)
    return freq


# Geometry (9.2) and contexts (9.5)


def width(value: int) -> int:
    return value.bit_length()


class Layout:
    def __init__(self, alphabet: int, frame: tuple[int, ...], tokens: int) -> None:
        sizes = list(frame)
        lone = prod(sizes) == tokens
        while sizes and prod(sizes) == tokens:
            del sizes[0]
        self.frame_tokens = prod(sizes)
        self.columns = sizes[-1] if sizes else 1
        self.rows = self.frame_tokens // self.columns
        one_token_rows = self.columns == 1
        single = len(sizes) == 1 and self.columns <= C["MOST_PLANES"] and not lone
        self.planes = self.columns if single else 1
        self.split = alphabet > C["LARGEST_WHOLE"]
        self.step = 2 if self.split else 1
        self.symbols = alphabet
        self.low_bits = 0
        if self.split:
            self.low_bits = width(alphabet - 1) // 2
            self.symbols = 2 ** (width(alphabet - 1) - self.low_bits)
            self.columns *= 2
            self.planes *= 2
        self.positions = self.rows * self.columns
        whole = self.symbols <= C["LARGEST_IDENTITY"]
        learned = C["CLASSES"] if self.planes == 1 else C["CLASSES_OF_A_PLANE"]
        self.classes = self.symbols if whole else learned
        self.learns = self.classes < self.symbols
        self.to_come = tokens * self.step
        self.family = "video"
        if self.rows == 1:
            self.family = "stream" if one_token_rows else "row"

    def block_end(self, begin: int) -> int:
        most = C["BLOCK" if self.rows > 1 else "BLOCK_OF_A_ROW"]
        positions = self.positions
        if positions <= most:
            return begin + most // positions * positions
        if self.columns <= most:
            blocks = -(-positions // most)
            size = -(-self.rows // blocks) * self.columns
            return min(begin + size, (begin // positions + 1) * positions)
        size = -(-self.columns // -(-self.columns // most))
        return min(begin + size, (begin // self.columns + 1) * self.columns)


class Context:
    """One context: its terms, and how its rows are numbered."""

    def __init__(self, text: str, layout: Layout, most_bits: int) -> None:
        self.position = text == "pos"
        self.terms = []
        space = layout.planes * (layout.symbols if layout.split else 1)
        if self.position:
            space *= layout.positions
        else:
            for word in text.split():
                is_class = word.startswith("k") and word[1:] in NEIGHBOURS
                self.terms.append((word[1:] if is_class else word, is_class))
                space *= (layout.classes if is_class else layout.symbols) + 1
        roof = min(most_bits, max(C["FEWEST_ROWS"], width(layout.to_come) + 1))
        self.bits = min(roof, width(space - 1))
        self.hashed = space > 2**self.bits


class Experts:
    """Weights of one context, by plane and level; or sharpness, by plane."""

    def __init__(self, first: int, count: int) -> None:
        self.weight = [first] * count
        self.gradient = [0] * count
        self.energy = [0] * count

    def add(self, at: int, truth: int, expected: int) -> None:
        gradient = (truth * 2**24 - expected) >> 16
        self.gradient[at] += gradient
        self.energy[at] += (gradient >> 4) ** 2

    def update(self, rate: int, least: int, most: int) -> None:
        for at, gradient in enumerate(self.gradient):
            if gradient:
                root = isqrt(self.energy[at] + C["CALM"])
                step = (2 * gradient * rate + root) // (2 * root)
                self.weight[at] = clip(self.weight[at] + step, least, most)
                self.gradient[at] = 0


def clip(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)


def level(total: int) -> int:
    return min(C["LEVELS"] - 1, 1 + 3 * lg(total) // 128) if total else 0


class Pool:
    """Places and tables for the counts of symbols."""

    def __init__(self, symbols: int) -> None:
        self.symbols = symbols
        self.tables = C["MOST_IN_TABLES"] // symbols
        self.given_out = 0
        self.left_behind: list[int] = []  # the size of each array that was left

    def enlarge(self, old: int) -> int:
        """The places of a row that had `old` ones; as many if there are no more."""
        if old and 2 * old * C["TABLE_SHARE"] > self.symbols:
            if self.tables == 0:
                return old
            self.tables -= 1
            self.left_behind.append(old)
            return self.symbols
        new = max(4, 2 * old)
        if new in self.left_behind:
            self.left_behind.remove(new)
        elif self.given_out + new <= C["MOST_POOL"]:
            self.given_out += new
        else:
            return old
        if old:
            self.left_behind.append(old)
        return new


class Row:
    """Counts of one row of one context; of symbols with a pool, of classes without."""

    def __init__(self, pool: Pool | None = None) -> None:
        self.total = 0
        self.count: dict[int, int] = {}
        self.pool = pool
        self.places = 0

    def add(self, what: int) -> None:
        self.total += 1
        if self.pool and what not in self.count and len(self.count) == self.places:
            self.places = self.pool.enlarge(self.places)
            if len(self.count) == self.places:
                return
        self.count[what] = min(self.count.get(what, 0) + 1, C["MOST_COUNT"])


EMPTY = Row()

# The decoder


class Mixer:
    """The state, and what it says and learns of symbols: one segment after another.

    constants: where they differ from those of 9.1.
    """

    def __init__(self, layout: Any, constants: dict[str, int] = C) -> None:
        self.layout, self.constants = layout, constants
        lists = {kind: LISTS[layout.family, kind] for kind in ("tokens", "pattern", "copies")}
        kinds = {"tokens": lists["tokens"], "classes": LISTS[layout.family, "classes"]}
        if layout.learns:
            kinds["mixed"] = LISTS[layout.family, "mixed"]
        else:
            kinds["classes"] = kinds["classes"] + LISTS[layout.family, "few"]
            kinds["mixed"] = []
        self.contexts: dict[str, list[Context]] = {}
        self.experts: dict[str, list[Experts]] = {}
        self.rows: dict[str, list[dict[int, Row]]] = {}
        for kind, texts in kinds.items():
            most = C["MOST_CLASS_ROWS" if kind == "classes" else "MOST_LIST_ROWS"]
            first = constants["FIRST_CLASS_WEIGHT" if kind == "classes" else "FIRST_WEIGHT"]
            usable = [t for t in texts if t != "pos" or layout.positions > layout.planes]
            self.contexts[kind] = [Context(text, layout, most) for text in usable]
            self.experts[kind] = [Experts(first, layout.planes * C["LEVELS"]) for _ in usable]
            self.rows[kind] = [{} for _ in usable]
        self.pools: dict[str, Pool | None] = {
            "tokens": Pool(layout.symbols),
            "mixed": Pool(layout.symbols),
            "classes": None,
        }
        self.pairs = [tuple(pair.split()) for pair in lists["pattern"]]
        self.copies = lists["copies"]
        patterns = 2 ** len(self.pairs)
        planes = range(layout.planes)
        self.occurred = [[0] * layout.symbols for _ in planes]
        self.class_of = [[s % layout.classes for s in range(layout.symbols)] for _ in planes]
        self.sharp = [Experts(2**20, layout.planes) for _ in range(2)]
        self.bonus = [[0] * (2 * patterns) for _ in self.copies]
        self.bonus_gradient = [[0] * (2 * patterns) for _ in self.copies]
        self.segments: list[list[int]] = []
        self.seen = 0
        self.next_classes = C["FIRST_CLASSES"]

    # One block (9.6 to 9.8)

    def begin_block(self, symbols: list[int]) -> None:
        """Learn classes where that is due, with these symbols of the segment behind."""
        if self.layout.learns and self.seen >= self.next_classes:
            self.next_classes = self.seen * (2 if self.seen < C["LARGE"] else 4)
            self.learn_classes(symbols)

    def code(self, symbols: list[int], i: int, plain: list[int], read: Any) -> tuple[int, Any]:
        """Symbol i, and its rows in all contexts."""
        around = self.look(symbols, i)
        rows = {kind: self.row_numbers(kind, symbols, i, around) for kind in self.contexts}
        return self.code_symbol(i, around, rows, plain, read), rows

    def end_block(self, symbols: list[int], rows_of: dict[int, Any]) -> None:
        """rows_of: of each index of the block, in rising order."""
        self.update()
        for i, rows in rows_of.items():
            z, x = i % self.layout.planes, symbols[i]
            self.occurred[z][x] += 1
            self.count(("tokens",), rows, x)
            self.count(("mixed",), rows, x)
            self.count(("classes",), rows, self.class_of[z][x])
        self.seen += len(rows_of)

    def look(self, symbols: list[int], i: int) -> dict[str, tuple[int, int]]:
        """(symbol, class) of every neighbour."""
        layout = self.layout
        t, p = divmod(i, layout.positions)
        row, column = divmod(p, layout.columns)
        around = {}
        for name, (back, up, left) in NEIGHBOURS.items():
            u, r, c = t - back, row - up, column - left * layout.step
            if u >= 0 and 0 <= r < layout.rows and 0 <= c < layout.columns:
                q = r * layout.columns + c
                at = u * layout.positions + q
                symbol = symbols[at]
                assert at < i and symbol >= 0  # every neighbour has been coded
                around[name] = (symbol, self.class_of[q % layout.planes][symbol])
            else:
                around[name] = (layout.symbols, layout.classes)
        return around

    def row_numbers(self, kind: str, symbols: list[int], i: int, around: Any) -> list[int]:
        layout = self.layout
        p = i % layout.positions
        start = p % layout.planes
        if layout.split:
            start = start * layout.symbols + (symbols[i - 1] if p % 2 else 0)
        found = []
        for context in self.contexts[kind]:
            index = start
            if context.position:
                index = index * layout.positions + p
            for name, is_class in context.terms:
                symbol, its_class = around[name]
                if is_class:
                    index = index * (layout.classes + 1) + its_class
                else:
                    index = index * (layout.symbols + 1) + symbol
            if context.hashed:
                index = (index + 1) * C["GOLDEN"] % 2**64 >> (64 - context.bits)
            found.append(index)
        return found

    def code_symbol(self, i: int, around: Any, rows: Any, plain: list[int], read: Any) -> int:
        layout = self.layout
        z = i % layout.planes
        of = self.class_of[z]
        pattern = 0
        for bit, (one, other) in enumerate(self.pairs):
            if around[one][0] == around[other][0]:
                pattern += 2**bit

        # The first distribution.
        score = [-(value << 10) for value in plain]
        prior = [value - self.constants["TOKEN_ALPHA"] for value in plain]
        token_says = self.say("tokens", rows, z, prior, score)
        first_drop, steps = sharpen(score, self.sharp[0].weight[z])
        first = frequencies(steps)

        # The last one.
        best = max(range(layout.symbols), key=lambda s: (steps[s], -s))
        top = 24 * 64 - lg(first[best])
        prior = [
            min(top - value, C["MOST_STEPS"]) - self.constants["MIXED_ALPHA"] for value in steps
        ]
        mass = [0] * layout.classes
        for s, f in enumerate(first):
            mass[of[s]] += f
        class_prior = [
            (min(24 * 64 - lg(m), C["MOST_STEPS"]) if m else C["MOST_STEPS"])
            - self.constants["CLASS_ALPHA"]
            for m in mass
        ]
        class_score = [0] * layout.classes
        class_says = self.say("classes", rows, z, class_prior, class_score)
        score = [(steps[s] << 10) + class_score[of[s]] for s in range(layout.symbols)]
        mixed_says = self.say("mixed", rows, z, prior, score)
        candidates = []
        for m, name in enumerate(self.copies):
            symbol = around[name][0]
            if symbol < layout.symbols:
                same = m > 0 and symbol == around[self.copies[0]][0]
                candidates.append((m, pattern + same * 2 ** len(self.pairs), symbol))
        for m, which, symbol in candidates:
            score[symbol] += self.bonus[m][which] >> 2
        drop, steps = sharpen(score, self.sharp[1].weight[z])
        last = frequencies(steps)

        x: int = read(i, last)

        # What it teaches.
        mass = [0] * layout.classes
        for s, f in enumerate(last):
            mass[of[s]] += f
        if sum(divmod(i, layout.positions)) % 2 == 0:
            self.learn("tokens", token_says, first, x)
        self.learn("mixed", mixed_says, last, x)
        self.learn("classes", class_says, mass, of[x])
        for which, drops, freq in ((0, first_drop, first), (1, drop, last)):
            expected = sum(f * d for f, d in zip(freq, drops, strict=True))
            self.sharp[which].add(z, -drops[x], -expected)
        for m, which, symbol in candidates:
            self.bonus_gradient[m][which] += (symbol == x) * 2**24 - last[symbol]
        return x

    def say(self, kind: str, rows: Any, z: int, prior: list[int], score: list[int]) -> Any:
        """Add to `score`; (context, its weight's place, what each counted symbol gains)."""
        says = []
        for r, number_of_row in enumerate(rows[kind]):
            row = self.rows[kind][r].get(number_of_row, EMPTY)
            if row.total == 0:
                continue
            at = z * C["LEVELS"] + level(row.total)
            weight = self.experts[kind][r].weight[at] >> 6
            gains = {s: grow(lg_count(n) + prior[s]) for s, n in row.count.items()}
            for s, gain in gains.items():
                score[s] += weight * gain
            says.append((r, at, gains))
        return says

    def learn(self, kind: str, says: Any, freq: list[int], x: int) -> None:
        for r, at, gains in says:
            expected = sum(freq[s] * gain for s, gain in gains.items())
            self.experts[kind][r].add(at, gains.get(x, 0), expected)

    def update(self) -> None:
        for experts in self.experts.values():
            for expert in experts:
                expert.update(self.constants["WEIGHT_RATE"], -C["MOST_WEIGHT"], C["MOST_WEIGHT"])
        for sharp in self.sharp:
            sharp.update(
                self.constants["SHARPNESS_RATE"], C["LEAST_SHARPNESS"], C["MOST_SHARPNESS"]
            )
        for bonus, gradient in zip(self.bonus, self.bonus_gradient, strict=True):
            for at, g in enumerate(gradient):
                if g:
                    value = bonus[at] + (g * self.constants["BONUS_RATE"] >> 24)
                    bonus[at] = clip(value, -C["MOST_BONUS"], C["MOST_BONUS"])
                    gradient[at] = 0

    def count(self, kinds: tuple[str, ...], rows: Any, what: int) -> None:
        for kind in kinds:
            for r, number_of_row in enumerate(rows[kind]):
                self.rows[kind][r].setdefault(number_of_row, Row(self.pools[kind])).add(what)

    # Classes (9.9)

    def learn_classes(self, symbols: list[int]) -> None:
        layout = self.layout
        whole = symbols[: len(symbols) // layout.positions * layout.positions]
        if not whole and not any(self.segments):
            return
        parts = [*self.segments, whole]
        self.class_of = [classes_of_plane(parts, z, layout) for z in range(layout.planes)]
        for kind in ("mixed", "classes"):
            self.rows[kind] = [{} for _ in self.contexts[kind]]
        self.pools["mixed"] = Pool(self.layout.symbols)
        for segment in [*self.segments, symbols]:
            for i, x in enumerate(segment):
                around = self.look(segment, i)
                rows = {k: self.row_numbers(k, segment, i, around) for k in ("mixed", "classes")}
                self.count(("mixed",), rows, x)
                self.count(("classes",), rows, self.class_of[i % layout.planes][x])


class Decoder(Mixer):
    """Decodes the segments of one state, one after another."""

    def __init__(self, alphabet: int, frame: tuple[int, ...], tokens: int) -> None:
        super().__init__(Layout(alphabet, frame, tokens))

    def decode(self, payload: bytes, frames: int, frame_tokens: int) -> list[int]:
        """The tokens of a payload, in order."""
        layout = self.layout
        count = frames * frame_tokens * layout.step
        lanes = 1
        if count >= C["SYMBOLS_FOR_LANES"]:
            lanes = min(layout.rows, C["MOST_LANES"])
        assert len(payload) % 4 == 0
        words = [int.from_bytes(payload[i : i + 4], "little") for i in range(0, len(payload), 4)]
        sizes, words = words[: lanes - 1], words[lanes - 1 :]
        coders = []
        for size in [*sizes, len(words) - sum(sizes)]:
            coders.append(range_decoder.Decoder(words[:size]))
            words = words[size:]

        def read(i: int, freq: list[int]) -> int:
            row = i % layout.positions // layout.columns
            cumulative = [0]
            for f in freq:
                cumulative.append(cumulative[-1] + f)
            symbol = coders[row % lanes].decode(cumulative)
            if symbol < 0:
                raise Corrupt
            return symbol

        symbols = self.run(count, read)
        if not layout.split:
            return symbols
        halves = zip(symbols[::2], symbols[1::2], strict=True)
        return [high * 2**layout.low_bits + low for high, low in halves]

    def observe(self, tokens: list[int]) -> None:
        """Take in a stored chunk of a solid group."""
        symbols = tokens
        if self.layout.split:
            radix = 2**self.layout.low_bits
            symbols = [half for token in tokens for half in divmod(token, radix)]
        self.run(len(symbols), lambda i, freq: symbols[i])

    def run(self, count: int, read: Any) -> list[int]:
        symbols: list[int] = []
        while len(symbols) < count:
            self.begin_block(symbols)
            end = min(self.layout.block_end(len(symbols)), count)
            self.code_block(symbols, end, read)
        self.segments.append(symbols)
        return symbols

    def code_block(self, symbols: list[int], end: int, read: Any) -> None:
        layout = self.layout
        plain = []
        for occurred in self.occurred:
            total = lg(layout.symbols + 2 * sum(occurred))
            plain.append([min(total - lg(2 * n + 1), C["MOST_STEPS"]) for n in occurred])
        rows_of = {}
        for i in range(len(symbols), end):
            symbol, rows_of[i] = self.code(symbols, i, plain[i % layout.planes], read)
            symbols.append(symbol)
        self.end_block(symbols, rows_of)


def sharpen(score: list[int], sharpness: int) -> tuple[list[int], list[int]]:
    high = max(score)
    below = [min((high - value) >> 6, 2**16) for value in score]
    return [b >> 4 for b in below], [-(b * (sharpness >> 8) >> 16) for b in below]


def classes_of_plane(segments: list[list[int]], z: int, layout: Layout) -> list[int]:
    before: list[tuple[int, int]] = []
    left: list[tuple[int, int]] = []
    above: list[tuple[int, int]] = []
    per_frame, columns = layout.positions, layout.columns
    for symbols in segments:
        for i, x in enumerate(symbols):
            p = i % per_frame
            if p % layout.planes != z:
                continue
            if i >= per_frame:
                before.append((x, symbols[i - per_frame]))
            if p % columns >= layout.planes:
                left.append((x, symbols[i - layout.planes]))
            if p >= columns:
                above.append((x, symbols[i - columns]))

    def repeats(pairs: list[tuple[int, int]]) -> int:
        return sum(x == y for x, y in pairs)

    pairs = before if repeats(before) >= repeats(left) else left + above
    features = min(layout.symbols, C["FEATURES"])
    count: dict[tuple[int, int], int] = {}
    for x, y in pairs:
        for key in ((x, y % features), (y, features + x % features)):
            count[key] = count.get(key, 0) + 1
    of_symbol = [0] * layout.symbols
    of_feature = [0] * (2 * features)
    for (s, f), n in count.items():
        of_symbol[s] += n
        of_feature[f] += n
    total = sum(count.values())
    vectors: list[dict[int, int]] = [{} for _ in range(layout.symbols)]
    for (s, f), n in count.items():
        lift = n * total // of_symbol[s] * 2048 // of_feature[f]
        vectors[s][f] = lg(64 + lift) - 384
    for vector in vectors:
        normalise(vector)
    order = sorted(range(layout.symbols), key=lambda s: (-of_symbol[s], s))
    label = [-1] * layout.symbols
    for k, s in enumerate(order[: layout.classes]):
        label[s] = k
    return after_rounds(vectors, label, layout.classes)


def after_rounds(vectors: list[dict[int, int]], label: list[int], classes: int) -> list[int]:
    """Step 5, from normalised vectors and the seeds' labels."""
    for _ in range(C["ROUNDS"]):
        centres: list[dict[int, int]] = [{} for _ in range(classes)]
        for s, vector in enumerate(vectors):
            if label[s] >= 0:
                for f, value in vector.items():
                    centres[label[s]][f] = centres[label[s]].get(f, 0) + value
        for centre in centres:
            normalise(centre)
        fresh = []
        for vector in vectors:
            like = [sum(v * c.get(f, 0) for f, v in vector.items()) for c in centres]
            fresh.append(like.index(max(like)))
        if fresh == label:
            break
        label = fresh
    return label


def normalise(vector: dict[int, int]) -> None:
    length = isqrt(sum(v * v for v in vector.values())) + 1
    for f in vector:
        vector[f] = vector[f] * C["LENGTH"] // length
