"""Recipes from strangers are data: nothing in them runs, and none takes long to be refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from weightmath import recipe
from weightmath.algebra.graph import Input, input_vector
from weightmath.dtypes import FLOAT32
from weightmath.errors import RecipeError
from weightmath.expression import evaluate
from weightmath.job import callables
from weightmath.layout import Entry, Layout

SECONDS = 20  # of processor time: a few times what it takes beside a large heap

EXPRESSIONS = {
    "an attribute": "a.tofile('x')",
    "a method of a text": "'x'.upper()",
    "a class": "a.__class__.__mro__[1].__subclasses__()",
    "a dunder name": "__import__('os').system('true')",
    "a dunder alone": "__builtins__",
    "a builtin": "eval('1')",
    "a file": "open('/etc/passwd')",
    "an index by a text": "runs['__class__']",
    "a slice": "runs[0:1000000000]",
    "a lambda": "lambda: 1",
    "a comprehension": "[x for x in runs]",
    "a formatted text": "f'{a}'",
    "a walrus": "(b := a)",
    "a statement": "a; b",
    "a power of powers": "9 ** 9 ** 9 ** 9",
    "a huge power": "2.0 ** 1000000",
    "a power of a vector": "a ** b",
    "a text many times": "'x' * 1000000000",
    "a list many times": "[1] * 1000000000",
    "a long number": "1" * 100_000,
    "deep brackets": "(" * 100_000 + "a" + ")" * 100_000,
    "deep signs": "-" * 100_000 + "a",
    "a long sum": "+".join(["a"] * 100_000),
    "a long list": "[" + "a," * 100_000 + "a]",
}  # fmt: skip

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
RECIPES = {
    "aliases of aliases": BOMB,
    "an anchor": "inputs: &x {a: a.ckpt}\nsave: *x\n",
    "a merge key": "inputs: {a: a.ckpt}\nsave:\n  <<: {out.ckpt: a}\n",
    "a tag that calls": "inputs: {a: !!python/object/apply:os.mkdir ['@']}\nsave: {out.ckpt: a}\n",
    "a tag that makes": "inputs: {a: !!python/object/new:os.mkdir ['@']}\nsave: {out.ckpt: a}\n",
    "a name of python": "inputs: {a: !!python/name:os.system }\nsave: {out.ckpt: a}\n",
    "deep lists": "inputs: " + "[" * 100_000,
    "deep mappings": "".join(" " * n + "a:\n" for n in range(3_000)),
    "twenty thousand keys": "inputs:\n" + "".join(f"  a{i}: {{x: 1}}\n" for i in range(20_000)),
    "a huge number": "inputs: {a: a.ckpt}\nparams: {x: " + "9" * 1_000_000 + "}\nsave: {out.ckpt: a * x}\n",
}


def values() -> dict[str, object]:
    layout = Layout.of([Entry("w", (2,), FLOAT32)])
    a, b = (input_vector(Input(name, layout)) for name in "ab")
    return {"a": a, "b": b, "runs": [a, b]}


@pytest.mark.parametrize("text", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expressions(text: str) -> None:
    began = time.process_time()
    with pytest.raises(RecipeError):
        evaluate(text, values(), callables())
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("text", RECIPES.values(), ids=RECIPES)
def test_documents(text: str, tmp_path: Path) -> None:
    canary, began = tmp_path / "canary", time.process_time()
    with pytest.raises(RecipeError):
        recipe.loads(text.replace("@", str(canary)))
    assert time.process_time() - began < SECONDS
    assert not canary.exists()


def test_the_same_tag_sings_under_an_unsafe_loader(tmp_path: Path) -> None:
    text = RECIPES["a tag that calls"].replace("@", str(tmp_path / "canary"))
    yaml.load(text, yaml.UnsafeLoader)
    assert (tmp_path / "canary").exists()
