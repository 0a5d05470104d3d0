import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import styleplugin

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "styleplugin").rglob("*.py"))


def test_the_version_is_that_of_the_project_file():
    assert f'version = "{styleplugin.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_public_names_are_there():
    assert len(set(styleplugin.__all__)) == len(styleplugin.__all__)
    for name in styleplugin.__all__:
        assert getattr(styleplugin, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = styleplugin.nonsense


def test_T20_importing_the_stylizer_loads_no_optional_package_and_changes_no_setting():
    code = """
import sys, torch, warnings
threads, grad, filters = torch.get_num_threads(), torch.is_grad_enabled(), list(warnings.filters)
import styleplugin
styleplugin.stylize
loaded = {"huggingface_hub", "tyro", "gradio", "accelerate", "matplotlib", "torchvision"} & set(sys.modules)
assert not loaded, loaded
assert not any(name.startswith("styleplugin.train") for name in sys.modules)
assert (threads, grad) == (torch.get_num_threads(), torch.is_grad_enabled())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_promise_1_no_code_from_files_and_no_other_programs(source):
    text = source.read_text()
    found = re.findall(r"(?<!\.)\b(?:eval|exec)\(|\bpickle\b|\bsubprocess\b|os\.system|weights_only=False", text)
    speak_of_it = ("tensorfile.py", "source.py", "pickles.py")
    found = [name for name in found if not (name == "pickle" and source.name in speak_of_it)]
    assert not found
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) == "torch.load":
            assert "convert" in source.parts
            assert {k.arg: ast.unparse(k.value) for k in call.keywords}["weights_only"] == "True"


def test_the_core_names_fields_and_leaves_the_dashes_to_the_command_line():
    others = ("--force-reinstall", "--encoder SOURCE", "--model SOURCE")
    for source in (path for path in SOURCES if path.parent.name != "cli" and path.stem != "__main__"):
        for call in (node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)):
            if not ast.unparse(call.func).endswith(("Error", "Cancelled", "warn")):
                continue
            for text in (node.value for node in ast.walk(call) if isinstance(node, ast.Constant)):
                spelled = isinstance(text, str) and re.search(r"(?<![\w-])--[a-z]", text)
                assert not spelled or any(other in text for other in others), (source.name, text)


def packed_name(path: Path) -> str:
    """Return where the wheel has a file of the tree."""
    name = path.relative_to(ROOT).as_posix()
    return f"styleplugin/{name}" if name.startswith("weights/") else name


@pytest.mark.slow
def test_G13_W18_the_wheel_holds_package_page_and_weights_byte_for_byte_and_nothing_else(wheel):
    left_out = {"gradio_app/README.md", "gradio_app/requirements.txt"}
    folders = (ROOT / name for name in ("styleplugin", "gradio_app", "weights"))
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    tree = {packed_name(path): path for path in paths if "__pycache__" not in path.parts}
    assert {"styleplugin/weights/sources.csv", "styleplugin/samples/lake.jpg", "gradio_app/__main__.py"} <= set(tree)
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        description = f"styleplugin-{styleplugin.__version__}.dist-info"
        about = {name for name in names if name.startswith(f"{description}/")}
        assert {f"{description}/METADATA", f"{description}/licenses/LICENSE"} <= about
        assert names - about == set(tree) - left_out
        for name in names - about:
            assert packed.read(name) == tree[name].read_bytes(), name
        readme = packed.read(f"{description}/METADATA").decode().replace("\r", "").partition("\n\n")[2]
        assert readme.strip() == (ROOT / "README.md").read_text("utf-8").strip()


def test_no_public_name_is_that_of_a_module():
    """Importing a module puts it over a function of its name."""
    folder = Path(styleplugin.__file__).parent
    modules = {path.stem for path in folder.iterdir()}
    assert not (set(styleplugin.__all__) - {"errors", "options"}) & modules
