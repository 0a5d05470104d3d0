"""Draws our sample pictures, a content and three styles, and those of the training example; the same every time.

Run: python scripts/draw_samples.py [SAMPLES TRAINING]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "styleplugin" / "samples", ROOT / "docs" / "images" / "training")

# Everything is drawn at this multiple of its final size, which smooths the edges.
SCALE = 2

Color = tuple[int, int, int]


def noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[float, float], decay: float = 2) -> np.ndarray:
    """Return cloud-like noise of (H, W) in [0, 1]; `cells` counts the coarsest blobs down and across."""
    height, width = size
    down = np.fft.fftfreq(height)[:, None] * height / cells[0]
    across = np.fft.rfftfreq(width)[None] * width / cells[1]
    spectrum = np.fft.rfft2(rng.normal(size=size)) * (1 + down**2 + across**2) ** (-decay / 2)
    total = np.fft.irfft2(spectrum, s=size)
    low, high = np.quantile(total, (0.005, 0.995))
    return ((total - low) / (high - low)).clip(0, 1)


def ramp(t: np.ndarray, *stops: tuple[float, Color]) -> np.ndarray:
    """Map (H, W) values through a gradient to (H, W, 3) colors in 0..255."""
    places = [place for place, _ in stops]
    return np.stack([np.interp(t, places, [color[c] for _, color in stops]) for c in range(3)], axis=-1)


def blend(below: np.ndarray, above: np.ndarray | Color, opacity: np.ndarray) -> np.ndarray:
    """Lay a color or picture over another one."""
    opacity = opacity[..., None]
    return below * (1 - opacity) + np.asarray(above, float) * opacity


def finish(pixels: np.ndarray | Image.Image, size: tuple[int, int]) -> Image.Image:
    """Bring a supersampled drawing to its final size (height, width)."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS)


# The content: a lake between hills in evening light.


def draw_lake(rng: np.random.Generator, size: tuple[int, int] = (640, 960)) -> Image.Image:
    """Draw hills, a lake that mirrors them, a house and trees in evening light."""
    height, width = size[0] * SCALE, size[1] * SCALE
    shore = int(height * 0.56)
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]

    scene = _evening_sky(rng, x, y)
    scene = _hills(rng, scene, shore)
    scene = _water(rng, scene, shore)
    scene = _meadow(rng, scene)
    image = Image.fromarray(scene.clip(0, 255).astype(np.uint8))
    _house(rng, image, (int(width * 0.70), int(height * 0.795)), height * 0.2)
    for place, tall in ((0.085, 0.66), (0.2, 0.4), (0.965, 0.42)):
        _tree(rng, image, (int(width * place), int(height * 0.86)), height * tall)
    _flowers(rng, image)
    return finish(image, size)


def _evening_sky(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sky = ramp(
        y,
        (0, (52, 94, 160)),
        (0.18, (104, 152, 204)),
        (0.34, (196, 200, 206)),
        (0.44, (250, 208, 160)),
        (0.54, (255, 178, 112)),
    )
    far = np.hypot((x - 0.47) * 1.5, y - 0.335)
    sky = blend(sky, (255, 226, 160), 0.75 * np.exp(-((far / 0.22) ** 2)))
    sky = blend(sky, (255, 250, 224), np.clip((0.042 - far) / 0.003, 0, 1))
    clouds = noise(rng, x.shape, (5, 3))
    cover = np.clip((clouds - 0.52) * 4.5, 0, 1) * np.clip((0.44 - y) * 6, 0, 1)
    # The upper side of a cloud is lit less than the lower one, which faces the low sun.
    shade = np.clip(0.5 + 14 * (np.roll(clouds, -12, axis=0) - clouds), 0, 1)
    lit = ramp(shade, (0, (255, 232, 204)), (0.5, (246, 190, 164)), (1, (146, 138, 176)))
    return blend(sky, lit, cover * 0.88)


def _hills(rng: np.random.Generator, scene: np.ndarray, shore: int) -> np.ndarray:
    """Lay ridges over the sky, the nearer the darker and greener."""
    height, width = scene.shape[:2]
    rows = np.arange(height)[:, None]
    layers = (
        (0.36, 0.17, 3, (150, 150, 186), (196, 170, 180)),
        (0.42, 0.12, 4, (104, 122, 156), (150, 144, 158)),
        (0.475, 0.08, 5, (66, 98, 108), (106, 128, 112)),
        (0.52, 0.05, 7, (38, 72, 60), (84, 110, 66)),
    )
    for base, rise, peaks, dark, bright in layers:
        profile = noise(rng, (1, width), (1, peaks))[0]
        ridge = height * (base + rise * (0.5 - profile))
        if peaks > 5:
            ridge -= _tree_line(rng, width, height * 0.022)
        relief = noise(rng, (height, width), (14, 12), decay=3)
        slope = np.gradient(relief, axis=1) * 45 + 0.5 * (relief - 0.5)
        haze = np.clip((rows - ridge) / (height * 0.16), 0, 1)
        color = ramp(np.clip(0.42 + slope + 0.3 * haze, 0, 1), (0, dark), (1, bright))
        scene = blend(scene, color, np.clip(rows - ridge, 0, 1) * (rows < shore))
    return scene


def _tree_line(rng: np.random.Generator, width: int, tall: float) -> np.ndarray:
    """Return the height of a row of pointed firs at each column."""
    line = np.zeros(width)
    columns = np.arange(width)
    for center in rng.uniform(0, width, width // 7):
        top = tall * rng.uniform(0.4, 1.2)
        line = np.maximum(line, top - np.abs(columns - center) * 3.2)
    return line


def _water(rng: np.random.Generator, scene: np.ndarray, shore: int) -> np.ndarray:
    """Mirror what is above the shore, broken by ripples that grow towards the viewer."""
    height, width = scene.shape[:2]
    depth = np.arange(height - shore)[:, None] / (height - shore)
    ripples = noise(rng, (height - shore, width), (70, 7)) - 0.5
    rows = shore - 1 - (np.arange(height - shore)[:, None] * 0.95 + ripples * (8 + 120 * depth))
    columns = np.arange(width)[None] + ripples * 30 * depth
    mirrored = scene[rows.clip(0, shore - 1).astype(int), columns.clip(0, width - 1).astype(int)]
    water = blend(mirrored * 0.9, (44, 84, 124), np.broadcast_to(0.12 + 0.4 * depth, ripples.shape))
    glitter = np.clip((ripples - 0.17) * 9, 0, 1) * np.exp(-(((np.arange(width)[None] / width - 0.47) / 0.09) ** 2))
    water = blend(water, (255, 226, 170), glitter * 0.8)
    return np.concatenate([scene[:shore], water])


def _meadow(rng: np.random.Generator, scene: np.ndarray) -> np.ndarray:
    height, width = scene.shape[:2]
    columns = np.arange(width) / width
    edge = 0.83 - 0.09 * np.exp(-(((columns - 0.78) / 0.25) ** 2)) - 0.05 * np.exp(-(((columns - 0.06) / 0.2) ** 2))
    edge = height * (edge + 0.012 * (noise(rng, (1, width), (1, 30))[0] - 0.5))
    rows = np.arange(height)[:, None]
    blades = noise(rng, (height, width), (30, 240))
    patches = noise(rng, (height, width), (8, 5))
    near = np.clip((rows - edge) / (height * 0.2), 0, 1)
    light = np.clip(0.45 * blades + 0.75 * patches - 0.15 - 0.25 * near, 0, 1)
    grass = ramp(light, (0, (30, 52, 26)), (0.4, (74, 104, 40)), (0.75, (140, 154, 62)), (1, (214, 196, 104)))
    return blend(scene, grass, np.clip((rows - edge + 6 * blades) / 3, 0, 1))


def _house(rng: np.random.Generator, image: Image.Image, foot: tuple[int, int], tall: float) -> None:
    """Draw a white house with a red roof; `foot` is the middle of its front wall's lower edge."""
    draw = ImageDraw.Draw(image)
    x, y = foot
    wall, side, eaves = tall * 0.42, tall * 0.85, tall * 0.55
    shade = Image.new("L", image.size)
    ImageDraw.Draw(shade).ellipse((x - wall * 1.5, y - 30, x + wall + side * 1.25, y + 34), 170)
    image.paste((22, 38, 26), (0, 0), shade.filter(ImageFilter.GaussianBlur(10)))
    front = [(x - wall, y), (x - wall, y - eaves), (x, y - tall), (x + wall, y - eaves), (x + wall, y)]
    draw.polygon(
        [(x + wall, y), (x + wall, y - eaves), (x + wall + side, y - eaves), (x + wall + side, y - 4)], "#b9a898"
    )
    draw.polygon(front, "#f4e6cf")
    roof = [
        (x, y - tall),
        (x + side, y - tall),
        (x + wall + side * 1.06, y - eaves * 0.94),
        (x + wall, y - eaves * 0.94),
    ]
    draw.polygon(roof, "#a8442e")
    for row in np.linspace(0.12, 0.9, 7):
        left = (x + row * wall, y - tall + row * (tall - eaves * 0.94))
        draw.line([left, (left[0] + side * 1.03, left[1])], "#8c3423", width=3)
    draw.line(
        [(x - wall * 1.08, y - eaves * 0.93), (x, y - tall), (x + wall * 1.02, y - eaves * 0.93)], "#7c3020", width=9
    )
    chimney = (x + side * 0.55, y - tall * 1.16, x + side * 0.7, y - tall * 0.9)
    draw.rectangle(chimney, "#8a6454")
    draw.rectangle((x - wall * 0.2, y - eaves * 0.62, x + wall * 0.2, y), "#5c3b2a")
    for left, top in ((-0.75, 0.66), (0.38, 0.66)):
        _window(draw, x + wall * left, y - eaves * top, wall * 0.36, eaves * 0.32)
    _window(draw, x - wall * 0.16, y - eaves * 1.22, wall * 0.32, eaves * 0.26)
    for left in (0.18, 0.58):
        _window(draw, x + wall + side * left, y - eaves * 0.7, side * 0.2, eaves * 0.32)
    for place in (-1.05, 1.02, 1.5, 2.4, 2.9):
        _bush(rng, draw, (x + wall * place, y + 8), tall * rng.uniform(0.09, 0.14))
    smoke = Image.new("L", image.size)
    puffs = ImageDraw.Draw(smoke)
    for step in range(26):
        radius = 7 + step * 1.6
        cx = chimney[0] + 12 + 9 * np.sin(step / 4) + step * 3.4 + rng.normal(0, 2)
        cy = chimney[1] - step * 8
        puffs.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=int(120 - step * 4))
    image.paste((238, 226, 222), (0, 0), smoke.filter(ImageFilter.GaussianBlur(7)))


def _bush(rng: np.random.Generator, draw: ImageDraw.ImageDraw, foot: tuple[float, float], tall: float) -> None:
    for light in np.linspace(0, 1, 260):
        x, y = foot[0] + rng.normal(0, tall * 0.75), foot[1] - abs(rng.normal(0, tall * 0.5)) - light * tall * 0.5
        tint = ramp(np.array([[light]]), (0, (24, 46, 28)), (0.6, (66, 100, 44)), (1, (150, 164, 70)))[0, 0]
        draw.ellipse((x - 6, y - 4, x + 6, y + 4), tuple(tint.astype(int)))


def _window(draw: ImageDraw.ImageDraw, x: float, y: float, width: float, height: float) -> None:
    draw.rectangle((x - 4, y - 4, x + width + 4, y + height + 4), "#6e4a36")
    draw.rectangle((x, y, x + width, y + height), "#ffd27a")
    draw.line([(x + width / 2, y), (x + width / 2, y + height)], "#6e4a36", width=4)
    draw.line([(x, y + height / 2), (x + width, y + height / 2)], "#6e4a36", width=4)


def _tree(rng: np.random.Generator, image: Image.Image, foot: tuple[int, int], tall: float) -> None:
    """Draw a broad tree: branches, then leaves from the shaded to the sunlit ones."""
    draw = ImageDraw.Draw(image)
    tips: list[tuple[float, float]] = []

    def branch(x: float, y: float, angle: float, length: float, thick: float) -> None:
        end = x + np.cos(angle) * length, y - np.sin(angle) * length
        draw.line([(x, y), end], (58, 42, 34), width=max(2, int(thick)))
        if length < tall * 0.15:
            tips.append(end)
        if length < tall * 0.045:
            return
        for turn in (-0.42, 0.05, 0.45):
            branch(*end, angle + turn + rng.normal(0, 0.14), length * rng.uniform(0.62, 0.8), thick * 0.62)

    branch(*foot, np.pi / 2 + rng.normal(0, 0.04), tall * 0.3, tall * 0.055)
    places = np.array(tips)[rng.integers(0, len(tips), 5200)] + rng.normal(0, tall * 0.034, (5200, 2))
    center = places.mean(axis=0)
    # The sun stands to the right of the left trees and low: that side and the top are bright.
    sun_side = 1 if foot[0] < image.width / 2 else -1
    light = ((places - center) * [sun_side, -0.8]).sum(axis=1) / (tall * 0.32) + rng.normal(0, 0.35, 5200)
    colors = ramp(light[None], (-1, (26, 46, 30)), (0, (62, 92, 40)), (0.8, (140, 150, 56)), (1.5, (232, 196, 96)))[0]
    for index in np.argsort(light + rng.normal(0, 0.3, 5200)):
        (x, y), radius = places[index], rng.uniform(0.004, 0.009) * tall
        draw.ellipse((x - radius * 1.4, y - radius, x + radius * 1.4, y + radius), tuple(colors[index].astype(int)))


def _flowers(rng: np.random.Generator, image: Image.Image) -> None:
    draw = ImageDraw.Draw(image)
    colors = ("#f2e6d8", "#e8574a", "#f4c542", "#b884d6", "#f08fb0")
    for _ in range(420):
        x, nearness = rng.uniform(0, image.width), rng.uniform(0, 1) ** 0.7
        y = image.height * (0.90 + 0.1 * nearness)
        radius = 2 + 5 * nearness
        draw.line([(x, y), (x + rng.normal(0, 4), y + radius * 4)], "#2c4a22", width=2)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colors[rng.integers(len(colors))])


# The styles.


def draw_swirls(rng: np.random.Generator, size: tuple[int, int] = (640, 640)) -> Image.Image:
    """Draw a night sky in thick strokes that follow the flow around stars."""
    height, width = size[0] * SCALE, size[1] * SCALE
    y, x = np.mgrid[:height, :width] / height
    stars = [(0.24, 0.22, 0.11), (0.67, 0.17, 0.085), (0.5, 0.46, 0.16), (0.86, 0.42, 0.075), (0.13, 0.55, 0.08)]
    angle_x, angle_y, glow = np.ones_like(x), 0.35 * np.sin(x * 7) + 0.1, np.zeros_like(x)
    for sx, sy, radius in stars:
        dx, dy = x - sx, y - sy
        pull = 9 * np.exp(-((np.hypot(dx, dy) / (radius * 1.25)) ** 2)) / radius
        angle_x, angle_y = angle_x - pull * dy, angle_y + pull * dx
        rings = 0.82 + 0.18 * np.cos(np.hypot(dx, dy) / radius * 17)
        glow = np.maximum(glow, np.exp(-((np.hypot(dx, dy) / radius) ** 1.5)) * rings)
    drift = noise(rng, x.shape, (4, 4)) - 0.5
    flow = np.arctan2(angle_y, angle_x) + drift * 1.2
    tone = np.clip(0.25 + 0.5 * noise(rng, x.shape, (7, 3)) - 0.15 * y, 0, 1)
    sky = ramp(
        tone,
        (0, (12, 24, 74)),
        (0.2, (24, 56, 134)),
        (0.38, (46, 104, 178)),
        (0.55, (106, 166, 208)),
        (0.7, (196, 218, 204)),
    )
    sky = blend(
        sky, ramp(glow, (0, (150, 190, 150)), (0.45, (240, 200, 70)), (1, (255, 244, 186))), np.clip(glow * 1.6, 0, 1)
    )
    ground = 0.80 + 0.05 * np.sin(x * 6 + 1) + 0.06 * np.sin(x * 2.4)
    below = np.clip((y - ground) * 60, 0, 1)
    land = ramp(
        noise(rng, x.shape, (14, 8)),
        (0, (10, 34, 40)),
        (0.5, (28, 84, 74)),
        (0.8, (126, 148, 60)),
        (1, (214, 170, 60)),
    )
    plan = blend(sky, land, below)
    flow = np.where(below > 0.5, 0.35 * np.cos(x * 6 + 1) + drift * 2, flow)

    canvas = Image.fromarray((plan * 0.55).astype(np.uint8))
    for count, length, thick in ((7000, 70, 15), (11000, 52, 10), (9000, 36, 6)):
        _strokes(rng, canvas, plan, flow, count=count, length=length, thick=thick)
    return finish(canvas, size)


def _strokes(
    rng: np.random.Generator,
    canvas: Image.Image,
    plan: np.ndarray,
    flow: np.ndarray,
    *,
    count: int,
    length: int,
    thick: int,
) -> None:
    """Lay strokes in the colors of a plan along a field of angles, each with a lit and a shaded side."""
    draw = ImageDraw.Draw(canvas)
    height, width = flow.shape
    for x, y in rng.uniform((-length, -thick), (width, height), (count, 2)):
        color = plan[int(max(y, 0)), int(max(x, 0))] * rng.normal(1, 0.1) + rng.normal(0, 12, 3)
        path = [(x, y)]
        for _ in range(int(length * rng.uniform(0.5, 1.3)) // 6):
            angle = flow[int(np.clip(path[-1][1], 0, height - 1)), int(np.clip(path[-1][0], 0, width - 1))]
            path.append((path[-1][0] + 6 * np.cos(angle), path[-1][1] + 6 * np.sin(angle)))
        for shift, light, part in ((0.22, 0.68, 0.9), (0, 1.0, 0.8), (-0.2, 1.2, 0.28)):
            shifted = [(px + shift * thick * 0.4, py + shift * thick) for px, py in path]
            tint = tuple((color * light).clip(0, 255).astype(int))
            draw.line(shifted, tint, width=max(1, int(thick * part)), joint="curve")


def draw_waves(rng: np.random.Generator, size: tuple[int, int] = (640, 640)) -> Image.Image:
    """Draw waves as a woodblock print: flat inks, dark outlines, the grain of the block."""
    height, width = size[0] * SCALE, size[1] * SCALE
    y = np.mgrid[:height, :width][0] / height
    paper = ramp(y, (0, (92, 132, 156)), (0.16, (206, 206, 182)), (0.45, (244, 226, 186)), (0.7, (240, 214, 168)))
    image = Image.fromarray(paper.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.6, height * 0.1, width * 0.84, height * 0.34), "#cf4a32")
    for row in range(3):
        _cloud_bars(rng, draw, width, height * (0.12 + 0.1 * row))
    mountain = [
        (width * -0.04, height * 0.75),
        (width * 0.27, height * 0.27),
        (width * 0.33, height * 0.27),
        (width * 0.65, height * 0.75),
    ]
    draw.polygon(mountain, "#47627c", outline="#1c2b4a", width=7)
    snow = [
        (0.27, 0.27),
        (0.33, 0.27),
        (0.395, 0.365),
        (0.36, 0.345),
        (0.34, 0.39),
        (0.31, 0.35),
        (0.28, 0.395),
        (0.255, 0.345),
        (0.21, 0.372),
    ]
    draw.polygon([(a * width, b * height) for a, b in snow], "#f6efdc", outline="#1c2b4a", width=6)

    inks = ("#8fb5bd", "#5c8fae", "#34689b", "#22497f", "#16305f")
    for index, level in enumerate(np.linspace(0.5, 0.98, 9)):
        _wave_row(rng, draw, width, height, level, inks[min(index // 2 + index % 2, 4)], inks[max(0, index // 2 - 1)])
    pixels = np.asarray(image, float)
    grain = noise(rng, (height, width), (160, 5)) - 0.5
    blotches = noise(rng, (height, width), (9, 9)) - 0.5
    return finish(pixels * (1 + 0.14 * grain + 0.16 * blotches)[..., None], size)


def _cloud_bars(rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, y: float) -> None:
    for _ in range(3):
        left, long, tall = rng.uniform(-0.1, 0.8) * width, rng.uniform(0.12, 0.35) * width, 17
        top = y + rng.uniform(-25, 25)
        draw.rounded_rectangle((left, top, left + long, top + 2 * tall), tall, "#f3e6c8", outline="#8298a0", width=4)


def _wave_row(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, width: int, height: int, level: float, ink: str, line: str
) -> None:
    """Draw one row of breaking waves: the body, lines that follow its crest, and fingers of foam."""
    columns = np.linspace(-0.1, 1.1, 700)
    count, shift = rng.uniform(2.2, 4.2), rng.uniform(0, 1)
    phase = (columns * count + shift) % 1
    crest = (0.5 + 0.5 * np.cos(2 * np.pi * phase)) ** 1.7
    tall = rng.uniform(0.09, 0.15)
    # The crest leans over to the right, as before it breaks.
    outline = np.stack([(columns + crest**2 * 0.075) * width, height * (level - tall * crest)], axis=1)
    body = [*map(tuple, outline), (width * 1.1, height * 1.1), (-width * 0.1, height * 1.1)]
    draw.polygon(body, ink)
    for step in range(1, 7):
        drop = outline + np.array([0, step * 13 * (1 + 0.2 * step)])
        drop[:, 1] += (1 - crest) * step * 5
        draw.line([*map(tuple, drop)], line if step % 2 else "#e9dfc4", width=6 if step % 2 else 3)
    draw.line([*map(tuple, outline)], "#12203f", width=9, joint="curve")
    for x, y in outline[(crest > 0.45)][::3]:
        for _ in range(2):
            radius = rng.uniform(5, 15)
            px, py = x + rng.normal(4, 9), y + rng.normal(-3, 8)
            draw.ellipse((px - radius, py - radius, px + radius, py + radius), "#f7f1df", outline="#22386a", width=3)
    for x, y in outline[(crest > 0.8)][::4]:
        px, py, radius = x + rng.normal(10, 30), y - abs(rng.normal(0, 34)), rng.uniform(2, 5)
        draw.ellipse((px - radius, py - radius, px + radius, py + radius), "#f7f1df")


def draw_dots(rng: np.random.Generator, size: tuple[int, int] = (640, 640)) -> Image.Image:
    """Draw an orchard at noon in dots of pure color, each color answered by its opposite."""
    height, width = size[0] * SCALE, size[1] * SCALE
    y, x = np.mgrid[:height, :width] / height
    sky = ramp(y, (0, (64, 132, 206)), (0.25, (146, 194, 222)), (0.42, (250, 220, 178)))
    field = ramp(
        (y - 0.42) / 0.58 + 0.1 * np.sin(x * 9 + y * 14),
        (0, (232, 196, 84)),
        (0.25, (214, 150, 56)),
        (0.5, (128, 166, 70)),
        (0.75, (214, 108, 74)),
        (1, (126, 74, 130)),
    )
    plan = blend(sky, field, np.clip((y - 0.42 - 0.02 * np.sin(x * 5)) * 80, 0, 1))
    for cx, cy, rx, ry in (
        (0.2, 0.3, 0.17, 0.2),
        (0.78, 0.33, 0.14, 0.17),
        (0.5, 0.39, 0.08, 0.09),
        (0.99, 0.4, 0.09, 0.1),
    ):
        turn = np.arctan2(y - cy, x - cx)
        lobes = 1 + 0.06 * np.sin(turn * 5 + 9 * cx) + 0.05 * np.sin(turn * 9 + 4 * cy) + 0.03 * np.sin(turn * 17)
        inside = np.clip((1 - np.hypot((x - cx) / rx, (y - cy) / ry) / lobes) * 12, 0, 1)
        light = np.clip(0.5 - (x - cx) / rx * 0.4 - (y - cy) / ry * 0.5, 0, 1)
        trunk = (np.abs(x - cx) < rx * 0.07) & (y > cy) & (y < cy + ry * 1.6)
        plan = blend(plan, (86, 52, 84), trunk.astype(float))
        shadow = np.clip((1 - np.hypot((x - cx - rx * 0.5) / (rx * 1.5), (y - cy - ry * 1.62) / (ry * 0.2))) * 4, 0, 1)
        plan = blend(plan, (72, 66, 146), shadow * 0.85)
        crown = ramp(light, (0, (24, 66, 96)), (0.45, (40, 124, 84)), (0.75, (146, 186, 62)), (1, (248, 226, 96)))
        plan = blend(plan, crown, inside)

    canvas = Image.new("RGB", (width, height), "#e9dfc6")
    draw = ImageDraw.Draw(canvas)
    for count, radius in ((17000, 12), (26000, 8.5), (16000, 6)):
        for px, py in rng.uniform((0, 0), (width, height), (count, 2)):
            color = plan[int(py), int(px)]
            # Every sixth dot takes the opposite hue, as pointillists did to make the others glow.
            color = color.sum() / 1.5 - color if rng.random() < 0.13 else (color - 128) * 1.18 + 128
            tint = tuple((color + rng.normal(0, 20, 3)).clip(0, 255).astype(int))
            r = radius * rng.uniform(0.7, 1.15)
            draw.ellipse((px - r, py - r * 0.85, px + r, py + r * 0.85), tint)
    return finish(canvas, size)


SAMPLES = {"lake": draw_lake, "swirls": draw_swirls, "waves": draw_waves, "dots": draw_dots}


TRAINING = {"photos": (12, ("lake",)), "paintings": (8, ("swirls", "waves", "dots"))}
TRAINING_SIDE = 288


def draw_training(folder: Path) -> None:
    """Draw the twenty pictures of the training example: scenes of other seeds and tints, and artworks."""
    for kind, (count, names) in TRAINING.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            name, rng = names[number % len(names)], np.random.default_rng(1000 + number)
            image = SAMPLES[name](rng)
            scale = TRAINING_SIDE / min(image.size)
            image = image.resize([round(scale * side) for side in image.size], Image.Resampling.LANCZOS)
            pixels = np.asarray(image, float) / 255
            pixels = pixels ** rng.uniform(0.7, 1.5) * (1 + rng.uniform(-0.2, 0.2, 3))
            if number % 3 == 1:
                pixels = np.roll(pixels, 1 + number % 2, axis=2)
            path = folder / kind / f"{name}-{number:02}.jpg"
            Image.fromarray(np.uint8(255 * pixels.clip(0, 1))).save(path, quality=85, optimize=True)
            print(path, f"{path.stat().st_size / 1000:.0f} kB")


def main(folder: Path, training: Path) -> None:
    """Draw every sample into a folder, and the pictures of the training example into another."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, draw) in enumerate(SAMPLES.items()):
        path = folder / f"{name}.jpg"
        draw(np.random.default_rng(seed)).save(path, quality=90, optimize=True)
        print(path, f"{path.stat().st_size / 1000:.0f} kB")
    draw_training(training)


if __name__ == "__main__":
    main(*(map(Path, sys.argv[1:]) if len(sys.argv) == 3 else FOLDERS))
