"""Photorealistic transfer: the light and the colors of one photograph given to another."""

from styleplugin.methods.spec import MethodSpec

SPEC = MethodSpec(
    name="photorealistic",
    title="Photorealistic transfer",
    papers=(
        "Chiu and Gurari, *PCA-Based Knowledge Distillation Towards Lightweight and Content-Style Balanced "
        "Photorealistic Style Transfer Models*, CVPR 2022",
    ),
    method="styleplugin.methods.photorealistic.method:Photorealistic",
    default_model="pca-photo.vgg",
    architectures={"pca-photo": "styleplugin.methods.photorealistic.model:build"},
    capabilities=frozenset({"looks"}),
    recipe_kinds={"photorealistic": "styleplugin.methods.photorealistic.train.run:PhotoRun"},
)
