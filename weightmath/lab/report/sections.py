"""What one file of results has to show: facts, charts, tables, recipes. Each section of the page is one of these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightmath.algebra.graph import is_number
from weightmath.errors import TableError
from weightmath.lab.landscape.barrier import barriers
from weightmath.lab.report import comparison, curves, fields, sheet
from weightmath.lab.report.chart import Chart, slug, value_text
from weightmath.lab.report.point_recipe import Line, lines_of
from weightmath.lab.report.sheet import Sheet
from weightmath.lab.table import Row, Table, content_of, read
from weightmath.paths import expanded
from weightmath.recipe.vary import Setting

_KINDS = {
    "sweep": "Sweep",
    "search": "Search",
    "soup": "Soup",
    "line": "Line between two models",
    "plane": "Plane through three models",
    "around": "Around a model",
    "noise": "A model under noise",
}
_COMPARED = ("models", "paths", "cosine", "distance", "opposed", "map", "layers", "by_tensor", "drift", "spectrum")
_TEXTS = ("models", "paths", "base", "of", "reference", "left_out", "name")
_METRICS_SLICED = 3


@dataclass(frozen=True)
class Section:
    """A part of the page.

    title    the name of the file, without its ending
    kind     what it is, in words
    facts    the numbers that count, each with its name
    charts   pictures
    sheets   tables
    recipe   the lines of the recipe, or ()
    points   the parameters of each point by its number, which the recipe's lines take
    """

    title: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]
    sheets: tuple[Sheet, ...]
    recipe: tuple[Line, ...] = ()
    points: Mapping[int, Mapping[str, Setting]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The title as part of a file's name."""
        return slug(self.title)


def section_of(path: str | Path) -> Section:
    """The section of a results table (STEM, STEM.jsonl or STEM.csv), or of what `compare --json` printed (.json).

    Fails with TableError for a file that is neither, or is damaged.
    """
    file = expanded(path)
    if file.suffix == ".json":
        report = _comparison(file)
        try:
            return of_comparison(report, file.stem)
        except (KeyError, IndexError, TypeError, ValueError):
            # It was written by us, and edited: what is missing shows where it is used.
            hint = "compare the checkpoints again"
            raise TableError("the comparison is damaged", where=str(file), hint=hint) from None
    return of_table(read(file), file.with_suffix("").name if file.suffix in (".jsonl", ".csv") else file.name)


# --- results tables


def of_table(table: Table, title: str) -> Section:
    """The section of a results table. TableError where no point has been measured."""
    if not table.rows:
        raise TableError("holds no point yet", where=title)
    recipe = lines_of(table.head.recipe, table.head.params) if table.head.recipe else ()
    return Section(
        title=title,
        kind=_KINDS.get(table.head.what, table.head.what),
        facts=_facts(table),
        charts=tuple(charts_of(table)),
        sheets=(sheet.of_table(table),),
        recipe=recipe,
        points={row.index: row.params for row in table.rows},
    )


def charts_of(table: Table) -> list[Chart]:
    """The charts that fit a results table: by what it is of, and by how many of its parameters vary."""
    if table.head.what == "noise":
        return curves.noise(table)
    if table.head.what == "soup":
        return [curves.soup(table)]
    numeric, words = _varying(table)
    tried = [curves.progress(table, metric) for metric in _main(table)] if table.head.what == "search" else []
    front = [fields.trade_off(table, *list(table.head.goal)[:2])] if len(table.head.goal) > 1 else []
    return [*tried, *front, *_over_params(table, numeric, words)]


def _over_params(table: Table, numeric: list[str], words: list[str]) -> list[Chart]:
    if len(numeric) == 1 and table.head.what != "search":
        if not words:
            return curves.curves(table, numeric[0])
        if len(words) == 1:
            return curves.split_curves(table, numeric[0], words[0])
    if len(numeric) == 2 and not words:
        x, y = numeric
        grid = fields.grid_of(table, x, y)
        if grid is not None:
            rest = [metric for metric in table.head.metrics if metric not in table.head.goal]
            return [fields.plane(table, x, y, grid, metric) for metric in (*table.head.goal, *rest)]
    return [fields.by_param(table, param, metric) for metric in _main(table) for param in (*numeric, *words)]


def _varying(table: Table) -> tuple[list[str], list[str]]:
    """The parameters that take more than one value: those whose values are all numbers, and the others."""
    columns = {name: table.column(name) for name in table.head.params}
    varying = [name for name, values in columns.items() if len({str(value) for value in values}) > 1]
    numeric = [name for name in varying if all(is_number(value) for value in columns[name])]
    return numeric, [name for name in varying if name not in numeric]


def _main(table: Table) -> list[str]:
    """The metrics that something is to be made of: those with a goal, or else the first few."""
    return list(table.head.goal or table.head.metrics[:_METRICS_SLICED])


def _facts(table: Table) -> tuple[tuple[str, str], ...]:
    facts = [("points", f"{len(table.rows):,}")]
    for metric, goal in table.head.goal.items():
        best = table.best(metric)
        if best is not None and table.head.what != "noise":
            facts.append((f"best {metric} ({goal})", f"{best.metrics[metric]:.4g}{_at(best)}"))
    if table.head.what == "line":
        facts += [(f"barrier of {one.metric}", f"{one.height:.4g} at t = {one.at:.4g}") for one in barriers(table)]
    spread = table.head.about.get("spread")
    if spread:
        facts.append(("variance shown", f"{sum(spread):.0%}"))
    return tuple(facts)


def _at(row: Row) -> str:
    if len(row.params) > 3:
        return f" at point {row.index}"
    if "ingredients" in row.about:
        return f", of {' + '.join(map(str, row.about['ingredients']))}"
    shown = ", ".join(f"{name} = {value_text(value)}" for name, value in row.params.items())
    return f" at {shown}" if shown else ""


# --- comparisons


def of_comparison(report: Mapping[str, Any], title: str) -> Section:
    """The section of a comparison, given as what `compare --json` prints."""
    facts = [
        ("models", f"{len(report['models'])}"),
        ("tensors compared", f"{report['tensors']:,}"),
        ("elements", f"{report['elements']:,}"),
    ]
    if len(report["models"]) > 1:
        facts += [("cosine", _range(report["cosine"])), ("distance", _range(report["distance"]))]
    of = "models" if report["of"] == "models" else f"changes from {report['base']}"
    sheets = (
        sheet.of_models(report),
        sheet.of_parts("Layers", report["models"], report["layers"]),
        sheet.of_parts("Tensors", report["models"], report["by_tensor"]),
    )
    return Section(title, f"Comparison of {of}", tuple(facts), tuple(comparison.charts_of(report)), sheets)


def _range(matrix: list[list[float]]) -> str:
    pairs = [value for i, row in enumerate(matrix) for value in row[:i] if value is not None]
    return f"{min(pairs):.4g} to {max(pairs):.4g}" if pairs else "unknown"


def _comparison(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(content_of(file).decode())
    except ValueError:
        found = None
    if not isinstance(found, dict) or not set(_COMPARED) <= set(found):
        hint = "weightmath compare CKPT... --json > comparison.json"
        raise TableError("is not what `weightmath compare --json` prints", where=str(file), hint=hint)
    return {key: value if key in _TEXTS else _numbers(value) for key, value in found.items()}


def _numbers(value: Any) -> Any:
    """Numbers as JSON has them; "nan" and "inf", which it says as texts, are nothing that could be drawn."""
    if isinstance(value, dict):
        return {key: item if key in _TEXTS else _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return None if isinstance(value, str) else value
