"""AdaIN: adaptive instance normalization."""

from styleplugin.methods.spec import MethodSpec

SPEC = MethodSpec(
    name="adain",
    title="Adaptive instance normalization",
    papers=(
        "Huang and Belongie, *Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization*, ICCV 2017",
        "Wang et al., *Collaborative Distillation for Ultra-Resolution Universal Style Transfer*, CVPR 2020",
    ),
    method="styleplugin.methods.adain.method:AdaIN",
    default_model="cd-adain.x16",
    architectures={"vgg-pairs": "styleplugin.methods.adain.model:build"},
    recipe_kinds={"pair": "styleplugin.train.pairs.run:PairRun"},
)
