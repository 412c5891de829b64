"""The blocks of Stable Diffusion's networks: which tensors each has, and the strings of numbers that people paste.

| block | tensors |
|---|---|
| BASE | the text encoders: `cond_stage_model.`, `conditioner.` |
| IN00 .. | `model.diffusion_model.input_blocks.0.` .. |
| M00 | `model.diffusion_model.middle_block.` |
| OUT00 .. | `model.diffusion_model.output_blocks.0.` .. |
| VAE | `first_stage_model.`; as BASE, unless given by name |
| TIME | `time_embed.` and `label_emb.` of the network; as IN00, unless given by name |
| FINAL | `out.` of the network; as the last OUT block, unless given by name |
| REST | whatever else the file holds, schedules and the like; as BASE, unless given by name |

Tools disagree about the last four. merge-block-weighted has them as here. supermerger counts `time_embed` to OUT11 (a
negative index of Python's) and leaves it out for SDXL; both count the VAE to BASE.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weightmath.algebra.names import Description, Numbers, parts
from weightmath.algebra.show import quoted, shown_number
from weightmath.errors import RecipeError, listed, nearest
from weightmath.layout import Layout

_NETWORK = re.compile(r"(?:model\.)?diffusion_model\.")
_PLACES = (
    (re.compile(r"input_blocks\.(\d+)\."), "IN"),
    (re.compile(r"output_blocks\.(\d+)\."), "OUT"),
    (re.compile(r"middle_block\.()"), "M00"),
    (re.compile(r"(?:time_embed|label_emb)\.()"), "TIME"),
    (re.compile(r"out\.()"), "FINAL"),
)
_OUTSIDE = (("first_stage_model.", "VAE"), ("cond_stage_model.", "BASE"), ("conditioner.", "BASE"))


@dataclass(frozen=True)
class Architecture:
    """The blocks of one network, in the order of the strings, and those that LoRA Block Weight lists."""

    name: str
    blocks: tuple[str, ...]
    attention: tuple[str, ...]

    @property
    def followers(self) -> Mapping[str, str]:
        """Groups of tensors that no string of numbers has, and the block whose number they take."""
        return {"VAE": "BASE", "TIME": "IN00", "FINAL": self.blocks[-1], "REST": "BASE"}

    @property
    def forms(self) -> Mapping[int, tuple[str, ...]]:
        """How many numbers a string may have, and the blocks that they are for."""
        return {len(names): names for names in (self.blocks, self.blocks[1:], self.attention)}


def _network(name: str, count: int, attention: str) -> Architecture:
    inputs, outputs = ([f"{side}{i:02}" for i in range(count)] for side in ("IN", "OUT"))
    return Architecture(name, ("BASE", *inputs, "M00", *outputs), tuple(attention.split()))


_SD = "BASE IN01 IN02 IN04 IN05 IN07 IN08 M00 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11"
_SDXL = "BASE IN04 IN05 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05"
ARCHITECTURES = {"sd15": _network("sd15", 12, _SD), "sd2": _network("sd2", 12, _SD), "sdxl": _network("sdxl", 9, _SDXL)}


def block_of(name: str) -> str:
    """The block, or one of VAE, TIME, FINAL and REST, that a tensor of that name belongs to."""
    network = _NETWORK.match(name)
    if network is None:
        return next((block for prefix, block in _OUTSIDE if name.startswith(prefix)), "REST")
    for place, block in _PLACES:
        found = place.match(name, network.end())
        if found:
            return f"{block}{int(found.group(1)):02}" if found.group(1) else block
    return "REST"


def parse(architecture: str, text: str, otherwise: float | None) -> dict[str, float]:
    """The number of every block and of every follower that is given by name.

    `text` is a string of numbers for the blocks in their order, or `NAME=number` and `FIRST-LAST=number`, or the first
    followed by the second; RecipeError for anything else, and for blocks without a number where `otherwise` is None.
    """
    known = ARCHITECTURES[architecture]
    words = re.sub(r"\s*=\s*", "=", text).replace(",", " ").split()
    count = next((i for i, word in enumerate(words) if "=" in word), len(words))
    given = _by_place(known, words[:count])
    for word in words[count:]:
        for block in _named(known, word):
            if block in given:
                raise RecipeError(f"the block {block} has two numbers")
            given[block] = _number(word.partition("=")[2])
    open_blocks = [block for block in known.blocks if block not in given]
    if open_blocks and otherwise is None:
        raise RecipeError(
            f"no number for {listed(open_blocks, 4)}", hint="otherwise=0 gives 0 to the blocks that are not listed"
        )
    rest = dict.fromkeys(open_blocks, otherwise or 0.0)
    return {block: (given | rest)[block] for block in (*known.blocks, *known.followers) if block in given | rest}


def _by_place(known: Architecture, words: Sequence[str]) -> dict[str, float]:
    numbers = [_number(word) for word in words]
    if not numbers:
        return {}
    if len(numbers) not in known.forms:
        raise RecipeError(f"{len(numbers)} numbers fit no list of blocks of {known.name}", hint=_way_out(known, words))
    return dict(zip(known.forms[len(numbers)], numbers, strict=True))


def _way_out(known: Architecture, words: Sequence[str]) -> str:
    if known.name == "sdxl" and len(words) == 26:
        return f'these are of SD 1.x; supermerger takes for SDXL: "{",".join([*words[:10], *words[13:23]])}"'
    other = next((name for name, one in ARCHITECTURES.items() if len(words) in one.forms), None)
    forms = ", ".join(f"{count} ({names[0]} to {names[-1]})" for count, names in known.forms.items())
    return f'they fit "{other}"' if other else f"a list has {forms} numbers; or write names: IN00-IN03=0.5"


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        hint = "numbers first, then names: IN04=0.5, OUT03-OUT06=1"
        raise RecipeError(f"`{word}` is not a number", hint=hint)
    return number


def _named(known: Architecture, word: str) -> Sequence[str]:
    """The blocks of `NAME=..` or `FIRST-LAST=..`."""
    ends = word.partition("=")[0].upper().split("-")
    names = (*known.blocks, *known.followers)
    for name in ends:
        if name not in names:
            hint = nearest(name, names) or f"the blocks of {known.name} are {known.blocks[0]} to {known.blocks[-1]}"
            raise RecipeError(f"`{name}` is not a block of {known.name}", hint=hint)
    first, last = names.index(ends[0]), names.index(ends[-1])
    if len(ends) > 2 or last < first:
        raise RecipeError(f"`{word}` is not of the form FIRST-LAST=number", hint="for example: OUT03-OUT06=0.5")
    return names[first : last + 1]


@dataclass(frozen=True)
class Blocks:
    """A number per block of a diffusion network."""

    architecture: str
    text: str
    given: tuple[tuple[str, float], ...]
    otherwise: float | None = None
    is_mask = False

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers that were written."""
        return tuple(number for _, number in self.given)

    def values(self, layout: Layout) -> Numbers:
        """RecipeError for a layout that is not this network's."""
        given, followers = dict(self.given), ARCHITECTURES[self.architecture].followers
        blocks = self._blocks(layout)
        return np.array([given[block] if block in given else given[followers[block]] for block in blocks])

    def _blocks(self, layout: Layout) -> list[str]:
        """The block of each entry; RecipeError where the layout is of another network."""
        known = ARCHITECTURES[self.architecture]
        blocks = [block_of(name) for name in layout.names]
        if not any(block in known.blocks[1:] for block in blocks):
            raise RecipeError(
                "no tensor lies in a block: none begins with `model.diffusion_model.input_blocks.` or its like",
                hint="names of Diffusers (down_blocks) are not those of the original; a prefix goes with `rename:`",
            )
        for name, block in zip(layout.names, blocks, strict=True):
            if block not in (*known.blocks, *known.followers) or _contradicts(name, known.name):
                others = " or ".join(f'"{other}"' for other in ARCHITECTURES if other != known.name)
                raise RecipeError(f"`{name}` is no tensor of {known.name}", hint=f"is it {others}?")
        return blocks

    def describe(self, layout: Layout) -> Description:
        """One part per block, in the order of the strings."""
        known, given = ARCHITECTURES[self.architecture], dict(self.given)
        names = {block: block for block in known.blocks}
        names |= {block: block if block in given else f"{block} (as {as_})" for block, as_ in known.followers.items()}
        labels = [names[block] for block in self._blocks(layout)]
        note = "; ".join(f"{block} is {what}" for block, what in _MEANINGS.items() if names[block] in labels)
        return Description(str(self), note, parts(layout, self.values(layout), labels, names.values()), "blocks")

    def __str__(self) -> str:
        otherwise = "" if self.otherwise is None else f", otherwise={shown_number(self.otherwise)}"
        return f"blocks({quoted(self.architecture)}, {quoted(self.text)}{otherwise})"


_MEANINGS = {
    "BASE": "the text encoder",
    "VAE": "first_stage_model",
    "TIME": "time_embed and label_emb",
    "FINAL": "the network's out",
    "REST": "what belongs to no block",
}
# What tells the families apart, where all their blocks are there in both.
_FOREIGN = {"sdxl": ("cond_stage_model.",), "sd15": ("conditioner.", "label_emb."), "sd2": ("conditioner.",)}


def _contradicts(name: str, architecture: str) -> bool:
    network = _NETWORK.match(name)
    return name[network.end() if network else 0 :].startswith(_FOREIGN[architecture])
