"""The private parts of aiohttp that the ingress uses are listed, and there; the release line is bounded."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from service import ingress

PRIVATE: Final = {
    "RequestHandler": {
        "_buffer_paused",
        "_close",
        "_drain_helper",
        "_force_close",
        "_keepalive_handle",
        "_loop",
        "_messages",
        "_parser",
        "_pause_reading_for_buffer",
        "_request_count",
        "_resume_reading_for_buffer",
        "_resume_reading_if_drained",
        "_task_handler",
        "_waiter",
    },
}
"""By the class of aiohttp that has them. Whoever raises the bound in pyproject.toml reads each again."""


def test_what_the_ingress_uses_of_aiohttps_private_parts_is_listed_and_there() -> None:
    used: dict[str, set[str]] = {}
    for derived in _derived_from_aiohttp():
        for name in _private_names_in(derived):
            for owner in _owners(derived, name):
                used.setdefault(owner, set()).add(name)

    assert used == PRIVATE


def test_the_ingress_touches_no_private_part_but_of_itself() -> None:
    touched = {
        f"{path.name}: {ast.unparse(node)}"
        for path in Path(inspect.getfile(ingress)).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and _is_private(node.attr)
        if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    }

    assert touched == set()


def test_a_release_line_of_aiohttp_that_nobody_has_tried_is_not_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    (bounds,) = [
        requirement.specifier
        for requirement in map(Requirement, project["project"]["dependencies"])
        if requirement.name == "aiohttp"
    ]
    major, minor, *_ = map(int, version("aiohttp").split("."))

    assert version("aiohttp") in bounds
    assert f"{major}.{minor + 1}.0" not in bounds
    assert f"{major + 1}.0.0" not in bounds


def _derived_from_aiohttp() -> Iterator[type]:
    for found in pkgutil.iter_modules(ingress.__path__):
        module = importlib.import_module(f"{ingress.__name__}.{found.name}")
        for each in vars(module).values():
            if inspect.isclass(each) and each.__module__ == module.__name__ and _owners(each):
                yield each


def _owners(derived: type, name: str = "") -> list[str]:
    """The classes of aiohttp that `derived` is made from, the nearest that has `name`, if it is given."""
    bases = [base for base in derived.__mro__[1:] if base.__module__.startswith("aiohttp")]
    return [base.__name__ for base in bases if not name or hasattr(base, name)][:1]


def _private_names_in(derived: type) -> set[str]:
    """Those of itself that its methods name, and those that it defines."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(derived)))
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    defined = {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    return {name for name in named | defined if _is_private(name)}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
