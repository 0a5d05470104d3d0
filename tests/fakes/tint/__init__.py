"""The colors of one picture given to another, in linear light: a method in a package of its own."""

from styleplugin.methods import MethodSpec

SPEC = MethodSpec(
    name="tint",
    title="Colors in linear light",
    papers=("Reinhard et al., *Color Transfer between Images*, IEEE Computer Graphics and Applications 2001",),
    method="tint.method:Tint",
    default_model="tint.linear",
    weights="tint:weights",
    architectures={"tint": "tint.model:build"},
    capabilities=frozenset({"looks"}),
)
