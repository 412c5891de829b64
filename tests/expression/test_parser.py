"""The grammar: one valid line followed by its invalid neighbours, each with its whole message."""

import ast
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightmath.errors import RecipeError
from weightmath.expression import names_in, parse
from weightmath.expression.nodes import Binary, Call, Index, Literal, Name, excerpt, postorder


def message(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(text)
    return str(caught.value)


def test_precedence_is_pythons():
    tree = parse("a + b * -c ** 2")
    assert isinstance(tree, Binary)
    assert tree.sign == "+"
    assert [type(node).__name__ for node in postorder(tree)] == [
        *("Name", "Name", "Name", "Literal", "Binary", "Unary", "Binary", "Binary"),
    ]


def test_calls_lists_and_indices():
    tree = parse('f(runs[-1], [a, 1e-3,], scope="re:x\\.(\\d+)")')
    assert isinstance(tree, Call)
    assert tree.arguments[0] == Index(2, 10, Name(2, 6, "runs"), -1)
    assert dict(tree.keywords)["scope"].value == "re:x\\.(\\d+)"  # backslashes are plain


def test_names_in_the_order_of_use():
    assert names_in("norm(b) + a * b - f(c, d=e)") == ("b", "a", "c", "e")


def test_a_line_break_is_a_space():
    assert names_in("a +\n  b") == ("a", "b")


def test_spans_are_the_source():
    text = "base + (a - b) * f( c )"
    assert {text[node.start : node.end] for node in postorder(parse(text))} == {
        *("base", "a", "b", "c", "a - b", "f( c )", "(a - b) * f( c )", text),
    }


MASKS = "(a > 0) & (b > 0)"
MESSAGES = {
    "": "the expression is empty",
    "a > b & c": """\
`&` binds more tightly than `>`: this compares with `b & c`
  a > b & c
      ^^^^^
  hint: put each comparison in parentheses: (a > 0) & (b > 0)""",
    "a | b == c": """\
`|` binds more tightly than `==`: this compares with `a | b`
  a | b == c
  ^^^^^
  hint: put each comparison in parentheses: (a > 0) | (b > 0)""",
    "a < b <= c": """\
comparisons cannot be chained
  a < b <= c
        ^^
  hint: compare twice and join the masks: (a < b) & (b < c)""",
    "a and b": f"""\
there is no `and`
  a and b
    ^^^
  hint: masks are joined by `&`, each comparison in parentheses: {MASKS}""",
    "not a": """\
there is no `not`
  not a
  ^^^
  hint: a mask is inverted by `~`: ~(a > 0)""",
    "a if m else b": """\
there is no `if`
  a if m else b
    ^^
  hint: choose with where(mask, a, b)""",
    "a in [b]": """\
there is no `in`
  a in [b]
    ^^
  hint: compare with each and join by `|`: (x == a) | (x == b)""",
    "lambda x: x": """\
there is no `lambda`
  lambda x: x
  ^^^^^^
  hint: give the value a name of its own in `let`""",
    "f(a, lambda=1)": """\
`lambda` is not the name of an argument
  f(a, lambda=1)
       ^^^^^^
  hint: the factor of a merged delta is called `scale`""",
    "[x for x in a]": """\
there are no loops or comprehensions
  [x for x in a]
     ^^^
  hint: write the list out: [a, b]""",
    "a.norm()": """\
there are no attributes and no methods
  a.norm()
   ^
  hint: write norm(x, scope="layer"), not x.norm("layer")""",
    "a ^ 2": """\
there is no `^`
  a ^ 2
    ^
  hint: a power is written `**`; masks are joined by `&` and `|`""",
    "a % 2": """\
`%` does not belong here
  a % 2
    ^
  hint: the operators are + - * / ** == != < <= > >= & | ~""",
    "m = a": """\
`=` is for arguments
  m = a
    ^
  hint: to compare, write `==`""",
    "runs[-5:]": """\
there are no slices
  runs[-5:]
         ^
  hint: an index is one whole number: runs[0] is the first, runs[-1] the last""",
    "runs[a]": """\
an index is one whole number
  runs[a]
       ^
  hint: runs[0] is the first, runs[-1] the last""",
    "2 base": """\
`base` does not belong here
  2 base
    ^^^^
  hint: is a `*` or a comma missing?""",
    "0x10": """\
`0x10` is not a number
  0x10
  ^^^^
  hint: numbers are decimal: 7, 0.5, 1e-3""",
    "1e999": """\
`1e999` is too large for a float64
  1e999
  ^^^^^""",
    'f"{a}"': """\
a string has no prefix, and here `f` is one
  f"{a}"
  ^^^^^^
  hint: backslashes are plain in every string: "re:\\d+\"""",
    "only(a, 'x)": """\
a string without its closing quote
  only(a, 'x)
          ^
  hint: a string ends with the quote that it begins with""",
    "f(a, b": """\
`)` is missing at the end
  f(a, b
        ^""",
    "a + b)": """\
`)` closes nothing
  a + b)
       ^""",
    "a +": """\
the expression ends where a value should follow
  a +
     ^""",
    "f(x=a, b)": """\
an argument without a name follows one with a name
  f(x=a, b)
         ^
  hint: put it in front of them""",
    "f(a, x=1, x=2)": """\
`x` is given twice
  f(a, x=1, x=2)
            ^
  hint: leave one out""",
    "f(*runs)": """\
`*` stands where a value should be
  f(*runs)
    ^""",
    "a \u2212 b": """\
`\u2212` is a typographic minus sign
  a \u2212 b
    ^
  hint: write `-`""",
    "a \u2013 b": """\
`\u2013` is a typographic minus sign
  a \u2013 b
    ^
  hint: write `-`""",
    "norm(a, scope=\u2019layer\u2019)": """\
`\u2019` is a typographic quote
  norm(a, scope=\u2019layer\u2019)
                ^
  hint: write `'`""",
    "a\u00a0+ b": """\
a no-break space stands here
  a + b
   ^
  hint: write a plain one""",
    "a +\n b c": """\
`c` does not belong here
   b c
     ^
  hint: is a `*` or a comma missing?""",
}


@pytest.mark.parametrize("text", MESSAGES, ids=repr)
def test_message(text):
    assert message(text) == MESSAGES[text]


@pytest.mark.parametrize("nested", ["({})", "f({})", "[{}]", "-{}", "2 ** {}"])
def test_depth_is_bounded(nested):
    def text(depth: int) -> str:
        inside = "a"
        for _ in range(depth):
            inside = nested.format(inside)
        return inside

    parse(text(64))
    assert message(text(65)).startswith("the expression is nested more than 64 deep\n")
    beside = "(a) + f(a) + [a] + -a + 2 ** a + "
    parse(beside + text(64))
    assert message(beside + text(65)).startswith("the expression is nested more than 64 deep\n")


def test_deep_precedence_in_deep_brackets_stays_within_the_stack():
    parse("(a | a & a + a * " * 64 + "a" + ")" * 64)


def test_long_sums_are_not_deep_but_have_an_end():
    assert len(list(postorder(parse("+".join(["a"] * 4000))))) == 7999
    assert message("+".join(["a"] * 6000)).startswith("the expression has more than 10,000 parts\n")


@pytest.mark.parametrize("start", [0, 10, 41, 50, 100, 149, 195])
def test_long_lines_are_cut_around_the_carets(start):
    text = "".join(chr(0x4E00 + i) for i in range(200))
    line, carets = excerpt(f"first\n{text}\nlast", 6 + start, 6 + start + 5).splitlines()
    assert line[carets.index("^") : carets.rindex("^") + 1] == text[start : start + 5]
    shown = line.strip().strip(".")
    assert text[max(start - 40, 0) : start + 5] in shown
    assert len(shown) <= 90
    assert line.startswith("  ...") == (not text.startswith(shown))
    assert line.endswith("...") == (not text.endswith(shown))


def test_a_line_of_a_hundred_letters_is_whole():
    assert excerpt("a" * 100, 98, 100).splitlines()[0] == "  " + "a" * 100
    assert excerpt("a" * 101, 0, 1).splitlines()[0] == "  " + "a" * 90 + "..."


def test_carets_stay_within_their_line():
    assert excerpt("a +\nb", 0, 5) == "  a +\n  ^^^"
    assert excerpt("a +", 3, 4) == "  a +\n     ^"


@given(st.text(alphabet="ab1.e+-*/()[],<>=&|~\"' #\\x\n", max_size=30))
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(RecipeError):
        assert all(0 <= node.start < node.end <= len(text) for node in postorder(parse(text)))


NUMBERS = st.floats(0, 1e6, allow_nan=False).map(repr) | st.integers(0, 99).map(str)
SIGNS = st.sampled_from([" + ", "-", " * ", " / ", " ** ", " & ", " | "])
TEXTS = st.recursive(
    NUMBERS,
    lambda inner: (
        st.builds("({}{}{})".format, inner, SIGNS, inner)
        | st.builds("{}{}{}".format, inner, SIGNS, inner)
        | st.builds("{}{}".format, st.sampled_from("-~"), inner)
    ),
    max_leaves=8,
)


@given(TEXTS)
def test_structure_agrees_with_python(text):
    ours = [text[node.start : node.end].strip() for node in postorder(parse(text)) if not isinstance(node, Literal)]
    theirs = [
        ast.get_source_segment(text, node)
        for node in ast.walk(ast.parse(text, mode="eval"))
        if isinstance(node, ast.BinOp | ast.UnaryOp)
    ]
    assert sorted(ours) == sorted(theirs)
