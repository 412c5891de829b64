"""The JSON Schema and the models agree: on the gallery, on every key and short form, and on mistakes."""

from pathlib import Path

import jsonschema
import pytest

from weightmath.errors import RecipeError
from weightmath.recipe import document, loads
from weightmath.recipe.metric import MetricSpec
from weightmath.recipe.spec import InputSpec, RecipeSpec, SaveSpec
from weightmath.recipe.vary import VarySpec
from weightmath.schema import KEYS, schema, text

ROOT = Path(__file__).parent.parent
VALIDATOR = jsonschema.Draft202012Validator(schema())
GALLERY = sorted((ROOT / "recipes").rglob("*.yaml"))


def accepts(recipe):
    """Whether the schema accepts a recipe's text, and whether the models do."""
    try:
        loads(recipe)
        models = True
    except RecipeError:
        models = False
    return VALIDATOR.is_valid(document.load(recipe, "recipe").data), models


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_shipped_file_is_current():
    shipped = (ROOT / "weightmath" / "recipe" / "schema.json").read_text()
    assert shipped == text(), "weightmath schema > weightmath/recipe/schema.json"


def test_every_key_says_what_it_means():
    for model in (RecipeSpec, InputSpec, SaveSpec, VarySpec, MetricSpec):
        keys = {field.alias or name for name, field in model.model_fields.items()}
        assert set(KEYS[model.__name__]) == keys
    for part in (schema(), *schema()["$defs"].values()):
        assert all(key["description"] for key in part["properties"].values())


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_recipes_of_the_gallery_are_valid(path):
    VALIDATOR.validate(document.load(path.read_text(), path.name).data)


VARIED = "inputs: {a: a.ckpt}\nparams: {t: 0, k: x}\nsave: {'b_{t}.ckpt': a}\n"
VALID = [
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}",
    "inputs: {a: a.ckpt}\nshow: norm(a)",
    "inputs: {a: a.ckpt}\nexpect: [norm(a) > 0]",
    "inputs: {a: {path: a.ckpt, section: ema., names: litema, strip: x., rename: {'': 'y.'}}}\nsave: {b.ckpt: a}",
    "inputs: {a: {path: a.ckpt, kind: delta, part: true, extra: ignore}}\nsave: {b.ckpt: {value: a, keep: weights}}",
    "inputs: {a: {glob: 'r/*.ckpt', sort: 'entry:metric', best: 3, except: last.ckpt}}\nsave: {b.ckpt: 'mean(a)'}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: {value: 2, template: a, dtype: bf16, device: keep, drop: [ema]}}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\nonly: '*attn*'\nexcept: ['*.bias', 're:head']\ndtype: torch.float16",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\nintegers: max\nbuffers: {'*.var': merge}\nfit: {'*embed*': rows}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\nshow: norm(a)\nexpect: norm(a) > 1\ncompute: float64\nnonfinite: allow",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\nshow: [1, norm(a)]\nexpect: [norm(a) > 1]\nmissing: template",
    "inputs: {a: a.ckpt}\nparams: {n: 1e-3, t: x, f: true, l: [1, x]}\nlet: {y: 1, z: a}\nsave: {b.ckpt: a}",
    "inputs: {a: a.ckpt}\nparams:\n  t:\n    '*attn*': ramp(0, 1)\n    '*': 0.5\nsave: {b.ckpt: a}",
    *(
        VARIED + more
        for more in (
            "vary: {t: [0, 1]}\nmetric: e.py {checkpoint}",
            "vary:\n  t: linspace(0, 1, 3)\nmetric: {run: 'm:f', of: [x, y], goal: min}",
            "vary: {zip: {t: [0, 1]}, grid: {k: [x]}}\nmetric: {worker: e.py, goal: {x: min}}",
            "vary: {random: {t: 'uniform(0, 1)'}, samples: 3, seed: 4}",
        )
    ),
]

INVALID = [
    "inputs: {a: a.ckpt}",
    "inputs: {a: a.ckpt}\nshow: []",
    "inputs: {a: a.ckpt}\nshow: norm(a)\nsave: {}",
    "inputs: {a: a.ckpt}\nparams: {t: 0}\nshow: norm(a)\nvary: {t: [0, 1]}",
    "save: {b.ckpt: a}",
    "inputs: {}\nsave: {b.ckpt: 1}",
    "inputs: {a: a.ckpt}\nsave: {}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\noutputs: x",
    "inputs: {a: {pth: a.ckpt}}\nsave: {b.ckpt: a}",
    "inputs: {a: {path: a.ckpt, glob: b}}\nsave: {b.ckpt: a}",
    "inputs: {a: {strip: x}}\nsave: {b.ckpt: a}",
    "inputs: {a: {glob: x, last: 0}}\nsave: {b.ckpt: a}",
    "inputs: {a: {glob: x, sort: metric}}\nsave: {b.ckpt: a}",
    "inputs: {a: 3}\nsave: {b.ckpt: a}",
    "inputs: {a: {path: a.ckpt, kind: modle}}\nsave: {b.ckpt: a}",
    "inputs: {a: {path: a.ckpt, part: yes}}\nsave: {b.ckpt: a}",
    "inputs: {a-b: a.ckpt}\nsave: {b.ckpt: 1}",
    "inputs: {in: a.ckpt}\nsave: {b.ckpt: 1}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: {value: a, dtyp: bf16}}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: {dtype: bf16}}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: {value: a, dtype: int8}}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: [a]}",
    "inputs: {a: a.ckpt}\nparams: {t: {}}\nsave: {b.ckpt: a}",
    "inputs: {a: a.ckpt}\nparams: {t: {'*': [1]}}\nsave: {b.ckpt: a}",
    "inputs: {a: a.ckpt}\nparams: {t: [[1]]}\nsave: {b.ckpt: a}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\ninteger: max",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\nintegers: mean",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\nfit: {'*': cols}",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\ncompute: float16",
    "inputs: {a: a.ckpt}\nsave: {b.ckpt: a}\nshow: {x: 1}",
    *(
        VARIED + more
        for more in (
            "vary: {}",
            "vary: {t: 3}",
            "vary: {t: []}",
            "vary: {samples: 3}",
            "vary: {grid: {t: [1]}, sampels: 3}",
            "vary: {random: {t: [1]}, samples: 0}",
            "vary: {t: [1]}\nmetric: {of: x}",
            "vary: {t: [1]}\nmetric: {run: 'm:f', worker: e.py}",
            "vary: {t: [1]}\nmetric: {run: 'm:f', goal: most}",
        )
    ),
]


@pytest.mark.parametrize("recipe", VALID)
def test_both_accept(recipe):
    assert accepts(recipe) == (True, True)


@pytest.mark.parametrize("recipe", INVALID)
def test_both_refuse(recipe):
    assert accepts(recipe) == (False, False)
