"""What the shell offers after TAB, asked for as bash asks."""

import pytest
from typer.testing import CliRunner

from weightmath.cli.app import program


@pytest.fixture
def offered(folder):
    """The words that complete a command line whose last word is incomplete."""

    def ask(*words):
        line = ["weightmath", *words]
        environment = {
            "_WEIGHTMATH_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(line),
            "COMP_CWORD": str(len(line) - 1),
        }
        ran = CliRunner().invoke(program(), [], prog_name="weightmath", env=environment)
        return ran.output.split()

    return ask


def test_functions_and_methods(offered):
    assert offered("functions", "keep_") == ["keep_largest", "keep_smallest"]
    assert offered("methods", "wei") == ["weighted_average"]


def test_recipes_to_begin_with(offered):
    assert offered("new", "diffusion/b") == ["diffusion/bake_vae", "diffusion/block_weights"]


def test_what_the_recipe_defines(offered):
    assert offered("run", "recipe.yaml", "--set", "s") == ["strength="]
    assert offered("plan", "recipe.yaml", "--input", "c") == ["chat=", "code="]
    assert offered("run", "recipe.yaml", "-o", "m") == ["merged.ckpt="]


def test_a_recipe_that_cannot_be_read_offers_nothing(offered):
    assert offered("run", "nothing.yaml", "--set", "s") == []
    assert offered("run", "--set", "s") == []
