"""Block weights: strings that people paste, on the tensor names of the real networks."""

import re

import pytest

from tests.families import sd15, sdxl, vae
from weightmath import functions as f
from weightmath.algebra.blocks import ARCHITECTURES, block_of
from weightmath.dtypes import FLOAT32
from weightmath.errors import RecipeError
from weightmath.layout import Entry, Layout


def layout_of(shapes):
    return Layout.of(Entry(name, shape, FLOAT32) for name, shape in shapes.items())


SD15, SDXL = layout_of(sd15()), layout_of(sdxl())
# The preset SMOOTHSTEP*3 of the tools, rounded: 26 numbers that all differ.
PRESET = (
    "0.9,0,.015,.059,.129,.222,.336,.469,.617,.778,.949,.872,.687,.5,"
    ".313,.128,.051,.223,.383,.531,.664,.779,.871,.941,.985,1"
)


def merge_block_weighted(name, numbers):
    """What merge-block-weighted would take for a tensor of SD 1.x: its rule, written out."""
    base, rest = numbers[0], numbers[1:]
    if not name.startswith("model.diffusion_model."):
        return base
    if "time_embed" in name:
        return rest[0]
    if ".out." in name:
        return rest[24]
    side, number = re.search(r"\.(input_blocks|middle_block|output_blocks)\.(\d+)\.", name).groups()
    return rest[{"input_blocks": 0, "middle_block": 12, "output_blocks": 13}[side] + (side[0] != "m") * int(number)]


def test_a_pasted_string_means_what_it_means_in_the_tools():
    numbers = [float(number) for number in PRESET.split(",")]
    values = f.blocks("sd15", PRESET).option("rule").values(SD15)
    assert len(numbers) == 26
    assert [merge_block_weighted(name, numbers) for name in SD15.names] == values.tolist()


def test_numbers_without_base_need_one_for_it():
    short = PRESET.partition(",")[2]
    with pytest.raises(RecipeError) as error:
        f.blocks("sd15", short)
    assert str(error.value) == "no number for BASE\n  hint: otherwise=0 gives 0 to the blocks that are not listed"
    with_base = f.blocks("sd15", short, otherwise=0.9).option("rule").values(SD15)
    assert with_base.tolist() == f.blocks("sd15", PRESET).option("rule").values(SD15).tolist()


def test_sdxl_has_its_own_list():
    numbers = [i / 20 for i in range(20)]
    rule = f.blocks("sdxl", ",".join(map(str, numbers))).option("rule")
    found = {part.label: (part.number, len(part.tensors)) for part in rule.describe(SDXL).parts}
    assert [found[block][0] for block in ARCHITECTURES["sdxl"].blocks] == numbers
    assert found["BASE"] == (0.0, 197 + 390)
    assert found["VAE (as BASE)"] == (0.0, 248)
    assert found["TIME (as IN00)"] == (numbers[1], 8)
    assert found["FINAL (as OUT08)"] == (numbers[-1], 4)
    assert sum(count for _, count in found.values()) == 2515


def test_the_short_form_has_the_blocks_with_attention():
    for architecture, layout in (("sd15", SD15), ("sdxl", SDXL)):
        with_attention = {block_of(name) for name in layout.names if ".attn" in name and "diffusion" in name}
        assert {*ARCHITECTURES[architecture].attention} == with_attention | {"BASE"}
    rule = f.blocks("sd15", ",".join(["1"] * 17), otherwise=0).option("rule")
    found = {part.label: part.number for part in rule.describe(SD15).parts}
    assert {block for block, number in found.items() if number == 0} >= {"IN00", "IN03", "OUT00", "TIME (as IN00)"}


def test_blocks_by_name_and_tensors_that_no_list_has():
    rule = f.blocks("sd15", "BASE=0, in00-in11 = 0.25 M00=1 OUT00-OUT11=0.5, VAE=1 TIME=0.75").option("rule")
    found = {part.label: part.number for part in rule.describe(SD15).parts}
    assert found["BASE"] == found["REST (as BASE)"] == 0
    assert found["VAE"] == 1
    assert found["TIME"] == 0.75
    assert found["IN07"] == 0.25
    assert found["FINAL (as OUT11)"] == 0.5
    assert (
        f.blocks("sd15", PRESET + ", TIME=0")
        .option("rule")
        .values(SD15)[SD15.index["model.diffusion_model.time_embed.0.bias"]]
        == 0.0
    )


def test_the_table_of_tensors_per_block():
    described = f.blocks("sd15", "BASE=0", otherwise=1).option("rule").describe(SD15)
    assert described.rule == "blocks('sd15', 'BASE=0', otherwise=1)"
    assert described.note == (
        "BASE is the text encoder; VAE is first_stage_model; TIME is time_embed and label_emb; "
        "FINAL is the network's out; REST is what belongs to no block"
    )
    assert [(part.label, len(part.tensors)) for part in described.parts if part.label[:3] not in ("IN0", "OUT")] == [
        ("BASE", 197),
        ("IN10", 10),
        ("IN11", 10),
        ("M00", 46),
        ("VAE (as BASE)", 248),
        ("TIME (as IN00)", 4),
        ("FINAL (as OUT11)", 4),
        ("REST (as BASE)", 12),
    ]


@pytest.mark.parametrize(
    ("architecture", "text", "message"),
    [
        (
            "sd",
            "1",
            "blocks(): `architecture` cannot be `sd`\n  hint: did you mean `sd2`?",
        ),
        (
            "sd15",
            "1,1,1",
            "3 numbers fit no list of blocks of sd15\n  hint: a list has 26 (BASE to OUT11), 25 (IN00 to OUT11), "
            "17 (BASE to OUT11) numbers; or write names: IN00-IN03=0.5",
        ),
        ("sd15", ",".join("1" * 20), '20 numbers fit no list of blocks of sd15\n  hint: they fit "sdxl"'),
        (
            "sdxl",
            ",".join(str(i) for i in range(26)),
            "26 numbers fit no list of blocks of sdxl\n  hint: these are of SD 1.x; supermerger takes for SDXL: "
            '"0,1,2,3,4,5,6,7,8,9,13,14,15,16,17,18,19,20,21,22"',
        ),
        (
            "sd15",
            "0,R,0",
            "`R` is not a number\n  hint: numbers first, then names: IN04=0.5, OUT03-OUT06=1",
        ),
        ("sd15", "IN12=1", "`IN12` is not a block of sd15\n  hint: did you mean `IN11`?"),
        ("sdxl", "X=1", "`X` is not a block of sdxl\n  hint: the blocks of sdxl are BASE to OUT08"),
        (
            "sd15",
            "IN03-IN01=1",
            "`IN03-IN01=1` is not of the form FIRST-LAST=number\n  hint: for example: OUT03-OUT06=0.5",
        ),
        ("sd15", "IN03=1, IN01-IN04=0", "the block IN03 has two numbers"),
        ("sd15", "IN03=", "`` is not a number\n  hint: numbers first, then names: IN04=0.5, OUT03-OUT06=1"),
        (
            "sd15",
            "BASE=1",
            "no number for IN00, IN01, IN02, IN03 and 21 more\n"
            "  hint: otherwise=0 gives 0 to the blocks that are not listed",
        ),
    ],
)
def test_strings_that_cannot_be_meant(architecture, text, message):
    with pytest.raises(RecipeError) as error:
        f.blocks(architecture, text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("architecture", "shapes", "message"),
    [
        (
            "sdxl",
            sd15(),
            "`cond_stage_model.transformer.text_model.embeddings.position_embedding.weight` is no tensor of sdxl\n"
            '  hint: is it "sd15" or "sd2"?',
        ),
        (
            "sd15",
            sdxl(),
            "`conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight` "
            "is no tensor of sd15\n"
            '  hint: is it "sd2" or "sdxl"?',
        ),
        (
            "sd15",
            vae(),
            "no tensor lies in a block: none begins with `model.diffusion_model.input_blocks.` or its like\n"
            "  hint: names of Diffusers (down_blocks) are not those of the original; a prefix goes with `rename:`",
        ),
    ],
)
def test_networks_that_it_is_not(architecture, shapes, message):
    layout = layout_of({name: shape for name, shape in shapes.items() if not name.endswith("position_ids")})
    with pytest.raises(RecipeError) as error:
        f.blocks(architecture, "BASE=0", otherwise=1).option("rule").values(layout)
    assert str(error.value) == message
