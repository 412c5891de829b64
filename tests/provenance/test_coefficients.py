"""Coefficients in their short form, against plain lists of one number per tensor."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightmath.provenance.coefficients import of_numbers, product, span, total

NUMBERS = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0]), min_size=1, max_size=12)


def spread(coefficient, count):
    if isinstance(coefficient, float):
        return [coefficient] * count
    return [number for number, times in coefficient for _ in range(times)]


@given(NUMBERS, NUMBERS)
def test_products_and_sums_are_tensor_by_tensor(a, b):
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    short_a, short_b = of_numbers(a), of_numbers(b)
    assert spread(product(short_a, short_b), count) == [x * y for x, y in zip(a, b, strict=True)]
    assert spread(total(short_a, short_b), count) == [x + y for x, y in zip(a, b, strict=True)]
    assert span(short_a) == (min(a), max(a))


@given(NUMBERS)
def test_the_form_is_the_shortest(numbers):
    runs = [(number, len(list(same))) for number, same in groupby(numbers)]
    assert of_numbers(numbers) == (numbers[0] if len(runs) == 1 else tuple(runs))


def test_what_is_not_known_stays_so():
    assert product(None, 2.0) is None
    assert total(1.0, None) is None
    assert of_numbers([]) == 0.0


@pytest.mark.parametrize("operation", [product, total])
def test_merges_of_different_numbers_of_tensors_cannot_be_multiplied_out(operation):
    assert operation(of_numbers([1, 2]), of_numbers([1, 2, 3])) is None
    assert operation(of_numbers([1, 2]), 3.0) is not None
