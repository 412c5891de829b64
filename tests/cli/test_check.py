"""`weightmath check`: recipes without their checkpoints; and `weightmath schema`."""

import json

import jsonschema

from weightmath.schema import schema


def test_recipes_that_are_well(cli, folder):
    for path in folder.glob("*.ckpt"):
        path.unlink()
    (folder / "open.yaml").write_text(
        "inputs: {a: a.ckpt, b: b.ckpt}\nsave: {o.ckpt: 'lerp(a, 2 * a - a, ramp(0, 1))'}"
    )
    ran = cli("check", "recipe.yaml", "open.yaml")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "recipe.yaml: names and formulas are right; left to the checkpoints: which tensors `only(chat - base \n"
        "+ (code - base), 'blocks.*')` is about\n"
        "open.yaml: names and formulas are right; left to the checkpoints: which tensors `ramp(0, 1)` is \n"
        "about\n"
        "  warning: open.yaml:1: inputs.b: nothing uses `b`\n"
    )


def test_all_are_checked_and_one_mistake_is_enough(cli, folder):
    (folder / "bad.yaml").write_text("inputs: {a: a.ckpt}\nsave: {o.ckpt: a + a}")
    (folder / "worse.yaml").write_text("inputs: {a: a.ckpt}\nsafe: {o.ckpt: a}")
    ran = cli("check", "bad.yaml", "worse.yaml", "recipe.yaml", "nowhere/to-be-found")
    assert ran.code == 2
    assert ran.err == (
        "error: bad.yaml:2: save.o.ckpt: `a + a` must be a model, and this has weight 2: it adds up to 2 models\n"
        "  hint: divide by 2 for an average, subtract the base from all but one (base + (chat - base)), "
        "or say model(x) or, of a stored delta, delta(x)\n"
        "error: worse.yaml:2: safe: unknown key `safe`\n"
        "  hint: did you mean `save`?\n"
        "error: nowhere/to-be-found: there is no such file\n"
    )
    assert ran.out.startswith("recipe.yaml: names and formulas are right")


def test_json_has_every_recipe(cli, folder):
    (folder / "bad.yaml").write_text("inputs: {a: a.ckpt}\nsave: {o.ckpt: b}")
    ran = cli("check", "recipe.yaml", "bad.yaml", "--json")
    assert (ran.code, ran.err) == (2, "")
    assert json.loads(ran.out) == {
        "recipes": [
            {
                "recipe": "recipe.yaml",
                "checked": "formulas",
                "open": "which tensors `only(chat - base + (code - base), 'blocks.*')` is about",
                "warnings": [],
                "error": None,
            },
            {
                "recipe": "bad.yaml",
                "checked": None,
                "open": "",
                "warnings": [],
                "error": {
                    "what": "unknown name `b`\n  b\n  ^",
                    "where": "bad.yaml:2: save.o.ckpt",
                    "hint": "the names here are: a",
                },
            },
        ]
    }


def test_the_schema_is_printed(cli):
    ran = cli("schema")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out) == schema()
    jsonschema.Draft202012Validator.check_schema(json.loads(ran.out))
