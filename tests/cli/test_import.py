"""`weightmath import`: a recipe out of a configuration of mergekit."""

import json

from weightmath.recipe import load

CONFIG = """\
merge_method: ties
base_model: base.ckpt
models: [{model: chat.ckpt}, {model: code.ckpt}]
parameters: {weight: 1, density: 0.5}
"""


def test_it_prints_a_recipe_that_stands(cli, folder):
    (folder / "config.yml").write_text(CONFIG)
    before = set(folder.iterdir())
    ran = cli("import", "config.yml")
    assert (ran.code, ran.err) == (0, "")
    assert "  merged: ties(base, [chat, code], densities=densities)\n" in ran.out
    assert set(folder.iterdir()) == before


def test_it_writes_a_recipe_that_runs(cli, folder):
    (folder / "config.yml").write_text(CONFIG + "tokenizer_source: base\n")
    ran = cli("import", "config.yml", "-o", "merge.yaml", "--like", "mergekit")
    assert ran.code == 0
    assert ran.out == (
        "merge.yaml: 2 comments where mergekit computes something else; see what it would do: weightmath plan "
        "merge.yaml\n"
    )
    assert ran.err.startswith("left out: tokenizer_source: the output keeps the vocabulary of its template")
    assert 'scope="tensor"' in load("merge.yaml").spec.let["merged"]
    assert cli("run", "merge.yaml").code == 0
    assert (folder / "merged.ckpt").exists()


def test_paths_are_seen_from_the_recipe(cli, folder):
    (folder / "config.yml").write_text(CONFIG)
    (folder / "recipes").mkdir()
    assert cli("import", "config.yml", "-o", "recipes/merge.yaml").code == 0
    assert load(folder / "recipes" / "merge.yaml").spec.inputs["chat"].path == "../chat.ckpt"
    assert cli("run", "recipes/merge.yaml").code == 0


def test_as_json(cli, folder):
    (folder / "config.yml").write_text(CONFIG)
    record = json.loads(cli("import", "config.yml", "--json").out)
    assert list(record) == ["config", "recipe", "text", "differences", "left_out"]
    assert (record["config"], record["recipe"], record["left_out"]) == ("config.yml", None, [])
    assert record["differences"][0]["entry"] == "merged"
    assert "whole model, as in the paper" in record["differences"][0]["what"]


def test_mistakes(cli, folder):
    (folder / "config.yml").write_text(CONFIG + "dtpye: float16\n")
    ran = cli("import", "config.yml", "-o", "new.yaml")
    assert (ran.code, ran.out) == (2, "")
    message = "config.yml:5: dtpye: mergekit has no key `dtpye` here\n  hint: did you mean `dtype`?\n"
    assert ran.err == f"error: {message}"
    assert not (folder / "new.yaml").exists()
    ran = cli("import", "config.yml", "--like", "peft")
    assert ran.err == "error: --like: results can be like mergekit's, not like `peft`\n  hint: --like mergekit\n"
    ran = cli("import", "config.yml", "-o", "recipe.yaml")
    assert ran.err == "error: recipe.yaml: exists\n  hint: -o another.yaml, or --force to replace it\n"
    assert cli("import", "config.yml", "-o", ".").err == "error: .: is a folder\n  hint: -o config.yml\n"
    assert cli("import", "nowhere.yml").err == "error: nowhere.yml: No such file or directory\n"
    (folder / "config.yml").write_bytes(b"\xff")
    assert cli("import", "config.yml").err == "error: config.yml: is not text: byte 0 is not UTF-8\n"
