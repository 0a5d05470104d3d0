"""Every public name has an example, and the examples are true."""

import doctest
import types

import pytest

import styleplugin
from styleplugin import methods
from styleplugin.methods import registry

pytestmark = pytest.mark.weights

MODULES = {
    styleplugin: styleplugin.__all__,
    methods: ["MethodSpec", "default_models", "find", "names", "register", "specs"],
}
NAMES = [(module, name) for module, names in MODULES.items() for name in names]


def examples_of(module: types.ModuleType, name: str) -> list[doctest.DocTest]:
    """The examples of a public name: of a class those of its methods as well, of a module its own."""
    public = getattr(module, name)
    finder = doctest.DocTestFinder(recurse=not isinstance(public, types.ModuleType))
    return [test for test in finder.find(public, name) if test.examples]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_public_name_has_examples_that_give_what_they_say(module, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_added", {})
    examples = examples_of(module, name)
    assert examples
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in examples:
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
