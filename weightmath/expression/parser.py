"""The grammar of expressions: text becomes a tree of nodes, and nothing is evaluated.

A parser of our own rather than Python's `ast`: messages and positions are then the same on every version of Python,
sums of thousands of terms need no recursion, backslashes stay plain, and what the grammar lacks (attributes, lambda,
comprehensions) cannot be reached at all. Precedence is Python's, from loosest to tightest:

    == != < <= > >=     one comparison, never a chain
    |
    &
    + -
    * /
    -x ~x
    **                  binds to the right
    f(x, name=y)  x[0]  numbers, strings, true, false, names, lists, parentheses
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from weightmath.errors import RecipeError
from weightmath.expression.nodes import (
    COMPARISONS,
    Binary,
    Call,
    Index,
    ListOf,
    Literal,
    Name,
    Node,
    Unary,
    excerpt,
    postorder,
)
from weightmath.expression.tokens import WORDS, Token, known_mistake, tokens

MAX_DEPTH = 64
MAX_NODES = 10_000

_POWERS = dict.fromkeys(COMPARISONS, 1) | {"|": 2, "&": 3, "+": 4, "-": 4, "*": 5, "/": 5}
_SPLIT = "give parts of it names of their own in `let`"
_OPERATORS = "+ - * / ** == != < <= > >= & | ~"


@lru_cache(maxsize=1024)
def parse(text: str) -> Node:
    """The tree of an expression.

    Fails with RecipeError for anything outside the grammar, nesting deeper than 64 and more than 10,000 nodes; the
    message shows the line with a caret, and the way to say it. The place in the recipe is for the caller to add.
    """
    return _Parser(text).whole()


def names_in(text: str) -> tuple[str, ...]:
    """The names of values that an expression uses, in order of first use; names of functions are not among them."""
    return tuple(dict.fromkeys(node.name for node in postorder(parse(text)) if isinstance(node, Name)))


class _Parser:
    """Precedence climbing over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tuple(tokens(text))
        self.at = 0
        self.depth = 0
        self.nodes = 0

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    @property
    def end(self) -> int:
        """Where the last token that was taken ends."""
        return self.tokens[self.at - 1].end

    def error(self, fact: str, hint: str | None, start: int, end: int) -> RecipeError:
        return RecipeError(f"{fact}\n{excerpt(self.text, start, end)}", hint=hint)

    def error_at(self, token: Token, fact: str, hint: str | None = None) -> RecipeError:
        """The error for this token: `fact`, unless the token is itself a well-known mistake."""
        fact, hint = known_mistake(token) or (fact, hint)
        return self.error(fact, hint, token.start, token.end)

    def take(self) -> Token:
        token = self.next
        self.at += 1
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.error(f"the expression has more than {MAX_NODES:,} parts", _SPLIT, token.start, token.end)
        return token

    def deeper(self, token: Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"the expression is nested more than {MAX_DEPTH} deep", _SPLIT, token.start, token.end)

    def whole(self) -> Node:
        if self.next.kind == "end":
            raise RecipeError("the expression is empty")
        root = self.expression(1)
        token = self.next
        if token.kind != "end":
            closing = token.text in (")", "]")
            raise self.unexpected(token, f"`{token.text}` closes nothing" if closing else None)
        return root

    def unexpected(self, token: Token, fact: str | None = None) -> RecipeError:
        """The error for a token that stands where only an operator could go on."""
        before = self.tokens[self.at - 1]
        adjacent = before.end == token.start
        if adjacent and before.kind == "number" and token.kind in ("number", "name"):
            written = self.text[before.start : token.end]
            return self.error(
                f"`{written}` is not a number", "numbers are decimal: 7, 0.5, 1e-3", before.start, token.end
            )
        if adjacent and before.kind == "name" and token.kind == "text":
            fact = f"a string has no prefix, and here `{before.text}` is one"
            hint = 'backslashes are plain in every string: "re:\\d+"'
            return self.error(fact, hint, before.start, token.end)
        after = self.tokens[self.at + 1] if token.kind != "end" else token
        if token.text == "," and before.kind == after.kind == "number" and before.end + 1 == after.start:
            written, meant = self.text[before.start : after.end], f"{before.text}.{after.text}"
            return self.error(f"`{written}` is not a number", f"write {meant}", before.start, after.end)
        value = token.kind in ("number", "name", "text") or token.text in ("(", "[")
        hint = "is a `*` or a comma missing?" if value else f"the operators are {_OPERATORS}"
        return self.error_at(token, fact or f"`{token.text}` does not belong here", None if fact else hint)

    def expression(self, power: int) -> Node:
        """Operands joined by signs that bind at least as tightly as `power`."""
        start = self.next.start
        left = self.operand()
        while _POWERS.get(self.next.text, 0) >= power:
            sign = self.take()
            right_start = self.next.start
            right = self.expression(_POWERS[sign.text] + 1)
            if sign.text in COMPARISONS:
                self.check_comparison(sign, (left, start), (right, right_start))
            left = Binary(start, self.end, sign.text, left, right)
        return left

    def check_comparison(self, sign: Token, left: tuple[Node, int], right: tuple[Node, int]) -> None:
        """Refuse a chain, and `a > b & c`, which Python and we read as `a > (b & c)` but no one means."""
        chained = self.next.text in COMPARISONS
        for node, start in (left, right):
            # A node in parentheses begins after them; this one has none of its own.
            if isinstance(node, Binary) and node.sign in ("&", "|") and node.start == start:
                hint = f"put each comparison in parentheses: (a > 0) {node.sign} (b > 0)"
                fact = f"`{node.sign}` binds more tightly than `{sign.text}`: this compares with `{self.source(node)}`"
                raise self.error(fact, hint, node.start, node.end)
        if chained:
            hint = "compare twice and join the masks: (a < b) & (b < c)"
            raise self.error_at(self.next, "comparisons cannot be chained", hint)

    def source(self, node: Node) -> str:
        return " ".join(self.text[node.start : node.end].split())

    def operand(self) -> Node:
        """A sign and its operand, or a primary and its exponent."""
        token = self.next
        if token.text in ("-", "~"):
            self.take()
            self.deeper(token)
            operand = self.operand()
            self.depth -= 1
            return Unary(token.start, self.end, token.text, operand)
        base = self.indexed()
        if self.next.text != "**":
            return base
        self.deeper(self.take())
        exponent = self.operand()
        self.depth -= 1
        return Binary(token.start, self.end, "**", base, exponent)

    def indexed(self) -> Node:
        start = self.next.start
        node = self.primary()
        while self.next.text == "[":
            self.take()
            negative = self.next.text == "-" and bool(self.take())
            token = self.next
            if token.kind != "number" or not token.text.isdigit():
                raise self.error_at(token, "an index is one whole number", "runs[0] is the first, runs[-1] the last")
            self.take()
            self.close("]")
            node = Index(start, self.end, node, -int(token.text) if negative else int(token.text))
        return node

    def primary(self) -> Node:
        token = self.next
        if token.kind == "number":
            return self.number(self.take())
        if token.kind == "text":
            self.take()
            return Literal(token.start, token.end, token.text[1:-1])
        if token.kind == "name" and token.text not in WORDS:
            self.take()
            if token.text in ("true", "false"):
                return Literal(token.start, token.end, token.text == "true")
            return self.call(token) if self.next.text == "(" else Name(token.start, token.end, token.text)
        if token.text == "(":
            self.deeper(self.take())
            node = self.expression(1)
            self.close(")")
            self.depth -= 1
            return node
        if token.text == "[":
            return self.list_of()
        if token.kind == "end":
            raise self.error("the expression ends where a value should follow", None, self.end, self.end + 1)
        raise self.error_at(token, f"`{token.text}` stands where a value should be")

    def number(self, token: Token) -> Literal:
        whole = token.text.isdigit()
        if not math.isfinite(float(token.text)):
            raise self.error(f"`{token.text}` is too large for a float64", None, token.start, token.end)
        return Literal(token.start, token.end, int(token.text) if whole else float(token.text))

    def call(self, function: Token) -> Call:
        self.deeper(self.take())
        arguments: list[Node] = []
        keywords: dict[str, Node] = {}

        def argument() -> None:
            token = self.next
            if token.kind != "name" or self.tokens[self.at + 1].text != "=":
                if keywords:
                    raise self.error_at(
                        token, "an argument without a name follows one with a name", "put it in front of them"
                    )
                arguments.append(self.expression(1))
                return
            if token.text == "lambda":
                hint = "the factor of a merged delta is called `scale`"
                raise self.error("`lambda` is not the name of an argument", hint, token.start, token.end)
            if token.text in keywords:
                raise self.error(f"`{token.text}` is given twice", "leave one out", token.start, token.end)
            self.at += 2
            keywords[token.text] = self.expression(1)

        self.separated(")", argument)
        self.depth -= 1
        return Call(function.start, self.end, function.text, tuple(arguments), tuple(keywords.items()))

    def list_of(self) -> ListOf:
        start = self.take()
        self.deeper(start)
        items: list[Node] = []
        self.separated("]", lambda: items.append(self.expression(1)))
        self.depth -= 1
        return ListOf(start.start, self.end, tuple(items))

    def separated(self, closing: str, item: Callable[[], None]) -> None:
        """Items between commas up to the closing bracket; a comma after the last is allowed."""
        while self.next.text != closing:
            item()
            if self.next.text != ",":
                break
            self.take()
        self.close(closing)

    def close(self, closing: str) -> None:
        if self.next.text == closing:
            self.take()
        elif self.next.kind == "end":
            raise self.error(f"`{closing}` is missing at the end", None, self.end, self.end + 1)
        else:
            raise self.unexpected(self.next)
