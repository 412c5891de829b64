"""A document of mergekit, checked: which models, cut how, with which settings. What has no counterpart is refused.

mergekit ignores keys that it does not know; here they are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from weightmath.errors import RecipeError, nearest, shell_word
from weightmath.mergekit.methods import METHODS, PARAMETERS, Method
from weightmath.mergekit.settings import Setting, setting_of
from weightmath.recipe.document import Document, Path

Settings = Mapping[str, Setting]

_KEYS = ("name", "merge_method", "base_model", "models", "slices", "parameters", "dtype", "out_dtype")
# Keys of mergekit that change no weight of a shared layout, with what to do instead.
_VOCABULARY = "the output keeps the vocabulary of its template; where sizes differ, `fit:` merges the shared rows"
LEFT_OUT = {
    "tokenizer_source": _VOCABULARY,
    "tokenizer": _VOCABULARY,
    "chat_template": "it belongs to the tokenizer's files",
}
_REFUSED = {
    "experts": "a mixture of experts has layers that none of its models has, and a recipe has one layout",
    "gate_mode": "a mixture of experts has layers that none of its models has, and a recipe has one layout",
    "modules": "merges of single modules of a model are not imported; `only:` of a recipe narrows it to some tensors",
    "genome": "a search over recipes is not imported; `weightmath run --set` tries one value",
}
_DTYPES = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True)
class Source:
    """A model of a merge, by its path or name in mergekit, and its own settings."""

    model: str
    settings: Settings
    place: Path


@dataclass(frozen=True)
class Slice:
    """Layers first..last, the last included, or all tensors where `layers` is None; merged from the sources.

    `levels` are the settings of all models together, the more special ones first.
    """

    sources: tuple[Source, ...]
    base: str | None
    levels: tuple[Settings, ...]
    layers: tuple[int, int] | None = None


@dataclass(frozen=True)
class Merge:
    """One document; `left_out` says of keys and parameters without effect here why that is."""

    document: Document
    name: str | None
    method_name: str
    slices: tuple[Slice, ...]
    dtype: str | None
    out_dtype: str | None
    left_out: tuple[tuple[str, str], ...]

    @property
    def method(self) -> Method:
        """What its method takes."""
        return METHODS[self.method_name]

    @property
    def models(self) -> tuple[str, ...]:
        """All models that it reads: the base first."""
        names = [name for one in self.slices for name in (one.base, *(source.model for source in one.sources))]
        return tuple(dict.fromkeys(name for name in names if name is not None))


def merge_of(document: Document) -> Merge:
    """The merge that a document describes.

    Fails with RecipeError, with the line, for unknown keys, methods and parameters, and, by name and with the reason,
    for what weightmath does not do: restacked layers, mixtures of experts, adapters, new tokens.
    """
    return _Reader(document, []).merge()


@dataclass(frozen=True)
class _Reader:
    document: Document
    left_out: list[tuple[str, str]]

    def fail(self, fact: str, *path: str | int, hint: str | None = None) -> NoReturn:
        raise RecipeError(fact, where=self.document.where(path), hint=hint)

    def merge(self) -> Merge:
        data = self.document.data
        if "inputs" in data and not {"merge_method", "models", "slices"} & data.keys():
            hint = f"as it is: weightmath plan {shell_word(self.document.name)}"
            self.fail("`inputs` is a key of weightmath's own recipes, and this is one", "inputs", hint=hint)
        for key, reason in _REFUSED.items():
            if key in data:
                self.fail(f"`{key}` is not imported: {reason}", key)
        self.check_keys(data, (*_KEYS, *LEFT_OUT))
        method = self.method(data)
        self.check_tokens(data)
        self.left_out.extend((key, reason) for key, reason in LEFT_OUT.items() if data.get(key) is not None)
        shared = self.settings(data, (), method)
        base = None if data.get("base_model") is None else self.model(data["base_model"], ("base_model",))
        slices = self.slices(data, method, shared, base)
        dtype, out_dtype = (self.dtype(data, key) for key in ("dtype", "out_dtype"))
        name = None if data.get("name") is None else str(data["name"])
        left_out = tuple(dict.fromkeys(self.left_out))
        return Merge(self.document, name, str(data["merge_method"]), slices, dtype, out_dtype, left_out)

    def check_keys(self, data: Mapping[str, Any], known: tuple[str, ...], *path: str | int) -> None:
        for key in data:
            if key not in known:
                below = "it belongs below `parameters:`" if key in PARAMETERS else None
                hint = below or nearest(key, known) or "mergekit ignores it: take it out"
                self.fail(f"mergekit has no key `{key}` here", *path, key, hint=hint)

    def check_tokens(self, data: Mapping[str, Any]) -> None:
        tokenizer = data.get("tokenizer")
        if isinstance(tokenizer, dict):
            for key in ("tokens", "pad_to_multiple_of"):
                if tokenizer.get(key):
                    fact = f"`{key}` is not imported: it makes rows of the embedding that no model has"
                    self.fail(fact, "tokenizer", key, hint="merge with mergekit where tokens are added or moved")
            self.check_keys(tokenizer, ("source", "tokens", "pad_to_multiple_of"), "tokenizer")

    def method(self, data: Mapping[str, Any]) -> Method:
        if "merge_method" not in data:
            self.fail("`merge_method` is missing", hint=f"one of: {' '.join(METHODS)}")
        name = str(data["merge_method"])
        if name not in METHODS:
            hint = nearest(name, METHODS) or f"it has {' '.join(METHODS)}"
            self.fail(f"mergekit has no method `{name}`", "merge_method", hint=hint)
        return METHODS[name]

    def slices(self, data: Mapping[str, Any], method: Method, shared: Settings, base: str | None) -> tuple[Slice, ...]:
        given = [key for key in ("models", "slices") if data.get(key)]
        if len(given) != 1:
            self.fail(f"a merge has `models` or `slices`, and this has {'both' if given else 'neither'}")
        items = self.items(data, given[0])
        if given == ["models"]:
            sources = [self.source(item, ("models", i), method, ()) for i, item in enumerate(items)]
            own = None if method.base == "counted" else base
            return (Slice(self.with_base(sources, base, method), own, (shared,)),)
        found = tuple(self.slice(item, ("slices", i), method, shared, base) for i, item in enumerate(items))
        self.check_stack(found)
        return found

    def check_stack(self, slices: tuple[Slice, ...]) -> None:
        """Refuse slices that leave layers out, repeat them or move them."""
        starts = [0, *(one.layers[1] + 1 for one in slices if one.layers)]
        for i, one in enumerate(slices):
            if one.layers and one.layers[0] != starts[i]:
                fact = (
                    f"the slices restack layers: number {starts[i]} of the output would be {one.layers[0]} of its model"
                )
                hint = "a recipe keeps the layers of its template; mergekit makes models of other depths"
                self.fail(fact, "slices", i, hint=hint)

    def slice(self, data: dict[str, Any], path: Path, method: Method, shared: Settings, base: str | None) -> Slice:
        self.check_keys(data, ("sources", "base_model", "parameters", "residual_weight"), *path)
        if data.get("residual_weight") is not None:
            self.fail("`residual_weight` is not imported", *path, "residual_weight", hint="mergekit itself ignores it")
        own = None if data.get("base_model") is None else self.model(data["base_model"], (*path, "base_model"))
        items = self.items(data, "sources", *path)
        places = [(*path, "sources", i) for i in range(len(items))]
        sources = [self.source(*pair, method, ("layer_range",)) for pair in zip(items, places, strict=True)]
        ranges = {self.layers(item, place) for item, place in zip(items, places, strict=True)}
        if len(ranges) > 1:
            self.fail("the sources have different layers, and weightmath merges each layer with its like", *path)
        chosen = own or base
        if method.base != "counted" and chosen is not None and chosen not in [source.model for source in sources]:
            self.fail(f"`{chosen}` is the base, and none of the sources", *path)
        levels = (self.settings(data, path, method), shared)
        return Slice(tuple(sources), chosen if method.base != "counted" else None, levels, ranges.pop())

    def with_base(self, sources: list[Source], base: str | None, method: Method) -> tuple[Source, ...]:
        """The models with the base among them, as the last one if it is not listed."""
        listed = [source.model for source in sources]
        for source in sources:
            if listed.count(source.model) > 1:
                self.fail(f"`{source.model}` is listed twice", *source.place)
        if base is None or base in listed:
            return tuple(sources)
        if method.base == "counted":
            self.left_out.append(("base_model", "this method has no base, and mergekit counts it as one of the models"))
        return (*sources, Source(base, {}, ("base_model",)))

    def source(self, data: dict[str, Any], path: Path, method: Method, more: tuple[str, ...]) -> Source:
        self.check_keys(data, ("model", "parameters", *more), *path)
        if "model" not in data:
            self.fail("`model` is missing", *path)
        return Source(self.model(data["model"], (*path, "model")), self.settings(data, path, method, own=True), path)

    def items(self, data: Mapping[str, Any], key: str, *path: str | int) -> list[dict[str, Any]]:
        items = data.get(key)
        if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
            self.fail(f"`{key}` is a list of mappings", *path, key)
        return items

    def layers(self, data: Mapping[str, Any], path: Path) -> tuple[int, int]:
        given = data.get("layer_range")
        if not (isinstance(given, list) and len(given) == 2 and all(type(n) is int for n in given)):
            self.fail("`layer_range` is a list of two layers: [0, 32]", *path, "layer_range")
        first, end = given
        if not 0 <= first < end:
            self.fail(f"the layers {first} to {end - 1} are none", *path, "layer_range")
        return first, end - 1

    def model(self, value: Any, path: Path) -> str:
        """The path or name of a model, with `@` and its revision; adapters are refused."""
        data = value if isinstance(value, dict) else {"model": value}
        self.check_keys(data, ("model", "lora", "override_architecture", "path", "revision"), *path)
        name = data.get("model", data.get("path"))
        if isinstance(name, dict):
            return self.model(name, (*path, "model"))
        if not isinstance(name, str):
            self.fail("this is no model: a path or a name", *path)
        plain, _, adapter = name.partition("+")
        if adapter or data.get("lora"):
            lora = adapter or data["lora"]
            make = f"weightmath delta from-lora {shell_word(lora)} {shell_word(plain)} -o skill.delta"
            bake = f"weightmath delta apply {shell_word(plain)} skill.delta -o MODEL/"
            hint = f"bake it in, and name the result: {make}; {bake}"
            self.fail(f"the adapter `{lora}` is not imported", *path, hint=hint)
        return f"{plain}@{data['revision']}" if data.get("revision") else plain

    def settings(self, data: Mapping[str, Any], path: Path, method: Method, *, own: bool = False) -> Settings:
        """The settings of one level; `own`: of one model. What the method does not take here is left out."""
        given = data.get("parameters") or {}
        if not isinstance(given, dict):
            self.fail("`parameters` is a mapping", *path, "parameters")
        found: dict[str, Setting] = {}
        for name, value in given.items():
            at = (*path, "parameters", name)
            if name not in PARAMETERS:
                hint = nearest(name, PARAMETERS) or f"the method has {' '.join(sorted(method.parameters)) or 'none'}"
                self.fail(f"mergekit has no parameter `{name}`", *at, hint=hint)
            if name in method.own or (name in method.shared and not own):
                found[name] = setting_of(self.document, at, value)
            else:
                self.left_out.append((name, self.without_effect(name, method)))
        return found

    def without_effect(self, name: str, method: Method) -> str:
        """Why a parameter changes nothing."""
        if name in method.idle:
            return method.idle[name]
        if name in method.shared:
            return "mergekit takes it from the common `parameters`, and ignores it below a model"
        return "the method does not have it, and mergekit ignores it"

    def dtype(self, data: Mapping[str, Any], key: str) -> str | None:
        if data.get(key) is None:
            return None
        name = str(data[key]).removeprefix("torch.")
        if name not in _DTYPES:
            self.fail(f"mergekit has no dtype `{name}`", key, hint=nearest(name, _DTYPES) or " ".join(_DTYPES))
        return name
