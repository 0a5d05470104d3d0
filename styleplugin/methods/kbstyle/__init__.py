"""KBStyle: AdaIN with modulators, in under 200,000 bytes."""

from styleplugin.methods.spec import MethodSpec

SPEC = MethodSpec(
    name="kbstyle",
    title="200 KB arbitrary style transfer",
    papers=(
        "Chen et al., *KBStyle: Fast Style Transfer Using a 200 KB Network With Symmetric Knowledge Distillation*, TIP "
        "2024 (the network is our own design within its published constraints)",
    ),
    method="styleplugin.methods.kbstyle.method:KBStyle",
    default_model="kbstyle.200k",
    architectures={"kbstyle": "styleplugin.methods.kbstyle.model:build"},
    recipe_kinds={"kbstyle": "styleplugin.methods.kbstyle.train:KBRun"},
)
