"""YAML as recipes have it: our own scalars, every value's line, and a whole message for each trap."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightmath.errors import RecipeError
from weightmath.recipe.document import load, scalar


def message(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(text, "merge.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("-.5E+2", -50.0),
        ("7", 7),
        ("010", 10),
        ("-3", -3),
        ("1.", 1.0),
        ("1e999", float("inf")),
        ("9" * 400, float("inf")),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        ("nan", "nan"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("~mask", "~mask"),
        ("a + 1", "a + 1"),
    ],
)
def test_scalars(text, expected):
    for value in (scalar(text), load(f"x: {text}", "merge.yaml").data["x"]):
        assert value == expected
        assert type(value) is type(expected)


def test_quoted_scalars_and_keys_are_text():
    data = load("'1': '2'\n3: \"4\"\non: 'true'\n1e-3: |\n  5\n", "merge.yaml").data
    assert data == {"1": "2", "3": "4", "on": "true", "1e-3": "5\n"}


def test_lines_and_places():
    text = "# a comment\ninputs:\n  base: base.ckpt\n\nshow:\n  - norm(a)\n  - >\n    norm(\n    b)\nlet: {x: a}\n"
    document = load(text, "merge.yaml")
    assert document.data["show"] == ["norm(a)", "norm( b)\n"]
    assert document.lines[("inputs", "base")] == 3
    assert document.where(("show", 1)) == "merge.yaml:7: show[1]"
    assert document.where(("let", "x")) == "merge.yaml:10: let.x"
    assert document.where(("inputs", "base", "strip")) == "merge.yaml:3: inputs.base"
    assert document.where(()) == "merge.yaml:2"


def test_backslashes_are_plain():
    text = 'a: \'re:x\\.(\\d+)\'\nb: re:x\\.(\\d+)\nc: "only(x, \\"*\\")"\nd: |\n  \\b'
    assert load(text, "merge.yaml").data == {"a": r"re:x\.(\d+)", "b": r"re:x\.(\d+)", "c": 'only(x, "*")', "d": r"\b"}


def test_windows_line_ends_and_byte_order_mark():
    assert load("\ufeffa: b\r\nc: d\r\n", "merge.yaml").data == {"a": "b", "c": "d"}


BACKSLASH = "use single quotes, where a backslash is plain: 're:blocks\\.\\d+'"
MESSAGES = {
    "": "merge.yaml: the recipe is empty\n  hint: it has at least `inputs:`, and `save:` or `show:`",
    "- a": "merge.yaml: a recipe is a mapping, and this is none\n"
    "  hint: it has at least `inputs:`, and `save:` or `show:`",
    "let: {out: lerp(a, b, 0.5)}": """\
merge.yaml:1: let: inside braces and brackets YAML cuts `lerp(a, b, 0.5)` at its commas
  let: {out: lerp(a, b, 0.5)}
             ^^^^^^^^^^^^^^^
  hint: give it a line of its own, or quote it: 'lerp(a, b, 0.5)'""",
    "params: {t: {'*.attn*': ramp(0, 1)}}": """\
merge.yaml:1: params.t: inside braces and brackets YAML cuts `ramp(0, 1)` at its commas
  params: {t: {'*.attn*': ramp(0, 1)}}
                          ^^^^^^^^^^
  hint: give it a line of its own, or quote it: 'ramp(0, 1)'""",
    "show: [2 * norm(a, scope='layer') + 1, b]": """\
merge.yaml:1: show: inside braces and brackets YAML cuts `2 * norm(a, scope='layer') + 1` at its commas
  show: [2 * norm(a, scope='layer') + 1, b]
         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: give it a line of its own, or quote it: '2 * norm(a, scope=''layer'') + 1'""",
    "let: {avg: mean(runs[-1])}": """\
merge.yaml:1:21: inside braces and brackets YAML reads `[ ] { } ,` itself
  let: {avg: mean(runs[-1])}
                      ^^^
  hint: give the entry a line of its own, or quote the expression""",
    "only: *attn*": """\
merge.yaml:1:7: an unquoted `*attn*` is an alias or anchor of YAML
  only: *attn*
        ^^^^^^
  hint: quote it: "*attn*\"""",
    "only: *attn": """\
merge.yaml:1:7: an unquoted `*attn` is an alias or anchor of YAML
  only: *attn
        ^^^^^
  hint: quote it: "*attn\"""",
    "t:\n  *.bias: 0": """\
merge.yaml:2:3: an unquoted `*.bias` is an alias or anchor of YAML
    *.bias: 0
    ^^^^^^
  hint: quote it: "*.bias\"""",
    "a: &x 1": """\
merge.yaml:1:4: an unquoted `&x` is an alias or anchor of YAML
  a: &x 1
     ^^
  hint: quote it: "&x\"""",
    "a: !!python/object/apply:os.system [ls]": """\
merge.yaml:1:4: an unquoted `!!python/object/apply:os.system` is a tag of YAML
  a: !!python/object/apply:os.system [ls]
     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: quote it: "!!python/object/apply:os.system\"""",
    'a: "\\bx"': f"""\
merge.yaml:1:5: inside double quotes YAML changes backslashes
  a: "\\bx"
      ^^
  hint: {BACKSLASH}""",
    'a: "re:\\d+"': f"""\
merge.yaml:1:8: inside double quotes YAML changes backslashes
  a: "re:\\d+"
         ^^
  hint: {BACKSLASH}""",
    "let:\n  x: 1\n  y: 2\n  x: 3": "merge.yaml:4: let.x: `x` is given twice, first in line 2\n  hint: keep one",
    "a: b: c": """\
merge.yaml:1:5: YAML finds a second `key: value` here
  a: b: c
      ^
  hint: quote a value that holds a colon and a space; else look for a missing colon or a wrong indent just above""",
    "a:\n\tb: c": """\
merge.yaml:2:1: a tab cannot indent YAML
   b: c
  ^
  hint: use spaces""",
    "a: @x": """\
merge.yaml:1:4: an unquoted value cannot begin with `@x`
  a: @x
     ^^
  hint: quote it: "@x\"""",
    "let:\n  x: [a, b][0]": """\
merge.yaml:2:12: for YAML the value ends before this
    x: [a, b][0]
             ^^
  hint: quote the whole value where it begins with a bracket or a quote: '[a, b][0]'""",
    "let:\n  x: 1\n y: 2": """\
merge.yaml:3:2: this line is indented unlike its neighbours
   y: 2
   ^
  hint: entries of one block begin in one column""",
    "a: 'abc": """\
merge.yaml:1:4: what opens here is never closed
  a: 'abc
     ^""",
    "a: {b: 1": """\
merge.yaml:1:4: what opens here is never closed
  a: {b: 1
     ^""",
    "a: 1\n---\nb: 2": """\
merge.yaml:2:1: a recipe is one YAML document, and here another begins
  ---
  ^^^
  hint: remove the `---`""",
    "? [a]\n: b": """\
merge.yaml:1:3: a key is missing, or is not plain text
  ? [a]
    ^^
  hint: write `name: value`""",
    "a: \x00": """\
merge.yaml:1:4: the character '\\x00' does not belong in a text file
  a:  
     ^""",  # noqa: W291
    "a: - b": """\
merge.yaml:1:4: invalid YAML: sequence entries are not allowed here
  a: - b
     ^""",
}


@pytest.mark.parametrize("text", MESSAGES, ids=repr)
def test_message(text):
    assert message(text) == MESSAGES[text]


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{a: " * 5000, "- " * 5000 + "a"], ids=["list", "map", "block"])
def test_deep_nesting_is_refused(text):
    assert ": the recipe is nested too deep\n" in message(text)


@given(st.text(alphabet="ab1:-?{}[],&*!|>'\"%@`#\\ \n\t(.~=<\x00\x85\u2028", max_size=40))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(RecipeError):
        assert isinstance(load(text, "merge.yaml").data, dict)
