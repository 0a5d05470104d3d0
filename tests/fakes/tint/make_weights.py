"""Write the model of the package into its weights folder, which is done once, before it is released."""

from pathlib import Path
from tempfile import TemporaryDirectory

from styleplugin.loading.build import save_model
from styleplugin.loading.index import add_to_index
from tint.model import TintModel

with TemporaryDirectory() as folder:
    save_model(Path(folder) / "linear.safetensors", TintModel(2.2), license="CC0-1.0")
    add_to_index(
        Path(folder) / "linear.safetensors",
        "tint.linear",
        description="colors in linear light",
        folder=Path(__file__).parent / "weights",
    )
