"""Functions of whole tensors against the papers' formulas, by other decompositions than the kernels use."""

import threading

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController, threadpool_info

from weightmath.algebra.graph import node
from weightmath.errors import NumericError
from weightmath.kernels.matrix import FUNCTIONS, evaluate, iso_c, iso_cts, knots, polar, truncated_svd, tsv, wudi
from weightmath.kernels.one_thread import one_thread
from weightmath.scope import Domain

OPTIONS = {
    "truncated_svd": {"rank": 2},
    "iso_cts": {"common_share": 0.5},
    "knots": {"density": 0.3},
    "wudi": {"steps": 5, "rate": 0.01},
}
SHAPES = [(12, 20), (20, 12), (9, 9), (5, 40)]


def tasks(n, shape, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(shape)
    return [common + rng.standard_normal(shape) * rng.uniform(0.5, 2) for _ in range(n)]


def applied(name, *operands, **options):
    options = options or OPTIONS.get(name, {})
    return evaluate(node("whole_tensor", domain=Domain.ELEMENT, function=name, **options), operands)


def leading_rows(matrix, count):
    """The leading right singular vectors, as eigenvectors of A'A."""
    _, vectors = np.linalg.eigh(matrix.T @ matrix)
    return vectors[:, ::-1][:, :count].T


def whitened(u):
    """U (U'U)^(-1/2): the polar factor of a matrix of independent columns."""
    squares, vectors = np.linalg.eigh(u.T @ u)
    return u @ (vectors / np.sqrt(squares)) @ vectors.T


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_truncated_svd_projects_on_the_leading_directions(shape, rank):
    (x,) = tasks(1, shape)
    v = leading_rows(x, rank)
    np.testing.assert_allclose(truncated_svd(x, rank=rank), x @ v.T @ v, atol=1e-10)


def test_truncated_svd_of_full_rank_is_the_matrix():
    for shape in SHAPES:
        (x,) = tasks(1, shape)
        np.testing.assert_allclose(truncated_svd(x, rank=min(shape)), x, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(truncated_svd(x, rank=10_000), x, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(truncated_svd(x, energy=1.0), x, rtol=1e-11, atol=1e-12)


def test_energy_keeps_the_fewest_directions_that_hold_it():
    x = np.diag([4.0, 2.0, 2.0, 1.0])  # squares 16, 4, 4, 1 of 25
    for energy, kept in ((0.5, 1), (16 / 25, 1), (0.65, 2), (20 / 25, 2), (0.81, 3), (24 / 25, 3), (0.97, 4), (1.0, 4)):
        assert np.linalg.matrix_rank(truncated_svd(x, energy=energy)) == kept, energy


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_tsv_by_whitening_the_leading_triples(shape, n):
    deltas = tasks(n, shape)
    each = min(shape) // n
    u, s, v = [], [], []
    for delta in deltas:
        rows = leading_rows(delta, each)
        scaled = delta @ rows.T
        u.append(scaled / np.linalg.norm(scaled, axis=0))
        s.append(np.linalg.norm(scaled, axis=0))
        v.append(rows)
    expected = whitened(np.hstack(u)) * np.concatenate(s) @ whitened(np.vstack(v).T).T
    np.testing.assert_allclose(tsv(*deltas), expected, atol=1e-8)


def test_tsv_leaves_tasks_alone_that_do_not_meet():
    a, b = np.zeros((8, 8)), np.zeros((8, 8))
    a[:4, :4], b[4:, 4:] = np.random.default_rng(0).standard_normal((2, 4, 4))
    np.testing.assert_allclose(tsv(a, b), a + b, atol=1e-12)


def test_tsv_counts_a_shared_direction_once():
    (x,) = tasks(1, (12, 20))
    np.testing.assert_allclose(tsv(x, x), truncated_svd(x, rank=6), atol=1e-10)


def test_tsv_of_more_tasks_than_rows_is_the_mean():
    deltas = tasks(3, (2, 50))
    np.testing.assert_allclose(tsv(*deltas), np.mean(deltas, axis=0))


@pytest.mark.parametrize("shape", SHAPES)
def test_polar_factors_are_orthonormal(shape):
    (x,) = tasks(1, shape)
    factor = polar(x) if shape[0] >= shape[1] else polar(x).T
    np.testing.assert_allclose(factor.T @ factor, np.eye(min(shape)), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_iso_c_makes_all_singular_values_their_mean(shape, n):
    deltas = tasks(n, shape)
    total = np.sum(deltas, axis=0)
    mean = torch.linalg.svdvals(torch.from_numpy(total)).mean().item()
    merged = iso_c(*deltas)
    np.testing.assert_allclose(np.linalg.svd(merged, compute_uv=False), np.full(min(shape), mean), rtol=1e-10)
    whiter = whitened(total) if shape[0] >= shape[1] else whitened(total.T).T
    np.testing.assert_allclose(merged, mean * whiter, atol=1e-9)


def test_iso_c_keeps_rows_that_no_task_changed():
    deltas = tasks(2, (10, 20))
    for delta in deltas:
        delta[3:6] = 0
    merged = iso_c(*deltas)
    np.testing.assert_allclose(merged[3:6], 0, atol=1e-12)
    kept = np.delete(np.sum(deltas, axis=0), [3, 4, 5], axis=0)
    np.testing.assert_allclose(np.delete(merged, [3, 4, 5], axis=0), iso_c(kept), atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n", "share"), [(1, 0.8), (2, 0.8), (2, 0.3), (3, 0.5), (3, 0.0), (2, 1.0)])
def test_iso_cts_by_the_paper(shape, n, share):
    deltas = [torch.from_numpy(delta) for delta in tasks(n, shape)]
    rank = min(shape)
    each = round((rank - int(rank * share)) / n)
    each = min(each, rank // n)
    u, s, v = (x.clone() for x in torch.linalg.svd(sum(deltas), full_matrices=False))
    common = u[:, : rank - n * each].clone()
    for i, delta in enumerate(deltas):
        own = torch.linalg.svd(delta - common @ common.T @ delta, full_matrices=False)
        place = slice(rank - n * each + i * each, rank - n * each + (i + 1) * each)
        u[:, place], s[place], v[place] = own[0][:, :each], own[1][:each], own[2][:each]
    expected = s.mean().item() * (whitened(u.numpy()) @ whitened(v.numpy().T).T)
    np.testing.assert_allclose(iso_cts(*[delta.numpy() for delta in deltas], common_share=share), expected, atol=1e-8)


def test_iso_cts_with_nothing_of_the_tasks_own_is_iso_c():
    deltas = tasks(3, (12, 20))
    np.testing.assert_allclose(iso_cts(*deltas, common_share=1.0), iso_c(*deltas), atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
def test_knots_is_ties_in_the_common_basis(shape, density):
    deltas = tasks(3, shape)
    _, basis = np.linalg.eigh(sum(delta @ delta.T for delta in deltas))
    rank = min(shape[0], 3 * shape[1])
    basis = basis[:, ::-1][:, :rank]
    parts = np.stack([basis.T @ delta for delta in deltas])
    for part in parts:
        smallest = np.sort(np.abs(part), axis=None)[part.size - max(int(density * part.size), 1)]
        part[np.abs(part) < smallest * (1 - 1e-12)] = 0
    agree = (np.sign(parts) == np.sign(parts.sum(axis=0))) & (parts != 0)
    merged = (parts * agree).sum(axis=0) / np.maximum(agree.sum(axis=0), 1)
    np.testing.assert_allclose(knots(*deltas, density=density), basis @ merged, atol=1e-9)


def test_knots_of_copies_is_the_delta():
    (x,) = tasks(1, (12, 20))
    np.testing.assert_allclose(knots(x, x, x, density=1.0), x, atol=1e-12)


def test_knots_uses_no_direction_beyond_the_rank():
    rng = np.random.default_rng(0)
    deltas = [rng.standard_normal((30, 2)) @ rng.standard_normal((2, 40)) for _ in range(3)]
    assert np.linalg.matrix_rank(knots(*deltas, density=1.0)) <= 6


@pytest.mark.parametrize("shape", SHAPES)
def test_wudi_is_the_authors_loss_under_torchs_adam(shape):
    deltas = tasks(3, shape)
    stacked = torch.from_numpy(np.stack(deltas))
    merged = torch.nn.Parameter(stacked.sum(dim=0))
    squares = (stacked**2).sum(dim=(1, 2))
    adam = torch.optim.Adam([merged], lr=0.01)
    for _ in range(40):
        adam.zero_grad()
        product = (merged[None] - stacked) @ stacked.transpose(1, 2)
        (product.square().sum(dim=(1, 2)) / squares).sum().backward()
        adam.step()
    np.testing.assert_allclose(wudi(*deltas, steps=40, rate=0.01), merged.detach().numpy(), rtol=1e-9, atol=1e-9)


def test_wudi_leaves_out_a_task_that_changed_nothing():
    a, b = tasks(2, (6, 8))
    np.testing.assert_array_equal(wudi(a, b, 0 * a, steps=5, rate=0.01), wudi(a, b, steps=5, rate=0.01))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tensors_of_fewer_than_two_dimensions_take_the_mean(name):
    for shape in ((7,), (), (0,), (0, 3), (3, 0)):
        operands = [np.full(shape, value, np.float32) for value in (1.0, 2.0, 6.0)]
        np.testing.assert_array_equal(applied(name, *operands), np.full(shape, 3.0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_convolution_is_the_matrix_of_its_output_channels(name):
    count = 1 if name == "truncated_svd" else 2
    operands = [delta.astype(np.float32) for delta in tasks(count, (6, 36))]
    merged = applied(name, *[operand.reshape(6, 4, 3, 3) for operand in operands])
    assert merged.shape == (6, 4, 3, 3)
    assert merged.dtype == np.float64
    np.testing.assert_array_equal(merged.reshape(6, 36), applied(name, *operands))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operands_are_not_changed_and_zero_stays_zero(name):
    operands = tasks(1 if name == "truncated_svd" else 3, (6, 8))
    before = [operand.copy() for operand in operands]
    applied(name, *operands)
    for operand, copy in zip(operands, before, strict=True):
        np.testing.assert_array_equal(operand, copy)
    np.testing.assert_array_equal(applied(name, *[0 * operand for operand in operands]), np.zeros((6, 8)))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "truncated_svd"])
def test_the_order_of_tasks_does_not_matter(name):
    a, b, c = tasks(3, (12, 20))
    np.testing.assert_allclose(applied(name, a, b, c), applied(name, c, a, b), atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_makes_the_tensor_nan(name, bad):
    x = np.ones((4, 5), np.float32)
    x[1, 2] = bad
    assert np.isnan(applied(name, x)).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_librarys_threads_do_not_change_a_bit(name):
    operands = tasks(1 if name == "truncated_svd" else 2, (150, 200))
    results = []
    for threads in (1, 4):
        with ThreadpoolController().limit(limits=threads, user_api="blas"):
            results.append(applied(name, *operands))
    np.testing.assert_array_equal(*results)


def test_a_decomposition_that_does_not_converge_is_an_error_with_a_way_out(monkeypatch):
    def fail(*args, **kwargs):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fail)
    with pytest.raises(NumericError, match="4 x 6 did not converge") as caught:
        applied("iso_c", np.ones((4, 6)))
    assert "only(x, pattern)" in caught.value.hint


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_one_thread_holds_until_the_last_has_left():
    before = blas_threads()
    left = threading.Event()

    def other():
        with one_thread():
            inside.set()
            left.wait(10)
            seen.append(blas_threads())

    inside, seen = threading.Event(), []
    worker = threading.Thread(target=other)
    with one_thread():
        assert blas_threads() == [1] * len(before)
        worker.start()
        assert inside.wait(10)
    left.set()
    worker.join()
    assert seen == [[1] * len(before)]
    assert blas_threads() == before


def test_one_thread_holds_where_another_thread_has_set_the_number():
    seen = []

    def worker():
        with one_thread():
            seen.append(blas_threads())

    for number in (3, 2):
        with ThreadpoolController().limit(limits=number, user_api="blas"):
            thread = threading.Thread(target=worker)
            thread.start()
            thread.join()
            assert blas_threads() == [number] * len(seen[0])
    assert seen[0] == [1] * len(seen[0])
    assert seen[1] == seen[0]


def test_one_thread_is_left_when_the_work_fails():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert blas_threads() == before
