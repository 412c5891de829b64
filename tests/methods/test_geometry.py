"""Methods in the span of their inputs, against plain float64 numpy on the flat vectors of whole cells."""

import numpy as np
import pytest

from tests.engine.whole import memory_input, run
from weightmath.algebra.names import Table
from weightmath.engine.execute import Settings
from weightmath.errors import KindError, RecipeError
from weightmath.methods import load
from weightmath.scope import Domain, Scope

METHODS = load()
SCOPES = ("row", "tensor", "layer", "global")
SHAPES = {
    "block.0.bias": (300,),
    "block.0.conv": (8, 4, 3, 3),
    "block.0.weight": (300, 400),  # several tiles
    "block.1.flag": (),
    "block.1.none": (0, 3),
    "block.1.wide": (2, 70_000),  # rows longer than a tile
    "head": (5, 7),
    "one": (1,),
    "same": (3, 4),
    "zero": (4,),
}


def model(seed, near=None):
    rng = np.random.default_rng(seed)
    around = near or dict.fromkeys(SHAPES, 0.0)
    noise = 1.0 if near is None else 0.1
    arrays = {n: (around[n] + noise * rng.standard_normal(s)).astype(np.float32) for n, s in SHAPES.items()}
    arrays["same"][...] = 0.25
    arrays["zero"][...] = 0
    return arrays


BASE = model(0)
A, B, C = model(1, BASE), model(2, BASE), model(3, BASE)
MODELS = {"base": BASE, "a": A, "b": B, "c": C}
base, a, b, c = (memory_input(name, arrays) for name, arrays in MODELS.items())


def cells(scope):
    """The places, (name, index), that make up each cell."""
    rule = Scope.parse(scope)
    found = {}
    for name, shape in SHAPES.items():
        if rule.domain == Domain.ROW and len(shape) > 1:
            for row in range(shape[0]):
                found[name, row] = [(name, row)]
        else:
            found.setdefault(name if rule.domain >= Domain.TENSOR else rule.cell(name), []).append((name, ...))
    return found.values()


def flat(arrays, places):
    return np.concatenate([np.asarray(arrays[name][at], np.float64).reshape(-1) for name, at in places])


def check(value, scope, expected, *models, tolerance=2e-6):
    """A method's streamed value against `expected(flat vectors...)` of each cell; settings do not change its bits."""
    got, _ = run(value, settings=Settings(1, 65_536))
    again, _ = run(value, settings=Settings(2, 131_072))
    for name in SHAPES:
        np.testing.assert_array_equal(got[name], again[name], err_msg=name)
    for places in cells(scope):
        vectors = [flat(arrays, places) for arrays in models]
        if len(vectors[0]):
            wanted = expected(*vectors)
            np.testing.assert_allclose(flat(got, places), wanted, rtol=tolerance, atol=tolerance, err_msg=str(places))


def arc(x, y, t, straight=0.9995):
    size = np.linalg.norm(x) * np.linalg.norm(y)
    cosine = x @ y / size if size else 1.0
    if abs(cosine) > straight:
        return (1 - t) * x + t * y
    angle = np.arccos(cosine)
    return np.sin((1 - t) * angle) / np.sin(angle) * x + np.sin(t * angle) / np.sin(angle) * y


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp(scope, t):
    check(METHODS["slerp"].call(a, b, t=t, scope=scope), scope, lambda x, y: arc(x, y, t), A, B)


def test_slerp_takes_a_table_of_t():
    merged = METHODS["slerp"].call(a, b, t=Table((("block.0.*", 0.2), ("head", 1.0)), 0.5), scope="tensor")
    got, _ = run(merged)
    for name, t in (("block.0.weight", 0.2), ("head", 1.0), ("block.1.wide", 0.5)):
        wanted = arc(A[name].reshape(-1).astype(np.float64), B[name].reshape(-1).astype(np.float64), t)
        np.testing.assert_allclose(got[name].reshape(-1), wanted, rtol=2e-6, atol=2e-6)


def test_a_table_of_t_works_at_global_scope():
    merged = METHODS["slerp"].call(a, b, t=Table((("head", 1.0),), 0.0), scope="global")
    got, _ = run(merged)
    np.testing.assert_allclose(got["head"], B["head"], rtol=1e-6)
    np.testing.assert_allclose(got["block.0.bias"], A["block.0.bias"], rtol=1e-6)


@pytest.mark.parametrize("scope", SCOPES)
def test_nuslerp(scope):
    straight = 1 - 1e-12
    merged = METHODS["nuslerp"].call([a, b], weights=[1, 3], scope=scope)
    check(merged, scope, lambda x, y: arc(x, y, 0.75, straight), A, B)
    merged = METHODS["nuslerp"].call([a, b], base, weights=[1, 3], scope=scope)
    check(merged, scope, lambda z, x, y: z + arc(x - z, y - z, 0.75, straight), BASE, A, B, tolerance=5e-6)


def test_nuslerp_takes_two_models():
    with pytest.raises(RecipeError, match="two models, not 3"):
        METHODS["nuslerp"].call([a, b, c])


def mean_direction(*vectors, weights):
    """Karcher mean by its iteration on the vectors themselves."""
    kept = [(w, v) for w, v in zip(weights, vectors, strict=True) if np.linalg.norm(v)]
    if not kept:
        return 0 * vectors[0]
    total = sum(w for w, _ in kept)
    length = sum(w / total * np.linalg.norm(v) for w, v in kept)
    units = [(w / total, v / np.linalg.norm(v)) for w, v in kept]
    place = sum(w * u for w, u in units)
    if np.linalg.norm(place) < 1e-6:
        return sum(w * v for w, v in zip(weights, vectors, strict=True)) / sum(weights)
    place = place / np.linalg.norm(place)
    for _ in range(200):
        step = 0 * place
        for w, u in units:
            away = u - (u @ place) * place
            size = np.linalg.norm(away)
            step = step + (w * np.arctan2(size, u @ place) / size * away if size else 0)
        size = np.linalg.norm(step)
        if size < 1e-14:
            break
        place = np.cos(size) * place + np.sin(size) / size * step
    return place * length


@pytest.mark.parametrize("scope", SCOPES)
def test_karcher(scope):
    weights = [1, 2, 0.5]
    merged = METHODS["karcher"].call([a, b, c], weights=weights, scope=scope)
    check(merged, scope, lambda *vectors: mean_direction(*vectors, weights=weights), A, B, C)


def pull(place, points, weights):
    """How hard the points pull at a place, beyond the weight of those that are there: 0 or less at the median alone."""
    scale = max(np.abs(points).max(), 1e-30)
    apart = [np.linalg.norm(point - place) for point in points]
    there = [size <= 1e-6 * scale * len(place) ** 0.5 for size in apart]
    pulls = [w / s * (p - place) for w, s, p, near in zip(weights, apart, points, there, strict=True) if not near]
    held = sum(w for w, near in zip(weights, there, strict=True) if near)
    return np.linalg.norm(np.sum(pulls, axis=0)) - held if pulls else -held


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("weights", [(1, 1.2, 0.9), (1, 5, 1)])
def test_geometric_median(scope, weights):
    merged = METHODS["geometric_median"].call([a, b, c], weights=list(weights), scope=scope)
    got, _ = run(merged, settings=Settings(1, 65_536))
    again, _ = run(merged, settings=Settings(2, 131_072))
    for places in cells(scope):
        points = np.stack([flat(arrays, places) for arrays in (A, B, C)])
        if points.size:
            assert pull(flat(got, places), points, weights) < 1e-5, places
            assert pull(points.mean(axis=0) + 0.01, points, weights) > 1e-3, "the check can fail"
    for name in SHAPES:
        np.testing.assert_array_equal(got[name], again[name])


def stock(z, *vectors):
    deltas = [v - z for v in vectors]
    n = len(deltas)
    pairs = []
    for i in range(n):
        for j in range(i + 1, n):
            size = np.linalg.norm(deltas[i]) * np.linalg.norm(deltas[j])
            pairs.append(deltas[i] @ deltas[j] / size if size else 0.0)
    cosine = np.mean(pairs)
    t = max(n * cosine / (1 + (n - 1) * cosine), 0) if 1 + (n - 1) * cosine > 1e-13 else 0
    return t * np.mean(vectors, axis=0) + (1 - t) * z


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("count", [2, 3])
def test_model_stock(scope, count):
    merged = METHODS["model_stock"].call(base, [a, b, c][:count], scope=scope)
    check(merged, scope, stock, BASE, *[A, B, C][:count], tolerance=5e-6)


def test_model_stock_takes_at_least_two_models():
    with pytest.raises(RecipeError, match="at least two models"):
        METHODS["model_stock"].call(base, [a])


@pytest.mark.parametrize("name", ["karcher", "geometric_median"])
def test_weights_must_not_all_be_zero(name):
    with pytest.raises(RecipeError, match="add up to 0"):
        METHODS[name].call([a, b], weights=[0, 0])
    with pytest.raises(RecipeError, match="weights"):
        METHODS[name].call([a, b], weights=[-1, 2])


def test_nearswap_takes_over_what_differs_little():
    t = 0.05
    got, _ = run(METHODS["nearswap"].call(a, b, t=t))
    for name, shape in SHAPES.items():
        if np.prod(shape):
            x, y = A[name].astype(np.float64), B[name].astype(np.float64)
            share = np.minimum(t / np.maximum(np.abs(x - y), 1e-300), 1)
            np.testing.assert_allclose(got[name], (1 - share) * x + share * y, rtol=1e-6, atol=1e-7)
            close = np.abs(x - y) < t * 0.999
            np.testing.assert_allclose(got[name][close], B[name][close], rtol=1e-6, atol=1e-8)


SYMMETRIC = ["karcher", "geometric_median"]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_order_of_models_does_not_matter(name, scope):
    one, _ = run(METHODS[name].call([a, b, c], scope=scope))
    two, _ = run(METHODS[name].call([c, a, b], scope=scope))
    for entry in SHAPES:
        np.testing.assert_allclose(one[entry], two[entry], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("slerp", (a, a)),
        ("nuslerp", ([a, a],)),
        ("karcher", ([a, a, a],)),
        ("nuslerp", ([a, a], base)),
    ],
)
def test_a_model_merged_with_itself_is_itself_to_one_unit_in_the_last_place(name, args):
    got, _ = run(METHODS[name].call(*args))
    for entry in SHAPES:
        np.testing.assert_allclose(got[entry], A[entry], rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("scope", SCOPES)
def test_self_merges_of_the_form_base_plus_delta_are_exact(scope):
    for value in (
        METHODS["geometric_median"].call([a, a, a], scope=scope),
        METHODS["model_stock"].call(a, [a, a], scope=scope),
    ):
        got, _ = run(value)
        for entry in SHAPES:
            np.testing.assert_array_equal(got[entry], A[entry])
    got, _ = run(METHODS["nearswap"].call(a, a, t=0.1))
    for entry in SHAPES:
        np.testing.assert_array_equal(got[entry], A[entry])


@pytest.mark.parametrize("name", ["slerp", "nuslerp", "karcher", "geometric_median", "model_stock"])
def test_models_a_thousand_times_as_large_merge_to_the_same_place(name):
    larger = [memory_input("x", {n: x * np.float32(1024) for n, x in arrays.items()}) for arrays in (BASE, A, B)]
    forms = {"slerp": lambda z, x, y: (x, y), "model_stock": lambda z, x, y: (z, [x, y])}
    form = forms.get(name, lambda z, x, y: ([x, y],))
    got, _ = run(METHODS[name].call(*form(base, a, b)))
    scaled, _ = run(METHODS[name].call(*form(*larger)))
    for entry in SHAPES:
        np.testing.assert_array_equal(got[entry] * np.float32(1024), scaled[entry])


def test_a_delta_is_no_model():
    from weightmath.engine.plan import Output, Request, make_plan

    value = METHODS["slerp"].call(a, b - base)
    layout = a.source.layout
    with pytest.raises(KindError, match="must be a model"):
        make_plan(Request(layout, (Output("out", value),)))
