"""What the architecture promises: imports point down, in no circle; torch, numpy and rich stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "weightmath"

# From the bottom up; a module imports from earlier lines only. A package is one name: imports within it are its own.
LAYERS = [
    line.split()
    for line in """
    arguments
    errors
    file_sums paths paused several plain algebra.show algebra.formulas engine.crew engine.meter versions
    dtypes files.naming installed sizes text_files gallery engine.helpers regular
    layout
    scope algebra.names files.mismatch files.buffers checkpoint engine.ends
    algebra.layers fingerprint files.subject
    algebra.blocks
    algebra.graph
    algebra.kinds kernels
    algebra.signature expression delta
    engine.presence functions recipe flat
    methods engine.plan schema files.stored_number
    engine.tables engine.fusing engine.linear engine.outcome questions files.choice files.inputs
    engine.frame engine.traces engine.watch files.outputs files.integers engine.journal files.leftovers
    engine.selecting engine.rounding encoding
    engine.steps engine.stream
    engine.program engine.search effects engine.done
    engine.work
    engine.grouping
    engine.order
    engine.cost engine.execute files.opening files.identity
    files.attempt engine.memory caveats provenance pins verdicts tied
    job
    running difference
    rehearsal verify lock speed
    mergekit api
    lab.table lab.numbers lab.geometry
    lab.appender lab.programs lab.memory lab.foreign
    lab.recalibrate
    lab.metric lab.comparison lab.spectrum
    lab.points lab.scratch lab.vary
    lab.study lab.scores
    lab.sweep lab.soup lab.compare align
    lab.search
    lab.landscape
    lab.report
    reports
    commands
    cli
    __main__
    """.strip().splitlines()
]
# Packages whose modules lie in layers of their own; the package itself is a docstring.
MANY_LAYERS = ("algebra", "engine", "files", "lab")
PLACE = {name: place for place, line in enumerate(LAYERS) for name in line}

# What alone may import each library, besides the standard one.
HOMES = {
    "torch": {"lab.memory"},
    "numkong": {"kernels.convert", "kernels.machine", "kernels.products", "versions"},
    "llvmlite": {"kernels.machine"},
    "xxhash": {"fingerprint"},
    "zstandard": {"delta"},
    "threadpoolctl": {"kernels.one_thread"},
    "scipy": {"align", "lab.landscape"},
    "yaml": {"recipe", "mergekit"},
    "pydantic": {"recipe", "schema", "provenance"},
    "rich": {"cli"},
    "typer": {"cli"},
    "plotly": {"lab.report"},
    "kaleido": {"lab.report"},
    "optuna": {"lab.search"},
}
# Checkpoint.open() looks the reader up when it is called, so that users need not know of two things.
DEFERRED = {("checkpoint.description", "checkpoint.reader")}
# Formulas, grammar and page are written without numbers in hand.
WITHOUT_NUMPY = ("functions", "methods", "expression", "recipe", "algebra.graph", "algebra.signature", "algebra.show")


def dotted(path: Path) -> str:
    """The name of a module within weightmath; that of a package for its __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    """All modules but weightmath/__init__.py, which looks its names up when they are used."""
    found = {dotted(path): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
    found.pop("")
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of what a module imports, anywhere in it but for type checkers."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for alias in child.names:
                inner = f"{child.module}.{alias.name}"
                yield inner if inner.removeprefix("weightmath.") in modules() else str(child.module)
        yield from imported(child)


@cache
def edges() -> dict[str, tuple[str, ...]]:
    """For each module the modules of weightmath that it imports."""
    return {
        name: tuple(there.removeprefix("weightmath.") for there in imported(tree) if there.startswith("weightmath."))
        for name, tree in modules().items()
    }


def package(name: str) -> str:
    """What has a place: a package as a whole, or a module of one of those that are several layers."""
    first, _, rest = name.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first in MANY_LAYERS and rest else first


def test_every_module_has_a_place():
    missing = sorted({package(name) for name in modules()} - set(PLACE) - set(MANY_LAYERS))
    assert not missing, f"give {missing} a place in LAYERS"
    assert not set(PLACE) - {package(name) for name in modules()}, "LAYERS names a module that is gone"


@pytest.mark.parametrize("name", modules())
def test_imports_point_down(name):
    for there in edges()[name]:
        if package(there) != package(name):
            assert PLACE[package(there)] < PLACE[package(name)], f"{name} imports {there}"


def test_the_law_can_be_broken():
    assert PLACE["engine.plan"] > PLACE["algebra.kinds"]
    tree = ast.parse("def f():\n    from weightmath.engine.plan import Plan\n    import torch")
    assert list(imported(tree)) == ["weightmath.engine.plan", "torch"]


def test_no_import_goes_in_a_circle():
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for there in edges()[name]:
                if (name, there) not in DEFERRED:
                    visit(there, (*way, name))
            done.add(name)

    for name in modules():
        visit(name, ())


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_its_homes(library):
    users = {name for name, tree in modules().items() if library in {there.split(".")[0] for there in imported(tree)}}
    assert users, f"nobody imports {library}"
    strays = {name for name in users if name not in HOMES[library] and package(name) not in HOMES[library]}
    assert not strays


@pytest.mark.parametrize("part", WITHOUT_NUMPY)
def test_no_numbers_in_hand(part):
    for name, tree in modules().items():
        if package(name) == part:
            assert "numpy" not in {there.split(".")[0] for there in imported(tree)}, name


def loads_torch(statement: str) -> bool:
    """Whether a statement in a fresh interpreter imports torch."""
    code = f"import sys\n{statement}\nsys.exit('torch' in sys.modules)"
    return bool(subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT.parent).returncode)


@pytest.mark.parametrize(
    "statement",
    [
        "import weightmath",
        "import weightmath.engine.plan, weightmath.recipe, weightmath.checkpoint",
        "import weightmath.engine.execute, weightmath.functions, weightmath.methods",
        "import weightmath.cli",
        "from weightmath import open, save",
    ],
)
def test_torch_is_not_imported(statement):
    assert not loads_torch(statement)


def test_torch_can_be_found_out():
    assert loads_torch("import torch")
