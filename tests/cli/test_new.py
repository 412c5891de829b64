"""`weightmath new`: recipes to begin with."""

import json

from weightmath.gallery import starters
from weightmath.recipe import load


def test_it_lists_what_there_is(cli):
    ran = cli("new")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("weightmath new KIND, for whoever wants to ...\n")
    words = " ".join(ran.out.split())
    for one in starters().values():
        assert f"{one.kind} {one.want}" in words
    assert json.loads(cli("new", "--json").out)["recipes"][0] == {
        "kind": "apply_delta",
        "want": "put a difference that finetune_delta.yaml saved back on its base: all of it, or part of it.",
    }


def test_each_recipe_can_be_begun_with(cli, folder):
    for kind in starters():
        (folder / "at").mkdir(exist_ok=True)
        path = folder / "at" / f"{kind.replace('/', '-')}.yaml"
        ran = cli("new", kind, "-o", path)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == f"{path}: change its paths, then: weightmath plan {path}\n"
        assert load(path).text == starters()[kind].text
        assert cli("check", path).code == 0


def test_it_is_called_like_the_recipe(cli, folder):
    assert cli("new", "block_weights").code == 0
    assert (folder / "block_weights.yaml").read_text() == starters()["diffusion/block_weights"].text
    ran = cli("new", "diffusion/block_weights")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: block_weights.yaml: exists\n  hint: -o another.yaml, or --force to replace it\n"
    assert cli("new", "block_weights", "--force", "--json").out == (
        '{\n  "kind": "diffusion/block_weights",\n  "path": "block_weights.yaml"\n}\n'
    )


def test_it_can_be_printed(cli, folder):
    before = set(folder.iterdir())
    assert cli("new", "wise_ft", "-o", "-").out == starters()["vision/wise_ft"].text
    assert set(folder.iterdir()) == before


def test_mistakes(cli, folder):
    ran = cli("new", "tie")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: there is no recipe `tie` in the gallery\n  hint: did you mean `ties`?\n"
    ran = cli("new", "ties", "-o", folder)
    assert ran.err == f"error: {folder}: is a folder\n  hint: -o {folder}/ties.yaml\n"
    assert cli("new", "ties", "-o", "nowhere/x.yaml").err == (
        "error: nowhere/x.yaml: its folder does not exist\n  hint: mkdir -p nowhere\n"
    )
