"""Pictures and picture files for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def scene(height: int = 24, width: int = 32, channels: int = 3) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    planes = [rows * 7 + 20, columns * 5 + 30, rows * 3 + columns * 2, np.full_like(rows, 255)]
    return np.stack(planes[:channels], axis=-1).clip(0, 255).astype(np.uint8)


def save(path: Path, image: Image.Image | np.ndarray, kind: str | None = None, **settings) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, kind, **settings)
    return path
