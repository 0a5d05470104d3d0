"""Draw the thumbnails of the example workflows, with the models and sample pictures that the workflows use.

python scripts/make_thumbnails.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import styleplugin
from styleplugin import train

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "styleplugin" / "samples"
FOLDER = ROOT / "example_workflows"
SIDE = 512


def main() -> None:
    content = styleplugin.to_picture(SAMPLES / "lake.jpg")
    wct, adain, photo = (styleplugin.load(name) for name in ("cd-wct.x16", "cd-adain.x16", "pca-photo.vgg"))
    save("Artistic style transfer", [wct(content, SAMPLES / "swirls.jpg").tensor])
    save("Photo look to a cube file", [photo(content, SAMPLES / "swirls.jpg", strength=0.8, smooth=8).tensor])
    fade = (torch.linspace(0, 1.5, content.width).clamp(0, 1)).expand(content.height, -1)
    mix = [(SAMPLES / "swirls.jpg", 0.6), (SAMPLES / "dots.jpg", 0.4)]
    save("Two styles and a mask", [wct(content, mix, mask=fade).tensor])
    views = [content.rgb[..., x : x + content.width // 2] for x in range(0, content.width // 2, 160)]
    clip = adain.frames(views, SAMPLES / "swirls.jpg", statistics="whole batch")
    save("Steady video", [result.tensor for result in clip])
    optimized = styleplugin.stylize(content, SAMPLES / "swirls.jpg", method="optimization", steps=60)
    save("Optimized painting", [optimized.tensor])
    save("Distill your own", [student(content)])
    assert {path.stem for path in FOLDER.glob("*.json")} == {path.stem for path in FOLDER.glob("*.jpg")}


def student(content: styleplugin.Picture) -> Tensor:
    """Train the student of the example, and let it paint."""
    pictures = {kind: str(ROOT / "docs" / "images" / "training" / kind) for kind in ("photos", "paintings")}
    recipe = train.new_recipe(
        "adain", teacher="cd-wct.x16", minutes=2, width=0.125, levels=(3,), crop=96, name="tiny-adain", **pictures
    )
    file = train.run(recipe, ROOT / "runs" / "thumbnail", resume=True, device="cpu")
    return styleplugin.load(f"file:{file}", allow_unknown_model=True)(content, SAMPLES / "swirls.jpg").tensor


def save(name: str, pictures: list[Tensor]) -> None:
    """Write pictures side by side."""
    row = torch.cat(pictures, 3)[0].movedim(0, -1).mul(255).round().byte().numpy()
    image = Image.fromarray(row)
    image.thumbnail((SIDE, SIDE))
    image.save(FOLDER / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main()
