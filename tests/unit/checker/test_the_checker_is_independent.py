"""The checker shares no code with what it checks."""

import ast
from pathlib import Path

CHECKER = Path(__file__).parents[2] / "checker"
OURS = {"service", "projections"}


def test_it_imports_nothing_of_the_system() -> None:
    for module in CHECKER.rglob("*.py"):
        imported = {name.partition(".")[0] for name in imports(ast.parse(module.read_text()))}
        assert not imported & OURS, module.name


def test_it_stands_on_no_other_code_of_the_tests() -> None:
    for module in CHECKER.rglob("*.py"):
        for name in imports(ast.parse(module.read_text())):
            assert not name.startswith("tests.") or name.startswith("tests.checker"), module.name


def imports(tree: ast.Module) -> set[str]:
    """Every module that is imported, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    return names
