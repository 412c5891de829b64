"""What the tensors of a checkpoint are called in a recipe: names after `names`, `strip` and `rename`, in this order."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from weightmath.errors import RecipeError, nearest

# What LitEma stores beside the weights: how far the average has come.
_NO_WEIGHTS = ("decay", "num_updates")


@dataclass(frozen=True)
class Naming:
    """Rules from names in a file to names in a recipe.

    names   "litema": names lost their dots, as in Stable Diffusion's `model_ema.`, and get them back
    strip   prefixes; the first that a name begins with is removed
    rename  prefixes, or `re:...`, and what replaces them; the first that applies
    """

    names: str | None = None
    strip: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes_nothing(self) -> bool:
        """Whether there are no rules."""
        return self.names is None and not self.strip and not self.rename

    def apply(self, originals: Iterable[str], beside: Collection[str]) -> dict[str, str]:
        """New name -> name in the file, for every tensor that has a new name.

        beside   the tensors outside a prefix section, whose names keep their dots
        Fails    RecipeError where two tensors get one name, a rule applies to none, or dots cannot be restored
        """
        found: dict[str, str] = {}
        used: set[str] = set()
        for new, original in self._dotted(originals, beside).items():
            name = self._renamed(new, used)
            if name in found:
                raise RecipeError(
                    f"`{found[name]}` and `{original}` both get the name `{name}`",
                    hint="make `strip` and `rename` tell them apart",
                )
            found[name] = original
        for rule in (*self.strip, *self.rename):
            if rule not in used:
                word = "matches" if rule.startswith("re:") else "is the beginning of"
                raise RecipeError(f"`{rule}` {word} no tensor's name", hint=self._meant(rule, found.values()))
        return found

    def _meant(self, rule: str, originals: Collection[str]) -> str | None:
        for other in self.strip if rule in self.strip else ():
            if any(original.startswith(other + rule) for original in originals):
                return f'of each name one beginning is removed: strip: ["{other}{rule}"]'
        return nearest(rule, dict.fromkeys(f"{original.partition('.')[0]}." for original in originals))

    def _dotted(self, originals: Iterable[str], beside: Collection[str]) -> dict[str, str]:
        if self.names is None:
            return {name: name for name in originals}
        spellings: dict[str, list[str]] = {}
        for whole in beside:
            # LitEma is given a part of the model, so that its names lack the first word.
            for spelled in dict.fromkeys((whole, whole.partition(".")[2])):
                spellings.setdefault(spelled.replace(".", ""), []).append(whole)
        return {_restored(name, spellings): name for name in originals if name not in _NO_WEIGHTS}

    def _renamed(self, name: str, used: set[str]) -> str:
        for prefix in self.strip:
            if name.startswith(prefix):
                used.add(prefix)
                name = name[len(prefix) :]
                break
        for old, new in self.rename.items():
            changed, count = name, 0
            if old.startswith("re:"):
                changed, count = re.subn(old[3:], new, name)
            elif name.startswith(old):
                changed, count = new + name[len(old) :], 1
            if count:
                used.add(old)
                return changed
        return name


def _restored(name: str, spellings: Mapping[str, Sequence[str]]) -> str:
    fitting = spellings.get(name, ())
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RecipeError(f"`{name}` could be `{fitting[0]}` or `{fitting[1]}` without dots")
    raise RecipeError(f"`{name}` is no name of a tensor beside it without its dots")
