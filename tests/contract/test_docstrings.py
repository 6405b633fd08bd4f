"""Public functions that take arrays state shape and unit of each."""

import importlib
import inspect
import pkgutil
import re

import pytest

import driver
import dsp
import protocols
import scqc
import sim_backends

PACKAGES = (driver, dsp, protocols, scqc, sim_backends)


def modules():
    for package in PACKAGES:
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith((".__main__",)):
                yield found.name


def public_callables(module):
    for name, found in vars(module).items():
        # A compiled kernel is judged by the function it was made of.
        item = getattr(found, "py_func", found)
        if name.startswith("_") or getattr(item, "__module__", "") != module.__name__:
            continue
        if inspect.isclass(item):
            yield name, item, inspect.getdoc(item) or ""
            for key, method in vars(item).items():
                if inspect.isfunction(method) and not key.startswith("_"):
                    yield f"{name}.{key}", method, inspect.getdoc(method) or ""
        elif inspect.isfunction(item):
            yield name, item, inspect.getdoc(item) or ""


def is_array(annotation):
    text = annotation if isinstance(annotation, str) else str(annotation)
    return re.match(r"(numpy\.typing\.)?NDArray\[", text) is not None


def undocumented(module):
    for name, item, doc in public_callables(module):
        if not doc:
            yield f"{name}: no docstring"
        try:
            parameters = inspect.signature(item).parameters
        except (TypeError, ValueError):
            continue
        for key, parameter in parameters.items():
            if not is_array(parameter.annotation):
                continue
            # One line may speak for several: "x, p : ndarray, shape (n,) ...".
            pattern = rf"^\s*(?:\w+, )*{key}(?:, \w+)* : (.*)$"
            line = re.search(pattern, doc, re.MULTILINE)
            text = "" if line is None else line[1]
            if "shape" not in text:
                yield f"{name}({key}): no shape"
            elif "bool" not in text and not re.search(r"\[[^\]]+\]", text):
                yield f"{name}({key}): no unit"


@pytest.mark.parametrize("name", sorted(modules()))
def test_public_functions_state_shape_and_unit_of_their_arrays(name):
    module = importlib.import_module(name)
    assert inspect.getdoc(module), f"{name}: no docstring"
    assert list(undocumented(module)) == []


def test_the_rule_notices_what_is_missing():
    assert is_array("NDArray[np.float32]")
    assert not is_array("tuple[NDArray[np.float32], float]")
