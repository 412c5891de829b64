"""The JSON Schema of a recipe, so that editors complete its keys, show what they mean, and underline mistakes.

It is made from the models that validate recipes, and says what they say but for what no schema can: names that clash,
expressions outside the grammar, keys that exclude each other. `recipe/schema.json` is its text, shipped with the
package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weightmath import dtypes
from weightmath.expression import RESERVED
from weightmath.recipe.spec import RecipeSpec

Schema = dict[str, Any]

KEYS: Mapping[str, Mapping[str, str]] = {
    "RecipeSpec": {
        "inputs": "The checkpoints that are read: name: path, or name: {path: ..., strip: ...}.",
        "params": "Numbers, texts, lists and tables of patterns that expressions use, and that --set changes.",
        "let": "Named values in order: name: expression over inputs, params and the entries above.",
        "show": 'Expressions whose values the summary prints: cosine(a, b, scope="layer").',
        "expect": "Comparisons that must hold, else no output appears: cosine(merged, base) > 0.9.",
        "save": "The outputs: path: expression, or path: {value: ..., dtype: ...}. Without it, numbers are shown.",
        "only": "Patterns of the tensors that are computed; the template keeps the others.",
        "except": "Patterns of tensors that stay the template's.",
        "missing": "What to do about tensors that an input lacks: error, or read the template's.",
        "extra": "What to do about tensors that only an input has: error, or ignore them.",
        "integers": "Policy for tensors outside the vector, for all or by pattern: template, error, max, sum.",
        "buffers": "Whether float buffers follow the formula: merge, template; without it for averages alone.",
        "fit": 'Patterns of tensors of which the leading rows that all inputs have are merged: {"*embed*": rows}.',
        "compute": "What is computed in; float32, or float64 where an input is.",
        "nonfinite": "What to do about NaN and infinities in an output: error, or allow them.",
        "dtype": "What the computed tensors of all outputs are stored in; without it each keeps its own.",
        "provenance": "full: outputs carry how they were made (recipe, fingerprints, ancestors); none: they do not.",
        "vary": "Values that parameters take in turn, for `sweep` and `search`: alpha: linspace(0, 1, 11).",
        "metric": "How good each point of `vary` is: python eval.py {checkpoint}, or {run: ..., of: ..., goal: min}.",
    },
    "InputSpec": {
        "path": "The checkpoint, relative to the recipe.",
        "glob": "In place of path: the pattern of a list of checkpoints, runs/epoch=*.ckpt.",
        "sort": "The order of a list: number (in the file names), name, or entry:KEY (a number that each stores).",
        "first": "Take the first so many of a list.",
        "last": "Take the last so many of a list.",
        "best": "Take those so many of a list that sort: entry:KEY puts on top.",
        "except": "Patterns of file names that a list leaves out.",
        "section": (
            "The mapping in the checkpoint whose tensors form the vector; or a prefix of names with its dot: model_ema."
        ),
        "names": "litema restores names that an EMA copy stores without their dots.",
        "rename": 'Beginnings of names, or re: patterns, and what replaces them: {"": "first_stage_model."}.',
        "strip": 'Beginnings of names: each name loses the first of these that it has: ["module.", "_orig_mod."].',
        "kind": "What the vector is: a model, a delta, a mask, or other numbers such as a Fisher diagonal.",
        "missing": "What to do about tensors that this input lacks: error, or read the template's.",
        "extra": "What to do about tensors that only this input has: error, or ignore them.",
        "part": "Whether the input is meant to have some of the tensors only: a VAE, an adapter.",
        "fingerprint": "The fingerprint that its vector must have, else the run fails; of a list one for each file.",
        "sha256": "The sum that its file must have, else the run fails before any work; of a list one for each file.",
    },
    "SaveSpec": {
        "value": "The expression that is saved.",
        "shard": "The most that a file of a folder may hold: 5GB; the output is then written merged/.",
        "template": "The input from which the output copies everything else; without it the first whole model.",
        "dtype": "What the computed tensors are stored in; without it each keeps the template's.",
        "device": "The device tags of the computed tensors: cpu, or keep the template's.",
        "drop": "Patterns of entries of the template that are left out.",
        "keep": "all: everything else of the template; weights: its section alone.",
        "as": "Of an output x.delta: how its numbers are stored: sparse, or {kind: low-rank, rank: 8}.",
    },
    "AsSpec": {
        "kind": "dense, sparse, int8, sign, low-rank; auto: of each tensor the smallest within max_error.",
        "density": "Of sparse: the share of each tensor that is kept; without it all that is not 0.",
        "threshold": "Of sparse: keep what is at least this large.",
        "rank": "Of low-rank: columns at most.",
        "energy": "Of low-rank: the share of a matrix's sum of squares that is kept.",
        "dtype": "Of stored numbers: float32, float16 or bfloat16.",
        "max_error": "The relative error that no tensor exceeds; tensors that would are stored dense.",
    },
    "VarySpec": {
        "grid": "Lists by parameter, or linspace(0, 1, 11), logspace(-3, 0, 4): every combination is a point.",
        "zip": "Lists of one length by parameter: the first of each is a point, the second of each, ...",
        "random": "Lists or ranges by parameter: uniform(0, 1), loguniform(1e-3, 1), integers(1, 8).",
        "samples": "How many points are drawn of what varies at random.",
        "seed": "Which points are drawn; 0 without it.",
    },
    "MetricSpec": {
        "run": "A command whose last line is a number or JSON, {checkpoint} the path; or module:function.",
        "worker": "A command that is started once, reads a path a line and answers JSON a line.",
        "of": "Which of its numbers count, the first above all.",
        "goal": "Whether more of it is better or less: max, min; or by the names of numbers.",
    },
}

_TEXT: Schema = {"type": "string"}
_EXPRESSION: Schema = {"type": ["string", "number", "boolean"]}
_NAME: Schema = {"pattern": "^[A-Za-z_][A-Za-z_0-9]*$", "not": {"enum": sorted(RESERVED)}}
_TABLE: Schema = {"type": "object", "minProperties": 1, "additionalProperties": {"type": ["number", "string"]}}
_PLAIN: Schema = {"type": ["number", "string", "boolean"]}
_VALUES: Schema = {"anyOf": [{"type": "array", "minItems": 1, "items": _PLAIN}, _TEXT]}
_LONG = ("grid", "zip", "random")


def schema() -> Schema:
    """The JSON Schema (2020-12) of a recipe as plain data."""
    made = RecipeSpec.model_json_schema(by_alias=True)
    parts = made.pop("$defs")
    for name, part in (("RecipeSpec", made), *parts.items()):
        part.pop("title")
        part["properties"] = {key: _property(name, key, value) for key, value in part["properties"].items()}
    _take_short_forms(made["properties"], parts)
    asked = [{"required": [key], "properties": {key: {"minItems": 1}}} for key in ("show", "expect")]
    made |= {"anyOf": [{"required": ["save"]}, *asked], "dependentRequired": {"vary": ["save"]}}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A recipe of weightmath"}
    return {**head, **made, "$defs": parts}


def text() -> str:
    """The schema as the text that is shipped."""
    return json.dumps(schema(), indent=2) + "\n"


def _property(part: str, key: str, value: Schema) -> Schema:
    """A key's schema: what it means, no empty value, and one text where a list of texts may stand."""
    choices = [one for one in value.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        value = {**{name: what for name, what in value.items() if name != "anyOf"}, **choices[0]}
    if value.get("items") == _TEXT:
        value = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
    if key == "dtype":
        value = {"anyOf": [{"enum": [*dtypes.WEIGHTS, *dtypes.ALIASES]}, {"type": "string", "pattern": r"^torch\."}]}
    hidden = ("title", "default") if value.get("default") in (None, []) else ("title",)
    return {"description": KEYS[part][key], **{name: what for name, what in value.items() if name not in hidden}}


def _take_short_forms(keys: Schema, parts: Schema) -> None:
    """What the models take besides: a path for an input, an expression for an output, one policy for all tensors."""
    one_or_more = {"anyOf": [_EXPRESSION, {"type": "array", "items": _EXPRESSION}]}
    keys["show"].update(one_or_more)
    keys["expect"].update(one_or_more)
    keys["inputs"].update(propertyNames=_NAME, additionalProperties=_either({**_TEXT, "minLength": 1}, "InputSpec"))
    keys["save"].update(additionalProperties=_either(_EXPRESSION, "SaveSpec"))
    keys["let"].update(propertyNames=_NAME, additionalProperties=_EXPRESSION)
    keys["params"].update(
        propertyNames=_NAME, additionalProperties={"anyOf": [_PLAIN, {"type": "array", "items": _PLAIN}, _TABLE]}
    )
    for key in ("integers", "buffers"):
        table = {name: keys[key].pop(name) for name in ("type", "additionalProperties")}
        keys[key]["anyOf"] = [table["additionalProperties"], table]
    parts["SaveSpec"]["properties"]["value"].update(_EXPRESSION)
    kinds = parts["AsSpec"]["properties"]["kind"]["enum"]
    parts["SaveSpec"]["properties"]["as"] = {
        "description": KEYS["SaveSpec"]["as"],
        **_either({"enum": kinds}, "AsSpec"),
    }
    varied = {"propertyNames": _NAME, "additionalProperties": _VALUES}
    for key in _LONG:
        parts["VarySpec"]["properties"][key].update(varied)
    grid = {**varied, "type": "object", "minProperties": 1, "not": {"anyOf": [{"required": [key]} for key in _LONG]}}
    keys["vary"] = {"description": KEYS["RecipeSpec"]["vary"], **_either(grid, "VarySpec")}
    keys["metric"] = {"description": KEYS["RecipeSpec"]["metric"], **_either({**_TEXT, "minLength": 1}, "MetricSpec")}
    parts["VarySpec"]["anyOf"] = [{"required": [key]} for key in _LONG]
    parts["VarySpec"]["properties"]["samples"]["minimum"] = 1
    parts["MetricSpec"]["oneOf"] = [{"required": ["run"]}, {"required": ["worker"]}]
    parts["InputSpec"]["oneOf"] = [{"required": ["path"]}, {"required": ["glob"]}]
    parts["InputSpec"]["properties"]["sort"]["pattern"] = "^(number|name|entry:.+)$"
    for key in ("first", "last", "best"):
        parts["InputSpec"]["properties"][key]["minimum"] = 1


def _either(short: Schema, part: str) -> Schema:
    return {"anyOf": [short, {"$ref": f"#/$defs/{part}"}]}
