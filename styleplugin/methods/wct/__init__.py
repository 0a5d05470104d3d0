"""WCT: whitening and coloring at several levels."""

from styleplugin.methods.spec import MethodSpec

SPEC = MethodSpec(
    name="wct",
    title="Multi-level whitening and coloring",
    papers=("Wang et al., *Collaborative Distillation for Ultra-Resolution Universal Style Transfer*, CVPR 2020",),
    method="styleplugin.methods.wct.method:WCT",
    default_model="cd-wct.x16",
    architectures={"vgg-pairs": "styleplugin.networks.pairs:build"},
    capabilities=frozenset({"levels"}),
    recipe_kinds={
        "bundle": "styleplugin.methods.wct.train.bundle:BundleRun",
        "cascade": "styleplugin.methods.wct.train.cascade:CascadeRun",
    },
)
