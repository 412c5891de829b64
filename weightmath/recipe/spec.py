"""What a recipe may say: the keys, their types and their defaults, as models that validate it.

Nothing is coerced and nothing is ignored: unknown keys, wrong types and words outside a choice are errors. The same
models give the JSON Schema that editors complete from.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, model_validator

from weightmath.delta.options import Options
from weightmath.errors import RecipeError
from weightmath.recipe.keys import (
    ENTRY,
    Count,
    DTypeName,
    Expression,
    Fingerprint,
    Identifier,
    Keys,
    Parameter,
    PathText,
    Pattern,
    PatternList,
    Renaming,
    Sha256,
    Size,
    Sort,
    fault,
    lone_text,
    lone_value,
    one_or_more,
)
from weightmath.recipe.metric import MetricSpec
from weightmath.recipe.vary import VarySpec
from weightmath.recipe.vary import short_form as vary_of

Kind = Literal["model", "delta", "mask", "other"]
Missing = Literal["error", "template"]
Extra = Literal["error", "ignore"]
Integers = Literal["template", "error", "max", "sum"]
Buffers = Literal["merge", "template"]


class InputSpec(Keys):
    """One input: the checkpoint that it is read from, or the pattern of a list of them, and how it becomes a vector.

    A list has `glob` in place of `path`. Its files are put in order by `sort`; `first`, `last` or `best` of them are
    taken, without those whose names match `except`.

    `fingerprint` pins the vector and `sha256` the file; of a list those of its files, in order.
    """

    path: PathText | None = None
    glob: PathText | None = None
    sort: Sort = "number"
    first: Count | None = None
    last: Count | None = None
    best: Count | None = None
    except_: PatternList = Field(default=(), alias="except")
    section: StrictStr | None = None
    names: Literal["litema"] | None = None
    rename: Renaming = Field(default_factory=dict)
    strip: Annotated[tuple[StrictStr, ...], BeforeValidator(one_or_more)] = ()
    kind: Kind | None = None
    missing: Missing | None = None
    extra: Extra | None = None
    part: StrictBool = False
    fingerprint: Annotated[tuple[Fingerprint, ...], BeforeValidator(one_or_more)] = ()
    sha256: Annotated[tuple[Sha256, ...], BeforeValidator(one_or_more)] = ()

    @model_validator(mode="after")
    def _keys_fit_together(self) -> InputSpec:
        given = {
            field.alias or name for name, field in type(self).model_fields.items() if name in self.model_fields_set
        }
        _check_path_or_list(given, self.sort)
        for key, pins in (("fingerprint", self.fingerprint), ("sha256", self.sha256)):
            if self.path is not None and len(pins) > 1:
                raise fault(f"one file has one `{key}`", "keep one", at=(key,))
        if self.names and not (self.section or "").endswith("."):
            raise fault("`names: litema` needs the prefix of the copy", "section: model_ema.", at=("names",))
        if self.missing == "template" and self.part:
            raise fault("a part may lack tensors, and `missing: template` fills them", "keep one", at=("missing",))
        if self.missing == "template" and self.kind not in (None, "model"):
            hint = "`part: true`: what it lacks is 0" if self.kind == "delta" else "`part: true`: it may lack tensors"
            raise fault(f"the template is a model, and cannot fill a {self.kind}", hint, at=("missing",))
        return self


def _check_path_or_list(given: set[str], sort: str) -> None:
    if given.isdisjoint(("path", "glob")):
        raise fault("the key `path` is missing", "for example: path: base.ckpt")
    if {"path", "glob"} <= given:
        raise fault("`path` names one model, and `glob` a list", "keep one", at=("glob",))
    choices = [key for key in ("first", "last", "best") if key in given]
    for key in ("sort", *choices, "except"):
        if key in given and "glob" not in given:
            raise fault(f"`{key}` is for lists", 'a list has `glob: "runs/*.ckpt"` in place of `path`', at=(key,))
    if len(choices) > 1:
        raise fault(f"`{choices[0]}` and `{choices[1]}` both choose from the list", "keep one", at=(choices[1],))
    if "best" in given and not sort.startswith(ENTRY):
        hint = 'sort: "entry:metric" names one that the checkpoints store'
        raise fault("`best` needs a number to compare by", hint, at=("best",))


class AsSpec(Keys):
    """How a `.delta` output stores its numbers."""

    kind: Literal["dense", "sparse", "int8", "sign", "low-rank", "auto"]
    density: float | None = None
    threshold: float | None = None
    rank: int | None = None
    energy: float | None = None
    dtype: DTypeName | None = None
    max_error: float | None = None

    @model_validator(mode="after")
    def _keys_fit_together(self) -> AsSpec:
        self.options()
        return self

    def options(self) -> Options:
        """These keys as the encoders take them."""
        try:
            return Options(**dict(self))
        except RecipeError as error:
            raise fault(error.what, error.hint) from None


class SaveSpec(Keys):
    """One output: the value, and what the new checkpoint takes from its template.

    The output's name says its container: `.ckpt .pt .pth .bin`, `.safetensors`, or `merged/` for a folder, in which
    `shard` is the most that a file may hold; `.delta` for a delta file, which belongs to its template and stores its
    numbers as `as` says.
    """

    value: Expression
    template: StrictStr | None = None
    dtype: DTypeName | None = None
    device: Literal["cpu", "keep"] = "cpu"
    drop: PatternList = ()
    keep: Literal["all", "weights"] = "all"
    shard: Size | None = None
    as_: Annotated[AsSpec | None, lone_text("kind")] = Field(default=None, alias="as")


class RecipeSpec(Keys):
    """A whole recipe, validated.

    `integers` and `buffers` go from patterns to policies, the first match decides; integers that no pattern matches
    are the template's, buffers that none matches follow the formula where every output is an average, or a delta that
    is a sum. Of tensors that match `fit` the leading rows that all inputs have are merged.

    A recipe saves something, or shows or expects it.

    A recipe with `vary` is many recipes, one for each setting of its parameters, and `metric` says how good each is.
    """

    inputs: Annotated[dict[Identifier, Annotated[InputSpec, lone_text("path")]], Field(min_length=1)]
    params: dict[Identifier, Parameter] = Field(default_factory=dict)
    let: dict[Identifier, Expression] = Field(default_factory=dict)
    show: Annotated[tuple[Expression, ...], BeforeValidator(one_or_more)] = ()
    expect: Annotated[tuple[Expression, ...], BeforeValidator(one_or_more)] = ()
    save: dict[PathText, Annotated[SaveSpec, lone_value("value")]] = Field(default_factory=dict, min_length=1)
    only: PatternList = ()
    except_: PatternList = Field(default=(), alias="except")
    missing: Missing = "error"
    extra: Extra = "error"
    integers: Annotated[dict[Pattern, Integers], lone_value("*")] = Field(default_factory=dict)
    buffers: Annotated[dict[Pattern, Buffers], lone_value("*")] = Field(default_factory=dict)
    fit: dict[Pattern, Literal["rows"]] = Field(default_factory=dict)
    compute: Literal["float32", "float64"] | None = None
    nonfinite: Literal["error", "allow"] = "error"
    dtype: DTypeName | None = None
    provenance: Literal["full", "none"] = "full"
    vary: Annotated[VarySpec | None, BeforeValidator(vary_of)] = None
    metric: Annotated[MetricSpec | None, lone_text("run")] = None
