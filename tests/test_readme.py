"""The README here and on the package index: its links lead somewhere."""

import importlib.util
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://example.org/owner/styleplugin"


@pytest.fixture(scope="module")
def hook() -> types.ModuleType:
    pytest.importorskip("hatchling", reason="needs the package hatchling")
    spec = importlib.util.spec_from_file_location("readme_hook", ROOT / "scripts" / "readme_hook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def targets(markdown: str) -> Iterator[str]:
    """Yield where the links and pictures of a text lead."""
    parser = pytest.importorskip("markdown_it", reason="needs the package markdown-it-py").MarkdownIt("commonmark")
    for block in parser.parse(markdown):
        for token in block.children or ():
            yield from (str(token.attrs[name]) for name in ("href", "src") if name in token.attrs)


def test_every_relative_link_of_the_readme_and_the_docs_leads_to_a_file():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in targets(page.read_text("utf-8")):
            assert ":" in target or (page.parent / target.partition("#")[0]).exists(), (page.name, target)


def test_links_are_absolute_where_the_address_of_the_repository_is_known(hook: types.ModuleType):
    metadata = {"urls": {"Repository": f"{REPOSITORY}.git"}}
    hook.ReadmeHook(str(ROOT), {}).update(metadata)
    assert metadata["readme"]["content-type"] == "text/markdown"
    before, after = targets((ROOT / "README.md").read_text("utf-8")), targets(metadata["readme"]["text"])
    pairs = list(zip(before, after, strict=True))
    assert f"{REPOSITORY}/blob/HEAD/docs/app.md" in dict(pairs).values()
    for old, new in pairs:
        assert (
            new == old
            if ":" in old or old.startswith("#")
            else new.startswith(f"{REPOSITORY}/") and new.endswith(f"/HEAD/{old}")
        )


def test_the_readme_stays_as_it_is_where_no_address_is_known(hook: types.ModuleType):
    metadata: dict = {"urls": {}}
    hook.ReadmeHook(str(ROOT), {}).update(metadata)
    assert metadata["readme"]["text"] == (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md#b)", f"[a]({REPOSITORY}/blob/HEAD/docs/a.md#b)"),
        ("![a](docs/a.jpg)", f"![a]({REPOSITORY}/raw/HEAD/docs/a.jpg)"),
        ("[a](#b) [c](https://d.org/e) [f](mailto:g@h.org)", None),
        ("`names[0](x)`", None),
        ("```python\nnames[0](x)\n```", None),
    ],
)
def test_only_relative_links_outside_of_code_are_changed(hook: types.ModuleType, text: str, expected: str | None):
    assert hook.absolute(text, REPOSITORY + "/") == (expected or text)
