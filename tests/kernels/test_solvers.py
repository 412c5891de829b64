"""Solvers against the same geometry done on the vectors themselves, one cell at a time."""

import numpy as np
import pytest

from weightmath.algebra.graph import Input, input_vector
from weightmath.functions import coefficients, gram
from weightmath.kernels.solvers import (
    SOLVERS,
    geometric_median,
    gram_schmidt,
    karcher,
    model_stock,
    nuslerp,
    principal,
    slerp,
    solve,
)
from weightmath.layout import Layout


def vectors(n, cells=6, size=40, seed=0, near=None):
    """(cells, n, size) random vectors; `near`: around a common one, at that distance."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((cells, n, size))
    return x if near is None else rng.standard_normal((cells, 1, size)) + near * x


def grams(x):
    return np.einsum("cif,cjf->cij", x, x)


def numbers(cells, *values):
    return [np.full(cells, float(value)) for value in values]


def combine(shares, x):
    return np.einsum("ci,cif->cf", shares, x)


def arc(a, b, t):
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 1.4])
def test_slerp_follows_the_arc(t):
    x = vectors(2)
    mixed = combine(slerp(grams(x), *numbers(6, t), straight=0.9995), x)
    np.testing.assert_allclose(mixed, [arc(a, b, t) for a, b in x], rtol=1e-12, atol=1e-12)


def test_slerp_takes_one_number_per_cell():
    x = vectors(2, cells=3)
    shares = slerp(grams(x), np.array([0.0, 0.5, 1.0]), straight=0.9995)
    np.testing.assert_allclose(combine(shares, x)[1], arc(*x[1], 0.5))
    np.testing.assert_allclose(shares[[0, 2]], [[1, 0], [0, 1]], atol=1e-15)


def test_slerp_is_linear_for_parallel_opposed_and_zero_vectors():
    a = np.ones(8)
    x = np.stack([np.stack(pair) for pair in ((a, 2 * a), (a, -a), (a, 0 * a), (0 * a, 0 * a))])
    np.testing.assert_array_equal(slerp(grams(x), *numbers(4, 0.25), straight=0.9995), [[0.75, 0.25]] * 4)


def test_nuslerp_follows_small_arcs_and_takes_cancelling_weights_as_equal():
    x = vectors(2, near=1e-3)
    shares = nuslerp(grams(x), *numbers(6, 1, 3), straight=1 - 1e-12)
    np.testing.assert_allclose(combine(shares, x), [arc(a, b, 0.75) for a, b in x], rtol=1e-9)
    middle = nuslerp(grams(x), *numbers(6, 1, -1), straight=1 - 1e-12)
    np.testing.assert_array_equal(middle, nuslerp(grams(x), *numbers(6, 2, 2), straight=1 - 1e-12))


def mean_direction(units, weights):
    """Karcher's iteration on the vectors themselves, for as long as anything moves."""
    place = weights @ units / np.linalg.norm(weights @ units)
    for _ in range(3000):
        tangent = np.zeros_like(place)
        for weight, unit in zip(weights, units, strict=True):
            away = unit - (unit @ place) * place
            if np.linalg.norm(away) > 1e-15:
                tangent += weight * np.arctan2(np.linalg.norm(away), unit @ place) * away / np.linalg.norm(away)
        length = np.linalg.norm(tangent)
        if length < 1e-15:
            break
        place = np.cos(length) * place + np.sin(length) * tangent / length
    return place


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("near", [None, 1.0, 1e-3])
def test_karcher_is_the_mean_direction_at_the_mean_length(n, near):
    x = vectors(n, near=near) * np.linspace(0.5, 2, n)[:, None]
    weights = np.arange(1.0, n + 1) / np.arange(1.0, n + 1).sum()
    mixed = combine(karcher(grams(x), *numbers(6, *(7 * weights))), x)
    for cell, found in zip(x, mixed, strict=True):
        lengths = np.linalg.norm(cell, axis=1)
        expected = mean_direction(cell / lengths[:, None], weights) * (weights @ lengths)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_karcher_of_two_vectors_of_one_length_is_slerp():
    x = vectors(2)
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    np.testing.assert_allclose(
        karcher(grams(x), *numbers(6, 0.7, 0.3)), slerp(grams(x), *numbers(6, 0.3), straight=1), rtol=1e-11
    )


def test_karcher_leaves_zero_vectors_out_and_averages_directions_that_cancel():
    x = vectors(3)
    x[:, 1] = 0
    shares = karcher(grams(x), *numbers(6, 1, 5, 1))
    np.testing.assert_array_equal(shares[:, 1], 0)
    np.testing.assert_allclose(shares[:, [0, 2]], karcher(grams(x[:, [0, 2]]), *numbers(6, 1, 1)))
    opposed = np.stack([x[:, 0], -2 * x[:, 0]], axis=1)
    np.testing.assert_allclose(karcher(grams(opposed), *numbers(6, 1, 1)), np.full((6, 2), 0.5))
    np.testing.assert_array_equal(karcher(np.zeros((1, 2, 2)), *numbers(1, 1, 3)), [[0.25, 0.75]])


def total_distance(point, points, weights):
    return weights @ np.linalg.norm(points - point, axis=1)


@pytest.mark.parametrize("n", [2, 3, 4, 9])
def test_the_geometric_median_has_the_least_sum_of_distances(n):
    points = vectors(n, seed=n)
    weights = np.linspace(1, 1.5, n)
    steps = points[:, 1:] - points[:, :1]
    found = points[:, 0] + combine(geometric_median(grams(steps), *numbers(6, *weights)), steps)
    rng = np.random.default_rng(1)
    for cell, median in zip(points, found, strict=True):
        least = total_distance(median, cell, weights)
        for step in (1e-2, 1e-4):
            around = [median + step * (point - median) for point in cell]
            around += [median + step * rng.standard_normal(40) for _ in range(10)]
            assert all(total_distance(other, cell, weights) >= least - 1e-12 for other in around)


def test_a_median_that_is_a_model_is_that_model_exactly():
    rng = np.random.default_rng(0)
    centre = rng.standard_normal(40)
    cloud = rng.standard_normal((2, 40))
    points = np.stack([centre + cloud[0], centre, centre - cloud[0], centre + cloud[1], centre - cloud[1]])
    steps = points[1:] - points[:1]
    shares = geometric_median(grams(steps[None]), *numbers(1, 1, 1, 1, 1, 1))
    np.testing.assert_array_equal(shares, [[1, 0, 0, 0]])
    heavy = geometric_median(grams(steps[None]), *numbers(1, 9, 1, 1, 1, 1))
    np.testing.assert_array_equal(heavy, [[0, 0, 0, 0]])


def test_the_geometric_median_of_two_equals_is_their_average_and_of_copies_the_copy():
    step = np.ones((1, 1, 1)) * 4.0
    np.testing.assert_allclose(geometric_median(step, *numbers(1, 1, 1)), [[0.5]])
    np.testing.assert_array_equal(geometric_median(np.zeros((1, 3, 3)), *numbers(1, 1, 1, 1, 1)), [[0, 0, 0]])


@pytest.mark.parametrize("n", [2, 3, 6])
def test_model_stock_by_the_mean_cosine_of_all_pairs(n):
    x = vectors(n, near=1.0)
    units = x / np.linalg.norm(x, axis=2, keepdims=True)
    for cell, share in zip(units, model_stock(grams(x), clip=True), strict=True):
        cosine = np.mean([cell[i] @ cell[j] for i in range(n) for j in range(n) if i != j])
        np.testing.assert_allclose(share, cosine / (1 + (n - 1) * cosine))


def test_model_stock_clips_disagreement_and_survives_its_pole():
    angle = 2.0
    x = np.array([[[1.0, 0.0], [np.cos(angle), np.sin(angle)]]])
    np.testing.assert_array_equal(model_stock(grams(x), clip=True), [[0, 0]])
    np.testing.assert_allclose(model_stock(grams(x), clip=False)[0, 0], np.cos(angle) / (1 + np.cos(angle)))
    opposed = np.array([[[1.0, 0.0], [-1.0, 0.0]]])
    np.testing.assert_array_equal(model_stock(grams(opposed), clip=False), [[0, 0]])


@pytest.mark.parametrize("direction", [0, 1, 3])
@pytest.mark.parametrize("near", [None, 1e-3])
def test_gram_schmidt_is_the_qr_decomposition(direction, near):
    x = vectors(4, near=near)
    found = combine(gram_schmidt(grams(x), direction=direction), x)
    for cell, one in zip(x, found, strict=True):
        q, r = np.linalg.qr(cell.T)
        expected = q[:, direction] * np.sign(r[direction, direction])
        np.testing.assert_allclose(one, expected, atol=1e-13 if near is None else 1e-9)


def test_what_lies_among_earlier_vectors_has_no_direction_of_its_own():
    a, b = np.eye(4)[:2]
    x = np.stack([[a, 3 * a, b], [0 * a, a, b], [a, a + 1e-7 * b, b]])
    np.testing.assert_array_equal(gram_schmidt(grams(x), direction=1)[[0, 2]], 0)
    np.testing.assert_array_equal(gram_schmidt(grams(x), direction=0)[1], 0)
    np.testing.assert_array_equal(gram_schmidt(grams(x), direction=2), [[0, 0, 1]] * 3)


@pytest.mark.parametrize("direction", [0, 2])
def test_principal_directions_are_those_of_the_singular_value_decomposition(direction):
    x = vectors(5) * np.linspace(1, 3, 5)[:, None]
    x -= x.mean(axis=1, keepdims=True)
    found = combine(principal(grams(x), direction=direction), x)
    for cell, one in zip(x, found, strict=True):
        expected = np.linalg.svd(cell)[2][direction]
        ahead = np.sign((cell[-1] - cell[0]) @ expected)
        np.testing.assert_allclose(one, ahead * expected, atol=1e-12)


def test_a_direction_in_which_nothing_varies_is_zero():
    line = np.array([[[-1.0, 0], [0, 0], [1, 0]]])
    np.testing.assert_allclose(combine(principal(grams(line), direction=0), line), [[1, 0]])
    np.testing.assert_array_equal(principal(grams(line), direction=1), [[0, 0, 0]])
    np.testing.assert_array_equal(principal(0 * grams(line), direction=0), [[0, 0, 0]])


# Each solver with the number of vectors and of numbers that it is tried with.
CASES = [
    ("slerp", 2, 1, {"straight": 0.9995}),
    ("nuslerp", 2, 2, {"straight": 1 - 1e-12}),
    *[("karcher", n, n, {}) for n in (2, 3, 9)],
    *[("geometric_median", n, n + 1, {}) for n in (1, 2, 9)],
    *[("model_stock", n, 0, {"clip": True}) for n in (2, 3, 9)],
    *[(name, n, 0, {"direction": n - 1}) for name in ("gram_schmidt", "principal") for n in (2, 9)],
]


def test_all_solvers_are_tried():
    assert {name for name, *_ in CASES} == set(SOLVERS)


@pytest.mark.parametrize(("name", "n", "extra", "options"), CASES)
def test_a_cell_does_not_depend_on_the_cells_beside_it(name, n, extra, options):
    x = np.concatenate([vectors(n, 20, seed=1), vectors(n, 13, seed=2, near=1e-2), 0 * vectors(n, 1)])
    columns = np.random.default_rng(3).uniform(0.1, 1, (extra, len(x)))
    together = SOLVERS[name](grams(x), *columns, **options)
    for i in range(len(x)):
        alone = SOLVERS[name](grams(x)[i : i + 1], *columns[:, i : i + 1], **options)
        np.testing.assert_array_equal(together[i : i + 1], alone)


@pytest.mark.parametrize(("name", "n", "extra", "options"), CASES)
def test_nan_stays_nan(name, n, extra, options):
    x = vectors(n, cells=1)
    x[0, 0, 3] = np.nan
    assert np.isnan(SOLVERS[name](grams(x), *numbers(1, *[0.5] * extra), **options)).any()


def test_a_node_is_solved_for_one_cell_or_many_with_numbers_for_all_or_each():
    a, b = (input_vector(Input(name, Layout.of([]))) for name in "ab")
    node = coefficients("slerp", gram([a, b], scope="row"), 0.3, straight=0.9995)
    matrices = grams(vectors(2))
    many = solve(node, matrices, [0.3])
    np.testing.assert_array_equal(many[:1], solve(node, matrices[0], [0.3]))
    np.testing.assert_array_equal(many, solve(node, matrices, [np.full((6, 1), 0.3)]))
    two = solve(node, matrices[0], [np.array([[0.1], [0.9]])])
    np.testing.assert_array_equal(two[1:], solve(node, matrices[0], [0.9]))


def test_a_node_is_solved_anew_for_other_numbers_matrices_and_options():
    a, b = (input_vector(Input(name, Layout.of([]))) for name in "ab")
    curved, linear = (
        coefficients("slerp", gram([a, b], scope="tensor"), 0.3, straight=straight) for straight in (0.9995, 0.0)
    )
    first, second = grams(vectors(2, cells=2))
    one = solve(curved, first, [0.3])
    assert (one == solve(curved, first.copy(), [0.3])).all()
    assert (one != solve(curved, second, [0.3])).all()
    assert (one != solve(curved, first, [0.4])).all()
    np.testing.assert_array_equal(solve(linear, first, [0.3]), [[0.7, 0.3]])
