"""Words, numbers, strings and signs of an expression, and what is known of those that do not belong there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<text>"[^"\n]*"|'[^'\n]*')
      | (?P<sign>\*\*|<=|>=|==|!=|&&|\|\||//|.)""",
    re.VERBOSE | re.ASCII,
)

# Words that other languages have; none of them can be the name of a value.
WORDS = {
    "and": ("there is no `and`", "masks are joined by `&`, each comparison in parentheses: (a > 0) & (b > 0)"),
    "or": ("there is no `or`", "masks are joined by `|`, each comparison in parentheses: (a > 0) | (b > 0)"),
    "not": ("there is no `not`", "a mask is inverted by `~`: ~(a > 0)"),
    "if": ("there is no `if`", "choose with where(mask, a, b)"),
    "else": ("there is no `else`", "choose with where(mask, a, b)"),
    "in": ("there is no `in`", "compare with each and join by `|`: (x == a) | (x == b)"),
    "is": ("there is no `is`", "to compare, write `==`"),
    "for": ("there are no loops or comprehensions", "write the list out: [a, b]"),
    "lambda": ("there is no `lambda`", "give the value a name of its own in `let`"),
    "True": ("there is no `True`", "write `true`"),
    "False": ("there is no `False`", "write `false`"),
    "None": ("there is no `None`", "leave the argument out"),
}
RESERVED = frozenset(WORDS) | {"true", "false"}

SIGNS = {
    "=": ("`=` is for arguments", "to compare, write `==`"),
    "^": ("there is no `^`", "a power is written `**`; masks are joined by `&` and `|`"),
    "&&": ("there is no `&&`", "masks are joined by a single `&`"),
    "||": ("there is no `||`", "masks are joined by a single `|`"),
    "!": ("there is no `!`", "a mask is inverted by `~`"),
    ".": ("there are no attributes and no methods", 'write norm(x, scope="layer"), not x.norm("layer")'),
    "?": ("there is no `?`", "choose with where(mask, a, b)"),
    ":": ("there are no slices", "an index is one whole number: runs[0] is the first, runs[-1] the last"),
    "{": ("there are no tables in an expression", "give the table a name in `params`"),
    "#": ("there are no comments in an expression", "put the comment on a line of its own, above the entry"),
    "\u00a0": ("a no-break space stands here", "write a plain one"),
    "\\": ("a backslash stands outside a string", 'patterns are strings: "re:blocks\\.\\d+"'),
}
# What text programs and web pages make of plain signs.
_TYPOGRAPHIC = {
    "-": ("minus sign", "\u2010\u2011\u2013\u2014\u2212"),
    "*": ("sign", "\u00b7\u00d7\u22c5"),
    "/": ("sign", "\u00f7\u2215"),
    '"': ("quote", "\u201c\u201d\u201e"),
    "'": ("quote", "\u2018\u2019"),
}
for _plain, (_word, _signs) in _TYPOGRAPHIC.items():
    SIGNS |= {sign: (f"`{sign}` is a typographic {_word}", f"write `{_plain}`") for sign in _signs}


@dataclass(frozen=True)
class Token:
    """A word, number, string or sign, and where in the text it stands."""

    kind: str  # number, name, text, sign or end
    text: str
    start: int
    end: int


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text in order, and one of kind `end` last. Any text has tokens; the parser refuses."""
    at = 0
    while found := _TOKEN.match(text, at):
        if found.lastgroup != "space":
            yield Token(str(found.lastgroup), found.group(), at, found.end())
        at = found.end()
    yield Token("end", "", len(text), len(text))


def known_mistake(token: Token) -> tuple[str, str] | None:
    """The fact and the way out, where the token is one that people often bring from elsewhere."""
    if token.kind == "name":
        return WORDS.get(token.text)
    if token.text in ("'", '"'):
        return "a string without its closing quote", "a string ends with the quote that it begins with"
    return SIGNS.get(token.text) if token.kind == "sign" else None
