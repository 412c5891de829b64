"""Specs that are there already: chains and residual networks from their shapes, transformers from small YAML files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from weightmath.align.chain import chain
from weightmath.align.document import Line, bind, is_there, parse
from weightmath.align.resnet import is_resnet, resnet
from weightmath.align.spec import Spec, check
from weightmath.errors import LayoutError, RecipeError, nearest
from weightmath.layout import Layout
from weightmath.text_files import decoded

_FOLDER = Path(__file__).parent / "specs"
_MADE: Mapping[str, Callable[[Layout], Spec]] = {"chain": chain, "resnet": resnet}


def families() -> tuple[str, ...]:
    """The names of the specs that are there already."""
    return (*_MADE, *sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def spec_for(name: str, layout: Layout, heads: int | None = None) -> tuple[Spec, str]:
    """The spec of a model, checked against its tensors, and where it comes from.

    Parameters
        name    `auto`; a family: `chain` (multilayer perceptrons, VGG), `resnet`, or a transformer's: `bert`, `gpt2`,
                `llama`, `torch`, `vit`; or the path of a YAML file
        heads   the number of attention heads, which is in no name or shape: of queries, where groups of them share
                keys and values, and then move as groups. Without it heads stay where they are
    `auto` tells transformers and residual networks by their names; else it tries a chain. Fails with
    RecipeError for a spec that is none, or has no heads where their number is given, and LayoutError, naming the
    tensor, where it does not fit the model or `auto` is left in doubt.
    """
    if heads is not None and heads < 1:
        raise RecipeError(f"a number of heads is 1 or more, and not {heads}")
    spec, origin = _found(name, layout, heads)
    if heads is not None and spec == _found(name, layout, None)[0]:
        raise RecipeError(f"the spec `{origin}` has no heads in this model", hint="leave out --heads")
    check(spec, layout)
    return spec, origin


def _found(name: str, layout: Layout, heads: int | None) -> tuple[Spec, str]:
    return _auto(layout, heads) if name == "auto" else (_named(name, layout, heads), name)


def _named(name: str, layout: Layout, heads: int | None) -> Spec:
    if name in _MADE:
        return _MADE[name](layout)
    if name in families():
        return bind(_parsed(name), layout, heads)
    return bind(parse(_text(Path(name)), name), layout, heads)


def _text(path: Path) -> str:
    """The text of a spec of the user's own."""
    try:
        return decoded(path.read_bytes(), str(path))
    except FileNotFoundError:
        known = f"known: auto {' '.join(families())}, or a YAML file"
        raise RecipeError(f"there is no spec `{path}`", hint=nearest(str(path), families()) or known) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _parsed(family: str) -> Mapping[str, tuple[Line, ...]]:
    return parse((_FOLDER / f"{family}.yaml").read_text(encoding="utf-8"), f"spec {family}")


def _auto(layout: Layout, heads: int | None) -> tuple[Spec, str]:
    parsed = {family: _parsed(family) for family in families() if family not in _MADE}
    there = [family for family, lines in parsed.items() if is_there(lines, layout)]
    if len(there) > 1:
        raise LayoutError(f"it has tensors of several families: {' '.join(there)}", hint="name one, or write a spec")
    if there:
        return bind(parsed[there[0]], layout, heads), there[0]
    family = "resnet" if is_resnet(layout) else "chain"
    return _MADE[family](layout), family
