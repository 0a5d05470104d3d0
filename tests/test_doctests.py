"""Every public name has an example, and the examples are true."""

import doctest
import types

import pytest

import styleplugin

LACKING = {
    "Optimization",
    "Style",
    "Stylizer",
    "list_models",
    "load",
    "mix_styles",
    "pull",
    "read_card",
    "stylize",
}
"""Names that have no example yet."""


def examples_of(name: str) -> list[doctest.DocTest]:
    """The examples of a public name: of a class those of its methods as well, of a module its own."""
    public = getattr(styleplugin, name)
    if not isinstance(public, (type, types.FunctionType, types.ModuleType)):
        return []
    finder = doctest.DocTestFinder(recurse=not isinstance(public, types.ModuleType))
    return [test for test in finder.find(public, name) if test.examples]


EXAMPLES = {name: found for name in styleplugin.__all__ if (found := examples_of(name))}


def test_every_public_name_has_an_example():
    assert set(styleplugin.__all__) - set(EXAMPLES) == LACKING


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_give_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in EXAMPLES[name]:
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
