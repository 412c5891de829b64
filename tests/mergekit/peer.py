"""mergekit 0.1.5 itself, without what it requires: it resolves a configuration and merges state dicts in memory."""

from __future__ import annotations

import importlib
import re
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock

import torch
import yaml

from tests.packages import package

State = dict[str, torch.Tensor]
_REQUIRED = ("huggingface_hub", "peft", "transformers", "immutables", "accelerate", "tqdm")


@contextmanager
def mergekit() -> Iterator[types.SimpleNamespace]:
    """mergekit's modules `config`, `resolver` and `methods`, importable while the context lasts."""
    path = package("mergekit", "0.1.5")
    before = set(sys.modules)
    tokenizer = types.ModuleType("mergekit.tokenizer")
    tokenizer.__path__ = [str(path / "mergekit" / "tokenizer")]
    stubs = {name: _Stub(name) for name in _REQUIRED if name not in sys.modules}
    sys.path.insert(0, str(path))
    sys.modules.update({**stubs, "mergekit.tokenizer": tokenizer})
    try:
        names = {"config": "config", "resolver": "parameter_resolver", "methods": "merge_methods"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it uses numpy.core
            kit = {key: importlib.import_module(f"mergekit.{name}") for key, name in names.items()}
        yield types.SimpleNamespace(**kit)
    finally:
        sys.path.remove(str(path))
        for name in set(sys.modules) - before:
            if name in stubs or name.partition(".")[0] == "mergekit":
                del sys.modules[name]


class _Stub(types.ModuleType):
    """A library whose names can be imported, and which does nothing."""

    Map = dict  # what `immutables` is used for

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


def merged(kit: Any, text: str, models: Mapping[str, State]) -> State:
    """What mergekit makes of a configuration of `models` or of one slice: tensor by tensor, as its planner does."""
    config = kit.config.MergeConfiguration.model_validate(yaml.safe_load(text))
    method = kit.methods.get(config.merge_method)
    (one,) = config.slices or [None]
    sources = list(one.sources if one else config.models)
    ids = [source.model for source in sources]
    base = config.base_model
    if base is not None and base not in ids:
        ids.append(base)
    reader = kit.config.ConfigReader(
        config=config,
        t=0,
        slice_out=one or kit.config.OutputSliceDefinition(sources=[_whole(kit, source) for source in sources]),
    )
    states = {model: models[str(model)] for model in ids}
    first = states[ids[0]]
    last = max((_layer(name) for name in first), default=0)
    result = {}
    for name in first:
        shared, own = kit.resolver.resolve_parameters(
            method.spec,
            tensor_name=name,
            inputs=dict.fromkeys(ids, name),
            sources=reader.parameter_sources,
            base_model=base,
            t=max(_layer(name), 0) / last,
        )
        given = {key: {model: values[key] for model, values in own.items() if key in values} for key in _keys(own)}
        ignored = method.spec.contract.base.value == "ignored"
        result |= kit.methods.merge_state_dicts(
            {model: {name: state[name].clone()} for model, state in states.items()},
            method,
            base=None if ignored else base,
            parameters={**shared, **given},
        )
    return result


def _whole(kit: Any, source: Any) -> Any:
    return kit.config.InputSliceDefinition(model=source.model, layer_range=(0, 1), parameters=source.parameters)


def _keys(own: Mapping[Any, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for values in own.values() for key in values))


def _layer(name: str) -> int:
    """The number of a tensor's layer, -1 outside of them: mergekit gives those the beginning of a gradient."""
    found = re.search(r"layers\.(\d+)\.", name)
    return int(found[1]) if found else -1
