"""A procedural drive, seen through a windscreen: pictures of 128 x 64 in integer arithmetic.

A road in perspective that bends, with lane marks, trees, posts, houses, traffic, hills, clouds,
changing light, the odd bridge, and sensor noise. Synthetic, and made to give tokens with the
habits of driving video, not to be looked at for long.

Units: lengths in 1/256 metre, picture places in 1/256 pixel, light in 0..255 per channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenzip.samples.chance import Ints, Stream, ease, hashed

HEIGHT, WIDTH = 64, 128
FOCAL = 90  # pixels
EYE = 117  # focal length x camera height (1.3 m), in pixel metres: depth = EYE / rows below horizon
METRE = 256
FAR = 200 * METRE
LANE = 950  # 3.7 m
BATCH = 50  # frames rendered at a time: bounds the memory

Picture = npt.NDArray[np.int32]  # (HEIGHT, WIDTH, 3)


@dataclass(frozen=True)
class Thing:
    """Something upright: ``place`` along the road at frame ``start``, moving at ``speed``."""

    place: int
    side: int  # metres/256 right of the road's centre line
    kind: int  # 0 tree, 1 post, 2 house, 3 car seen from behind, 4 car seen from the front
    size: int  # percent
    colour: tuple[int, int, int]
    start: int = 0
    speed: int = 0  # 1/256 m a frame


@dataclass(frozen=True)
class Drive:
    """All that a drive is before it is drawn; arrays are int64 (frames,)."""

    seed: int
    distance: Ints
    heading: Ints  # 1/256 pixel
    curve: Ints  # 2**-16 per metre
    offset: Ints  # of the camera from the road's centre line
    horizon: Ints
    gain: Ints  # exposure, 256 = 1
    lead: Ints  # distance of the car in front; beyond FAR when there is none
    things: list[Thing]


def plan(frames: int, seed: int, domain: int) -> Drive:
    """Draw up a drive. ``domain`` keeps drives for fitting apart from those for samples."""

    def stream(part: int) -> Stream:
        return Stream(domain, seed, part)

    speed = stream(1).wander(frames, 160, 20, 330)  # 1.5 to 26 m/s at 20 frames/s
    speed = np.maximum(speed - 45, 0)  # now and then it stands still
    distance = np.cumsum(speed)
    curve = stream(2).wander(frames, 90, -600, 600)
    heading = np.cumsum(curve * speed * FOCAL // METRE) // METRE
    bump = stream(3).wander(frames, 3, -24, 25) * np.minimum(speed, 128) // 128
    horizon = 26 * 256 + stream(4).wander(frames, 70, -200, 200) + bump
    gain = stream(5).wander(frames, 110, 175, 290) + stream(6).wander(frames, 14, -5, 6)
    bridges = stream(7).wander(frames, 45, 0, 256)
    gain = gain * (256 - np.maximum(bridges - 225, 0) * 6) // 256
    lead = stream(8).wander(frames, 130, 7 * METRE, 75 * METRE)
    lead = np.where(lead > 45 * METRE, FAR + 1, lead)
    offset = LANE // 2 + stream(9).wander(frames, 80, -150, 150)
    things = [*_roadside(stream(10), int(distance[-1]) + FAR), *_traffic(stream(11), distance)]
    return Drive(seed, distance, heading, curve, offset, horizon, gain, lead, things)


def _roadside(chance: Stream, end: int) -> Iterator[Thing]:
    place = 0
    while place < end:
        step, kind, side, left, size, shade = (int(v) for v in chance.integers(0, 4096, 6))
        place += METRE * 3 + step
        kind = (0, 0, 0, 1, 1, 2)[kind % 6]
        reach = 6 * METRE + side if kind != 1 else 5 * METRE + 128
        if kind == 2:
            reach += 6 * METRE
        dim = shade % 64
        colour = ((30, 62, 28), (120, 118, 110), (150, 130, 105))[kind]
        red, green, blue = (c + dim - 20 for c in colour)
        yield Thing(place, -reach if left % 2 else reach, kind, 60 + size % 90, (red, green, blue))


def _traffic(chance: Stream, distance: Ints) -> Iterator[Thing]:
    frame = 0
    while frame < len(distance):
        wait, way, red, green, blue, extra = (int(v) for v in chance.integers(0, 200, 6))
        frame += 15 + wait
        if frame >= len(distance):
            return
        colour = (30 + red, 30 + green, 30 + blue)
        here = int(distance[frame])
        if way < 150:
            speed = -(120 + extra)
            yield Thing(here + 140 * METRE, -LANE // 2, 4, 100, colour, frame, speed)
        else:
            yield Thing(here + 4 * METRE, -LANE // 2, 3, 100, colour, frame, 190 + extra)


def render(drive: Drive, noise: Stream, every: int = 1) -> Iterator[npt.NDArray[np.uint8]]:
    """The pictures of every ``every``-th frame: uint8 (at most BATCH, HEIGHT, WIDTH, 3) a batch."""
    places = np.array([thing.place for thing in drive.things])
    speeds = np.array([thing.speed for thing in drive.things])
    starts = np.array([thing.start for thing in drive.things])
    wanted = np.arange(0, len(drive.distance), every)
    for first in range(0, len(wanted), BATCH):
        numbers = wanted[first : first + BATCH]
        pictures = _backdrop(drive, numbers)
        for picture, t in zip(pictures, numbers, strict=True):
            depth = places + speeds * (t - starts) - drive.distance[t]
            depth = np.where((speeds != 0) & (t < starts), FAR + 1, depth)
            seen = np.flatnonzero((depth > 3 * METRE) & (depth < 110 * METRE))
            for index in seen[np.argsort(-depth[seen], kind="stable")]:
                _draw(picture, drive, int(t), drive.things[index], int(depth[index]))
            if drive.lead[t] < FAR:
                car = Thing(0, LANE // 2, 3, 105, (70, 74, 84 + drive.seed % 90))
                _draw(picture, drive, int(t), car, int(drive.lead[t]))
        pictures *= drive.gain[numbers].astype(np.int32)[:, None, None, None]
        pictures >>= 8
        grain = noise.raw_bytes(2 * pictures[..., 0].size).reshape(len(numbers), 2, HEIGHT, WIDTH)
        pictures += ((grain.astype(np.int32).sum(axis=1) - 255) * 5 >> 6)[..., None]
        yield np.clip(pictures, 0, 255).astype(np.uint8)


def _backdrop(drive: Drive, t: Ints) -> npt.NDArray[np.int32]:
    """Sky, hills, ground and road of the frames ``t``: int32 (len(t), HEIGHT, WIDTH, 3)."""
    below = np.arange(HEIGHT) * 256 + 128 - drive.horizon[t][:, None]  # (B, H): rows from horizon
    first = int((below > 64).any(axis=0).argmax())  # no frame has ground above this row
    last = int((below > 64).all(axis=0).argmax())  # no frame has sky below this one
    picture = np.empty((len(t), HEIGHT, WIDTH, 3), dtype=np.int32)
    picture[:, first:] = _ground(drive, t, below[:, first:])
    sky = _sky(drive, t, below[:, :last])
    picture[:, :first] = sky[:, :first]
    is_ground = (below[:, first:last] > 64)[..., None, None]
    picture[:, first:last] = np.where(is_ground, picture[:, first:last], sky[:, first:])
    return picture


def _ground(drive: Drive, t: Ints, below: Ints) -> npt.NDArray[np.int32]:
    depth = np.minimum(EYE * 65536 // np.maximum(below, 64), FAR)
    scale = FOCAL * 65536 // depth  # 1/256 pixel a metre
    centre = _centre(drive, t[:, None], depth)
    columns = np.arange(WIDTH) * 256 + 128
    # How far right of the centre line each pixel is; below 2**31 as int32, which is faster.
    pixels = (columns[None, None, :] - centre[..., None]).astype(np.int32)
    side = (pixels * np.int32(256)) // scale[..., None].astype(np.int32)  # (B, H, W)
    along = depth + drive.distance[t][:, None]

    field = hashed(side // np.int32(3 * METRE), (along // (5 * METRE))[..., None], 77) - 128
    field = field * 24 // (64 + depth // METRE)[..., None].astype(np.int32)
    land = hashed(along // (90 * METRE), np.zeros_like(along), drive.seed + 5)
    asphalt = 88 + (hashed(along // (7 * METRE), np.zeros_like(along), 3) - 128) // 20
    road = _cover(side, 0, LANE + 380, scale)
    dashes = np.where(along % (12 * METRE) < 4 * METRE, 256, 0)
    dashes = np.where(depth > 37 * METRE, 85, dashes)  # too far off to tell dash from gap
    paint = _cover(side, 0, 24, scale) * dashes[..., None].astype(np.int32) >> 8
    for edge in (-LANE, LANE):
        paint = np.maximum(paint, _cover(side, edge, 22, scale))
    haze = (depth * 200 // (depth + 260 * METRE))[..., None].astype(np.int32)

    ground = np.empty((*side.shape, 3), dtype=np.int32)
    for channel, (grass, straw, far) in enumerate(((70, 150, 176), (100, 132, 184), (52, 84, 196))):
        value = (grass + ((straw - grass) * land >> 8))[..., None] + field
        value += ((asphalt + 2 * channel)[..., None] - value) * road >> 8
        value += (215 - value) * paint >> 8
        value += (far - value) * haze >> 8
        ground[..., channel] = value
    return ground


def _sky(drive: Drive, t: Ints, below: Ints) -> npt.NDArray[np.int32]:
    height = np.maximum(-below, 0)[..., None].astype(np.int32)  # (B, H, 1), above the horizon
    columns = np.arange(WIDTH) * 256 + 128
    bearing = (columns[None, :] + drive.heading[t][:, None]) % (1 << 20)  # (B, W)
    shape = Stream(9, drive.seed, 1)
    ridge = ease(shape.integers(0, 6 * 256, 128), bearing, 8192)
    ridge = ridge + ease(shape.integers(0, 2 * 256, 1024), bearing, 1024)
    bank = ease(shape.integers(0, 256, 256), bearing, 4096)[:, None, :].astype(np.int32)
    layer = ease(shape.integers(0, 256, 64), height + np.int64(5000), 700).astype(np.int32)
    cloud = np.clip((bank + layer - 250) * 2, 0, 200)
    hill = np.clip(ridge[:, None, :].astype(np.int32) - height + 128, 0, 256)
    out = np.empty((*cloud.shape, 3), dtype=np.int32)
    for channel, (top, bottom, rock) in enumerate(
        ((92, 186, 84), (136, 200, 100), (196, 216, 118))
    ):
        value = bottom + (top - bottom) * height // (28 * 256)
        value = value + ((236 - value) * cloud >> 8)
        out[..., channel] = value + ((rock - value) * hill >> 8)
    return out


def _centre(drive: Drive, t: Ints, depth: Ints) -> Ints:
    """Column (1/256 pixel) of the road's centre line at ``depth``."""
    bend = depth * drive.curve[t] * (FOCAL // 2) >> 16
    return WIDTH * 128 - drive.offset[t] * FOCAL * 256 // depth + bend


def _cover(side: Picture, middle: int, half: int, scale: Ints) -> Picture:
    """How much (0..256) of each pixel a stripe ``middle`` +- ``half`` along the road covers."""
    # Clipped first, so that the product stays in 32 bits: beyond 16 m nothing is covered anyway.
    near = np.clip(half - np.abs(side - np.int32(middle)), -4096, 4096)
    inside = (near * scale[..., None].astype(np.int32) >> 8) + 128
    most = np.minimum(2 * half * scale >> 8, 256)[..., None].astype(np.int32)
    covered: Picture = np.clip(inside, 0, most)
    return covered


def _draw(picture: Picture, drive: Drive, t: int, thing: Thing, depth: int) -> None:
    foot = int(drive.horizon[t]) + EYE * 65536 // depth
    scale = FOCAL * 65536 // depth  # 1/256 pixel a metre
    middle = int(_centre(drive, np.array(t), np.array(depth))) + thing.side * scale // METRE
    haze = depth * 200 // (depth + 260 * METRE)
    size = scale * thing.size // 100

    def box(left: int, right: int, top: int, bottom: int, colour: tuple[int, int, int]) -> None:
        """Paint a box given in 1/100 of the thing's metre, right and up from its foot."""
        paint = [c + ((186 - c) * haze >> 8) for c in colour]
        _blend(
            picture,
            (middle + left * size // 100, middle + right * size // 100),
            (foot - top * size // 100, foot - bottom * size // 100),
            np.array(paint, dtype=np.int32),
        )

    red, green, blue = thing.colour
    if thing.kind == 0:
        box(-25, 25, 250, 0, (60, 46, 36))
        box(-170, 170, 520, 200, thing.colour)
        box(-110, 110, 640, 520, (red + 10, green + 12, blue + 8))
    elif thing.kind == 1:
        box(-8, 8, 260, 0, thing.colour)
        box(-40, 40, 260, 190, (200, 190, 60) if red & 1 else (60, 90, 170))
    elif thing.kind == 2:
        box(-500, 500, 520, 0, thing.colour)
        box(-560, 560, 720, 520, (120, 56, 44))
        for window in (-380, -80, 220):
            box(window, window + 160, 380, 200, (50, 58, 70))
    else:
        box(-95, 95, 25, 0, (22, 22, 24))
        box(-90, 90, 95, 18, thing.colour)
        box(-74, 74, 150, 95, (44, 52, 62))
        lamp = (205, 30, 26) if thing.kind == 3 else (240, 236, 210)
        box(-88, -58, 85, 62, lamp)
        box(58, 88, 85, 62, lamp)


def _blend(picture: Picture, x: tuple[int, int], y: tuple[int, int], colour: Picture) -> None:
    """Paint a rectangle with soft edges; x and y in 1/256 pixel, clipped to the picture."""
    left, right = max(x[0] >> 8, 0), min((x[1] >> 8) + 1, WIDTH)
    top, bottom = max(y[0] >> 8, 0), min((y[1] >> 8) + 1, HEIGHT)
    if left >= right or top >= bottom:
        return
    columns = np.arange(left, right, dtype=np.int32) * 256
    rows = np.arange(top, bottom, dtype=np.int32) * 256
    wide = np.minimum(columns + 256, x[1]) - np.maximum(columns, x[0])
    high = np.minimum(rows + 256, y[1]) - np.maximum(rows, y[0])
    part = picture[top:bottom, left:right]
    part += (colour - part) * (high[:, None] * wide[None, :] >> 8)[..., None] >> 8
