"""Optimization: a picture is brought down a loss, the slow way."""

from styleplugin.methods.spec import MethodSpec

SPEC = MethodSpec(
    name="optimization",
    title="Optimization",
    papers=(
        "Gatys et al., *Image Style Transfer Using Convolutional Neural Networks*, CVPR 2016",
        "Wang et al., *Collaborative Distillation for Ultra-Resolution Universal Style Transfer*, CVPR 2020",
    ),
    run="styleplugin.methods.optimization.run:stylize",
    capabilities=frozenset({"iterative"}),
    recipe_kinds={
        "encoder": "styleplugin.methods.optimization.train.encoder:EncoderRun",
        "metrics": "styleplugin.methods.optimization.train.feature_metric:MetricRun",
    },
)
