"""Expressions: the arithmetic that the entries of a recipe are written in."""

from weightmath.expression.evaluate import Value as Value
from weightmath.expression.evaluate import check as check
from weightmath.expression.evaluate import evaluate as evaluate
from weightmath.expression.parser import names_in as names_in
from weightmath.expression.parser import parse as parse
from weightmath.expression.tokens import RESERVED as RESERVED
