"""Rules for the sources that no linter knows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FACTORIES = {
    *("arange", "as_tensor", "asarray", "bartlett_window", "blackman_window", "empty", "empty_permuted"),
    *("empty_strided", "eye", "full", "hamming_window", "hann_window", "kaiser_window", "linspace", "logspace"),
    *("normal", "ones", "rand", "randint", "randn", "randperm", "range", "scalar_tensor", "sparse_coo_tensor"),
    *("sparse_csr_tensor", "tensor", "tril_indices", "triu_indices", "zeros"),
    *("BFloat16Tensor", "DoubleTensor", "FloatTensor", "LongTensor", "Tensor"),
}
"""Functions of torch whose result depends on its default dtype or device where the call names none."""
LAYERS = {
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Bilinear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d"),
    *("ConvTranspose2d", "ConvTranspose3d", "Embedding", "GroupNorm", "LayerNorm", "Linear", "MultiheadAttention"),
    *("PReLU", "RMSNorm"),
}
"""Layers whose weights do."""


def _name(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, (ast.Attribute, ast.Name)) else ""


def _makers(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that make a tensor or a layer, the constructors of our own layers among them."""
    made = {f"torch.{name}" for name in FACTORIES} | {f"nn.{name}" for name in LAYERS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in made:
            yield node
        elif isinstance(node, ast.ClassDef) and {_name(base) for base in node.bases} & made:
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
                    yield call


def unnamed(source: str) -> list[int]:
    """Return the lines that make a tensor without its dtype or its device."""
    calls = _makers(ast.parse(source))
    return [call.lineno for call in calls if not {"dtype", "device"} <= {word.arg for word in call.keywords}]


RANDOM = {
    *("bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like"),
    *("randperm", "poisson"),
}
"""Functions of torch that draw from the process's generator where the call names none."""
IN_PLACE = {"bernoulli_", "exponential_", "geometric_", "kaiming_uniform_", "normal_", "random_", "uniform_"}
"""Methods, and initializations, that do."""
SHARED = {
    *("fork_rng", "set_rng_state", "manual_seed_all"),
    *("catch_warnings", "filterwarnings", "resetwarnings", "simplefilter"),
}
"""What changes the random state or the warnings' filters of the whole process, even where it puts them back: another
thread may look in between, or do the same."""
PROGRAMS = {
    "styleplugin/cli/main.py": {"catch_warnings", "simplefilter"},
    "gradio_app/app.py": {"simplefilter"},
    "styleplugin/images/formats/pillow_warnings.py": {"filterwarnings"},
}
"""The command line and the page's own start, and the one filter for Pillow, which is taken away as it came."""


def shared(source: str, allowed: set[str]) -> list[int]:
    """Return the lines that change what belongs to the whole process, random numbers and warnings."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        owner, _, name = ast.unparse(node.func).rpartition(".")
        draws = (owner == "torch" and name in RANDOM) or name in IN_PLACE
        seeds = name in ("manual_seed", "seed") and owner in ("torch", "torch.random", "np.random", "random")
        names_generator = any(word.arg == "generator" for word in node.keywords)
        makes_layer = owner == "nn" and name in LAYERS
        if (name in SHARED - allowed) or seeds or makes_layer or (draws and not names_generator):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("package", ["styleplugin", "comfy_nodes", "gradio_app"])
def test_random_numbers_and_warnings_of_the_process_are_left_alone(package: str):
    found = []
    for path in (ROOT / package).rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}:{line}" for line in shared(path.read_text("utf-8"), PROGRAMS.get(name, set()))]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "torch.rand(3)",
        "x.normal_(0, 1)",
        "nn.init.kaiming_uniform_(weight)",
        "torch.manual_seed(0)",
        "torch.random.fork_rng(devices=[])",
        "nn.Conv2d(1, 1, 1, dtype=d, device=e)",
        "with warnings.catch_warnings():\n    pass",
        "warnings.simplefilter('ignore')",
    ],
)
def test_calls_that_do_not_leave_them_alone_are_found(source: str):
    assert shared(source, set())


@pytest.mark.parametrize(
    "source", ["torch.rand(3, generator=g)", "torch.Generator().manual_seed(0)", "warnings.warn(x)"]
)
def test_calls_that_leave_them_alone_are_not(source: str):
    assert not shared(source, set())


@pytest.mark.parametrize("package", ["styleplugin", "comfy_nodes", "gradio_app"])
def test_whatever_makes_a_tensor_names_its_dtype_and_device(package: str):
    """Default dtype and device belong to the whole process: a program that loads a model elsewhere changes them."""
    files = {path: unnamed(path.read_text("utf-8")) for path in (ROOT / package).rglob("*.py")}
    assert len(files) > 5
    assert not [f"{path.relative_to(ROOT)}:{line}" for path, lines in files.items() for line in lines]


@pytest.mark.parametrize(
    "source",
    [
        "torch.zeros(3)",
        "torch.zeros(3, dtype=torch.float32)",
        "torch.tensor([1], device='cpu')",
        "nn.Conv2d(1, 1, 1)",
        "class A(nn.Linear):\n    def __init__(self):\n        super().__init__(1, 1)",
    ],
)
def test_calls_that_do_not_are_found(source: str):
    assert unnamed(source)


@pytest.mark.parametrize(
    "source", ["torch.zeros(3, dtype=d, device=e)", "torch.zeros_like(x)", "x.new_zeros(3)", "torch.cat([x])"]
)
def test_calls_that_do_are_not(source: str):
    assert not unnamed(source)
