"""What a recipe may say and what it may not; each mistake is made in one valid recipe and has its whole message."""

from pathlib import Path

import pytest

from weightmath.errors import RecipeError
from weightmath.recipe import InputSpec, SaveSpec, load, loads

RECIPE = """\
inputs:
  base: base.ckpt
  chat: {path: chat.ckpt, strip: module.}
params:
  strength: 0.6
  rate: {"*.bias": 0, "*": 1}
let:
  skill: chat - base
  merged: base + strength * rate * skill
show:
  - norm(skill)
expect:
  - norm(skill) > 0
save:
  merged.ckpt: {value: merged, template: base}
"""


def message(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        loads(text, "merge.yaml")
    return str(caught.value)


def test_the_parts():
    spec = loads(RECIPE).spec
    assert spec.inputs == {"base": InputSpec(path="base.ckpt"), "chat": InputSpec(path="chat.ckpt", strip=("module.",))}
    assert spec.params == {"strength": 0.6, "rate": {"*.bias": 0, "*": 1}}
    assert list(spec.let) == ["skill", "merged"]
    assert spec.show == ("norm(skill)",)
    assert spec.expect == ("norm(skill) > 0",)
    assert spec.save == {"merged.ckpt": SaveSpec(value="merged", template="base")}


def test_the_settings():
    settings = """
only: '*attn*'
except: [re:norm\\d, '*.bias']
missing: template
extra: ignore
integers: max
buffers: {'*running*': template, '*': merge}
fit: {'*embed_tokens.weight': rows}
compute: float64
nonfinite: allow
dtype: bf16
"""
    spec = loads(RECIPE + settings).spec
    assert spec.only == ("*attn*",)
    assert spec.except_ == ("re:norm\\d", "*.bias")
    assert (spec.missing, spec.extra) == ("template", "ignore")
    assert spec.integers == {"*": "max"}
    assert spec.buffers == {"*running*": "template", "*": "merge"}
    assert spec.fit == {"*embed_tokens.weight": "rows"}
    assert (spec.compute, spec.nonfinite, spec.dtype) == ("float64", "allow", "bfloat16")


def test_the_defaults():
    spec = loads("inputs: {a: a.ckpt}\nsave: {b.ckpt: a}").spec
    assert (spec.params, spec.let, spec.show, spec.expect) == ({}, {}, (), ())
    assert (spec.only, spec.except_, spec.integers, spec.buffers) == ((), (), {}, {})
    assert (spec.missing, spec.extra, spec.nonfinite) == ("error", "error", "error")
    assert (spec.compute, spec.dtype) == (None, None)


def test_every_key_of_an_input_and_of_an_output():
    text = """
inputs:
  a: {path: a.ckpt, section: model_ema., names: litema, rename: {"": vae.}, strip: [x., y.], kind: mask, extra: ignore,
      part: true}
  runs: {glob: "runs/epoch=*.ckpt", sort: "entry:metric", best: 10, except: "*last*", missing: template}
save:
  b.ckpt: {value: a, template: a, dtype: fp16, device: keep, drop: optimizer*, keep: weights}
  d/: {value: a, shard: 500 MB}
  c.ckpt: 1 - a
"""
    spec = loads(text).spec
    neither = {"path": None, "glob": None, "sort": "number", "first": None, "last": None, "best": None, "except_": ()}
    neither |= {"fingerprint": (), "sha256": ()}
    plain = {"section": None, "names": None, "rename": {}, "strip": (), "kind": None, "missing": None, "extra": None}
    assert spec.inputs["a"].model_dump() == {
        **neither,
        "path": "a.ckpt",
        "section": "model_ema.",
        "names": "litema",
        "rename": {"": "vae."},
        "strip": ("x.", "y."),
        "kind": "mask",
        "missing": None,
        "extra": "ignore",
        "part": True,
    }
    assert spec.inputs["runs"].model_dump() == {
        **neither,
        **plain,
        "glob": "runs/epoch=*.ckpt",
        "sort": "entry:metric",
        "best": 10,
        "except_": ("*last*",),
        "missing": "template",
        "part": False,
    }
    assert spec.save["b.ckpt"].model_dump() == {
        "value": "a",
        "template": "a",
        "dtype": "float16",
        "device": "keep",
        "drop": ("optimizer*",),
        "keep": "weights",
        "shard": None,
        "as_": None,
    }
    assert spec.save["d/"].shard == "500 MB"
    assert spec.save["c.ckpt"] == SaveSpec(value="1 - a")


KEYS = (
    "inputs params let show expect save only except missing extra integers buffers fit compute nonfinite dtype "
    "provenance vary metric"
)
MISTAKES = [
    (
        "params:",
        "parms:",
        "merge.yaml:4: parms: unknown key `parms`\n  hint: did you mean `params`?",
    ),
    (
        "save:",
        "outputs:",
        "merge.yaml:14: outputs: unknown key `outputs`\n  hint: it is called `save` here",
    ),
    ("show:", "x: 1\nshow:", f"merge.yaml:10: x: unknown key `x`\n  hint: the keys here are: {KEYS}"),
    (
        "strip: module.",
        "strp: module.",
        "merge.yaml:3: inputs.chat.strp: unknown key `strp`\n  hint: did you mean `strip`?",
    ),
    (
        "template: base",
        "tmplate: base",
        "merge.yaml:15: save.merged.ckpt.tmplate: unknown key `tmplate`\n  hint: did you mean `template`?",
    ),
    ("strip: module.", "part: yes", "merge.yaml:3: inputs.chat.part: `part` must be true or false, not `yes`"),
    (
        "strip: module.",
        "missing: templat",
        "merge.yaml:3: inputs.chat.missing: `missing` cannot be `templat`\n  hint: did you mean `template`?",
    ),
    (
        "strip: module.",
        "kind: 3",
        "merge.yaml:3: inputs.chat.kind: `kind` cannot be `3`\n  hint: one of: model delta mask other",
    ),
    (
        "strip: module.",
        "section: 3",
        "merge.yaml:3: inputs.chat.section: `section` must be text, not `3`\n  hint: put it in quotes",
    ),
    (
        "strip: module.",
        "last: 3",
        "merge.yaml:3: inputs.chat.last: `last` is for lists\n"
        '  hint: a list has `glob: "runs/*.ckpt"` in place of `path`',
    ),
    (
        "{path: chat.ckpt, strip: module.}",
        "{glob: '*.ckpt', last: 0}",
        "merge.yaml:3: inputs.chat.last: `0` is not a number of checkpoints\n  hint: a whole number from 1 on: last: 5",
    ),
    (
        "{path: chat.ckpt, strip: module.}",
        "{glob: '*.ckpt', last: 3, first: 3}",
        "merge.yaml:3: inputs.chat.last: `first` and `last` both choose from the list\n  hint: keep one",
    ),
    (
        "{path: chat.ckpt, strip: module.}",
        "{glob: '*.ckpt', best: 3}",
        "merge.yaml:3: inputs.chat.best: `best` needs a number to compare by\n"
        '  hint: sort: "entry:metric" names one that the checkpoints store',
    ),
    (
        "{path: chat.ckpt, strip: module.}",
        "{glob: '*.ckpt', sort: metric}",
        "merge.yaml:3: inputs.chat.sort: `sort` cannot be `metric`\n  hint: number: by the numbers in the names; "
        "name: by letters; entry:metric: by a number stored in the checkpoints",
    ),
    (
        "strip: module.",
        "glob: '*.ckpt'",
        "merge.yaml:3: inputs.chat.glob: `path` names one model, and `glob` a list\n  hint: keep one",
    ),
    (
        "strip: module.",
        "files: '*.ckpt'",
        "merge.yaml:3: inputs.chat.files: unknown key `files`\n  hint: it is called `glob` here",
    ),
    (
        "strip: module.",
        "names: litema",
        "merge.yaml:3: inputs.chat.names: `names: litema` needs the prefix of the copy\n  hint: section: model_ema.",
    ),
    (
        "strip: module.",
        "rename: {'re:(a)': '\\2'}",
        "merge.yaml:3: inputs.chat.rename.re:(a): `re:(a): \\2` is not a valid replacement: "
        "invalid group reference 2 at position 1",
    ),
    (
        "strip: module.",
        "rename: {'re:(a+)+b': x}",
        "merge.yaml:3: inputs.chat.rename.re:(a+)+b: `re:(a+)+b` could take forever\n  hint: what repeats may hold no "
        "repetition or alternative, and four repetitions are enough for a name",
    ),
    (
        "strip: module.",
        "part: true, missing: template",
        "merge.yaml:3: inputs.chat.missing: a part may lack tensors, and `missing: template` fills them\n"
        "  hint: keep one",
    ),
    (
        "strip: module.",
        "kind: delta, missing: template",
        "merge.yaml:3: inputs.chat.missing: the template is a model, and cannot fill a delta\n"
        "  hint: `part: true`: what it lacks is 0",
    ),
    (
        "strip: module.",
        "kind: mask, missing: template",
        "merge.yaml:3: inputs.chat.missing: the template is a model, and cannot fill a mask\n"
        "  hint: `part: true`: it may lack tensors",
    ),
    (
        "save:",
        "fit: {'*embed*': columns}\nsave:",
        "merge.yaml:14: fit.*embed*: `fit` cannot be `columns`\n  hint: one of: rows",
    ),
    ("base: base.ckpt", "base: 3", "merge.yaml:2: inputs.base: `base` must be a path or a mapping, not `3`"),
    ("base: base.ckpt", "base:", "merge.yaml:2: inputs.base: `base` is empty"),
    (
        "base: base.ckpt",
        "base: {section: x}",
        "merge.yaml:2: inputs.base: the key `path` is missing\n  hint: for example: path: base.ckpt",
    ),
    (
        "strength: 0.6",
        "learning-rate: 1",
        "merge.yaml:5: params.learning-rate: `learning-rate` cannot be a name: names are letters, digits and _, "
        "a letter first\n  hint: call it learning_rate",
    ),
    (
        "skill: chat",
        "lambda: chat",
        "merge.yaml:8: let.lambda: `lambda` is a word of the language and cannot be a name\n  hint: call it lambda_1",
    ),
    (
        "strength: 0.6",
        "chat: 0.6",
        "merge.yaml:5: params.chat: `chat` is defined twice\n"
        "  hint: give one of them another name; the first is at merge.yaml:3: inputs.chat",
    ),
    (
        "strength: 0.6",
        "strength:",
        "merge.yaml:5: params.strength: the parameter has no value\n  hint: write it after the colon",
    ),
    ("strength: 0.6", "strength: 1e999", "merge.yaml:5: params.strength: the number is too large for a float64"),
    (
        "strength: 0.6",
        "strength: [1, [2]]",
        "merge.yaml:5: params.strength[1]: the items of a list are numbers or texts",
    ),
    (
        '"*.bias": 0',
        '"*.bias": null',
        "merge.yaml:6: params.rate.*.bias: nothing is not a number\n  hint: numbers are decimal: 7, 0.5, 1e-3",
    ),
    (
        '"*.bias": 0',
        "re:(: 0",
        "merge.yaml:6: params.rate: `re:(` is not a regular expression: "
        "missing ), unterminated subpattern at position 0",
    ),
    (
        "skill: chat - base",
        "skill: chat -",
        "merge.yaml:8: let.skill: the expression ends where a value should follow\n  chat -\n        ^",
    ),
    (
        "skill: chat - base",
        "skill: [chat, base]",
        "merge.yaml:8: let.skill: this is a list of YAML, not an expression\n  hint: quote it: '[a, b]'",
    ),
    (
        "skill: chat - base",
        "skill:",
        "merge.yaml:8: let.skill: the expression is empty\n  hint: write it after the colon",
    ),
    (
        "- norm(skill) > 0",
        "- norm(skill)",
        "merge.yaml:13: expect[0]: an expectation is a comparison\n  norm(skill)\n  ^^^^^^^^^^^\n"
        "  hint: for example: cosine(merged, base) > 0.9, or all(...) of a mask",
    ),
    (
        "template: base",
        "template: bse",
        "merge.yaml:15: save.merged.ckpt.template: `bse` is not an input\n  hint: did you mean `base`?",
    ),
    (
        "template: base",
        "dtype: float33",
        "merge.yaml:15: save.merged.ckpt.dtype: unknown dtype `float33`\n  hint: did you mean `float32`?",
    ),
    (
        "template: base",
        "dtype: int8",
        "merge.yaml:15: save.merged.ckpt.dtype: `int8` does not hold weights\n"
        "  hint: those that do: float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2",
    ),
    (
        "template: base",
        "device: cuda",
        "merge.yaml:15: save.merged.ckpt.device: `device` cannot be `cuda`\n  hint: one of: cpu keep",
    ),
    ("value: merged, ", "", "merge.yaml:15: save.merged.ckpt: the key `value` is missing"),
    (
        "  merged.ckpt: {value: merged, template: base}",
        "",
        "merge.yaml:14: save: `save` is empty\n  hint: for example: merged.ckpt: merged",
    ),
    (
        "save:\n",
        "save:\n  ./merged.ckpt: base\n",
        "merge.yaml:16: save.merged.ckpt: `./merged.ckpt` and `merged.ckpt` would be one file\n"
        "  hint: give each output its own path",
    ),
    (
        "save:",
        "integers: maximum\nsave:",
        "merge.yaml:14: integers: `integers` cannot be `maximum`\n  hint: did you mean `max`?",
    ),
    ("save:", "only: 3\nsave:", "merge.yaml:14: only: `only` must be a list, not `3`"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), MISTAKES, ids=[wrong for _, wrong, _ in MISTAKES])
def test_mistake(right, wrong, expected):
    assert right in RECIPE
    assert message(RECIPE.replace(right, wrong, 1)) == expected


def test_a_recipe_without_a_part_that_it_needs():
    assert message("inputs: {a: a.ckpt}") == (
        "merge.yaml: it saves nothing and shows nothing\n  hint: save: {merged.ckpt: merged}, or show: norm(merged)"
    )
    assert message("inputs: {a: a.ckpt}\nparams: {t: 0}\nshow: norm(a)\nvary: {t: [0, 1]}") == (
        "merge.yaml:4: vary: what varies is measured on what is saved, and nothing is\n"
        "  hint: save: {merged.ckpt: merged}"
    )
    assert message("save: {b.ckpt: a}") == (
        "merge.yaml:1: the key `inputs` is missing\n  hint: for example: base: base.ckpt"
    )


def test_the_first_mistake_in_the_file_is_the_one_that_is_told():
    wrong = RECIPE.replace("template: base", "device: cuda").replace("strip:", "strp:")
    assert message(wrong).startswith("merge.yaml:3: ")


def test_expectations_may_be_joined():
    joined = RECIPE.replace("norm(skill) > 0", "(norm(skill) > 0) & ~all(skill == 0)")
    assert loads(joined).spec.expect == ("(norm(skill) > 0) & ~all(skill == 0)",)


def test_lone_numbers_are_expressions_and_lone_texts_lists():
    text = "inputs: {a: a.ckpt}\nlet: {x: 0.001, y: true}\nshow: norm(a)\nsave: {b.ckpt: a}"
    spec = loads(text).spec
    assert spec.let == {"x": "0.001", "y": "true"}
    assert spec.show == ("norm(a)",)


def test_what_nothing_uses():
    text = RECIPE.replace("rate * skill", "skill").replace("template: base", "template: chat")
    assert loads(text, "merge.yaml").unused() == ("merge.yaml:6: params.rate: nothing uses `rate`",)
    assert loads(RECIPE).unused() == ()


def test_a_template_is_used():
    text = "inputs: {d: {path: d.ckpt, kind: delta}, p: {path: p.ckpt, part: true}, base: b.ckpt, a: a.ckpt}\n"
    assert loads(text + "save: {x.ckpt: a}", "m.yaml").unused() == (
        "m.yaml:1: inputs.d: nothing uses `d`",
        "m.yaml:1: inputs.p: nothing uses `p`",
    )
    assert "m.yaml:1: inputs.base: nothing uses `base`" in (
        loads(text + "save: {x.ckpt: {value: a, template: a}}", "m.yaml").unused()
    )
    assert (
        loads(text + "save: {x.ckpt: a}", "m.yaml").unused(["base"])[-1] == "m.yaml:1: inputs.base: nothing uses `base`"
    )


def test_paths_are_relative_to_the_recipe(tmp_path, monkeypatch):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "merge.yaml").write_text(RECIPE)
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = load(folder / "merge.yaml")
    assert recipe.path == folder / "merge.yaml"
    assert recipe.resolve("base.ckpt") == folder / "base.ckpt"
    assert recipe.resolve("/abs.ckpt").as_posix() == "/abs.ckpt"
    assert recipe.resolve("~/x.ckpt") == tmp_path / "x.ckpt"
    assert recipe.outputs == {"merged.ckpt": "merged.ckpt"}


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "merge.yaml").write_bytes(b"inputs:\n  \xff: x\n")

    def told(path) -> str:
        with pytest.raises(RecipeError) as caught:
            load(path)
        return str(caught.value).replace(str(tmp_path), "")

    assert told(tmp_path / "merg.yaml") == "/merg.yaml: there is no such file\n  hint: did you mean `merge.yaml`?"
    assert told(tmp_path / "no" / "merge.yaml") == "/no/merge.yaml: there is no such file"
    assert told(tmp_path) == ": cannot be read: Is a directory"
    assert told(tmp_path / "merge.yaml") == "/merge.yaml: is not text: byte 10 is not UTF-8"
    said = "is the name of a checkpoint, and a recipe is YAML"
    assert told("a b.ckpt") == (
        f"a b.ckpt: {said}\n  hint: as an input: weightmath run -e \"0.5 * (a + b)\" a='a b.ckpt' b=OTHER -o out.ckpt"
    )


def test_a_home_that_nobody_has_is_a_folder_of_that_name():
    """As in a shell."""
    text = "inputs: {a: ~nobody-of-this-name/a.ckpt}\nsave:\n  out.ckpt: a\n"
    source = loads(text, "r.yaml", Path("/models/r.yaml"))
    assert source.resolve("~nobody-of-this-name/a.ckpt") == Path("/models/~nobody-of-this-name/a.ckpt")
