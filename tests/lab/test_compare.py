"""Several checkpoints compared, against plain numpy on whole arrays."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import weightmath as wm
from tests.packages import folds
from weightmath.checkpoint import open_checkpoint
from weightmath.delta import api as delta
from weightmath.delta.options import Options
from weightmath.errors import CheckpointError, KindError, LayoutError, NumericError, RecipeError
from weightmath.lab.compare import short_names
from weightmath.lab.comparison import Comparison
from weightmath.reports.comparison import compare_report

Arrays = dict[str, np.ndarray]


def flat(model: Arrays) -> np.ndarray:
    return np.concatenate([model[name].reshape(-1).astype(np.float64) for name in sorted(model)])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def models() -> list[Arrays]:
    loaded = [torch.load(path, map_location="cpu", weights_only=True) for path in folds()]
    return [{name: tensor.numpy() for name, tensor in state.items()} for state in loaded]


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return wm.compare(folds())


def test_the_folds_as_published(compared: Comparison) -> None:
    """The numbers of the survey of this package: cosines .960 to .978, relative distances .21 to .28."""
    pairs = np.triu_indices(5, 1)
    cosines = compared.whole.cosine[pairs]
    apart = (compared.whole.distance / np.sqrt(np.outer(compared.whole.norms, compared.whole.norms)))[pairs]
    assert (cosines.min().round(3), cosines.max().round(3)) == (0.96, 0.978)
    assert (apart.min().round(2), apart.max().round(2)) == (0.21, 0.28)
    assert compared.models == tuple(f"v3_fold{i}" for i in range(5))
    assert (len(compared.by_tensor), compared.whole.elements) == (98, 1_036_460)


def test_the_folds_against_numpy(compared: Comparison, models: list[Arrays]) -> None:
    vectors = np.stack([flat(model) for model in models])
    whole = compared.whole
    np.testing.assert_allclose(whole.gram, vectors @ vectors.T, rtol=1e-7)
    np.testing.assert_allclose(whole.norms, np.linalg.norm(vectors, axis=1), rtol=1e-7)
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    np.testing.assert_allclose(whole.distance, apart, rtol=1e-7)
    np.testing.assert_allclose(whole.relative_changes, apart[0] / np.linalg.norm(vectors[0]), rtol=1e-7)
    signs = np.sign(vectors)
    opposed = [[np.count_nonzero(a * b == -1) for b in signs] for a in signs]
    np.testing.assert_array_equal(whole.opposed, opposed)
    np.testing.assert_allclose(whole.opposed_share, np.array(opposed) / vectors.shape[1])
    np.testing.assert_allclose(whole.drift.steps, np.diagonal(apart, 1), rtol=1e-7)
    centred = vectors - vectors.mean(axis=0)
    spread = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(compared.map.points, axis=0), spread[:2], rtol=1e-6)


def test_layers_of_the_folds(compared: Comparison, models: list[Arrays]) -> None:
    """How far each layer drifts from fold to fold; three tensors are the same in all."""
    found = {layer.name: layer for layer in compared.layers}
    names = [name for name in models[0] if name.startswith("layers.3.")]
    parts = [flat({name: model[name] for name in names}) for model in models]
    assert found["layers.3"].tensors == len(names)
    steps = [np.linalg.norm(b - a) for a, b in pairwise(parts)]
    np.testing.assert_allclose(found["layers.3"].drift.steps, steps, rtol=1e-6)
    assert found["layers.3"].cosine[1, 4] == pytest.approx(cosine(parts[1], parts[4]), rel=1e-6)
    still = {part.name for part in compared.by_tensor if part.distance.max() == 0}
    assert still == {"rbf.mu", "rax.mu", "rrad.mu"}
    changes = {name: layer.relative_changes[1:] for name, layer in found.items() if name.startswith("layers.")}
    assert all(0.5 < change < 0.75 for layer in changes.values() for change in layer)
    assert (found["emb.weight"].relative_changes[1:] < 0.1).all()


def test_changes_from_a_base(models: list[Arrays]) -> None:
    found = wm.compare(folds()[1:], folds()[0], density=0.1)
    base, *others = (flat(model) for model in models)
    changes = np.stack([other - base for other in others])
    assert found.base == "v3_fold0"
    np.testing.assert_allclose(found.whole.gram, changes @ changes.T, rtol=1e-6)
    np.testing.assert_allclose(found.whole.cosine[0, 1], cosine(changes[0], changes[1]), rtol=1e-6)
    relative = np.linalg.norm(changes, axis=1) / np.linalg.norm(base)
    np.testing.assert_allclose(found.whole.relative_changes, relative, rtol=1e-6)
    apart = np.linalg.norm(changes[:, None] - changes[None], axis=-1)
    np.testing.assert_allclose(found.whole.distance, apart, rtol=1e-6)
    assert len(found.map.points) == 5
    float32 = np.stack([flat(m).astype("f4") - base.astype("f4") for m in models[1:]])
    largest = [set(np.argsort(-np.abs(each), kind="stable")[: len(base) // 10].tolist()) for each in float32]
    overlap = [[len(a & b) / (len(base) // 10) for b in largest] for a in largest]
    np.testing.assert_array_equal(found.overlap, overlap)
    signs = np.sign(float32)
    np.testing.assert_array_equal(found.whole.opposed[1, 3], np.count_nonzero(signs[1] * signs[3] == -1))


# --- small files


def save(folder: Path, name: str, state: dict[str, torch.Tensor]) -> Path:
    torch.save({"state_dict": state}, folder / name)
    return folder / name


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    g = torch.Generator().manual_seed(1)
    shapes = {"a.0.weight": (300, 700), "a.0.bias": (300,), "conv": (4, 3, 3, 3), "b": (), "none": (0, 5)}
    return [
        save(tmp_path, f"m{i}.ckpt", {name: torch.randn(shape, generator=g).half() for name, shape in shapes.items()})
        for i in range(4)
    ]


def test_threads_change_no_bit(files: list[Path]) -> None:
    one, several = (wm.compare(files, density=0.3, threads=threads) for threads in (1, 3))
    for a, b in zip(one.by_tensor, several.by_tensor, strict=True):
        np.testing.assert_array_equal(a.squared, b.squared)
    assert one.overlap is not None
    np.testing.assert_array_equal(one.overlap, several.overlap)


def test_each_file_is_read_once(files: list[Path]) -> None:
    told: list[tuple[int, int]] = []
    wm.compare(files, files[0], progress=lambda done, total: told.append((done, total)))
    nbytes = 2 * (300 * 700 + 300 + 108 + 1)
    assert max(told) == (5 * nbytes, 5 * nbytes)


def test_fine_tunes_that_lie_close_together(tmp_path: Path) -> None:
    """Of products of whole models nothing would be left of such distances, be the first model near or far."""
    g = torch.Generator().manual_seed(2)
    far, base = torch.randn(2, 50_000, generator=g)
    states = [far, base, *(base + 1e-6 * torch.randn(50_000, generator=g) for _ in range(2))]
    found = wm.compare([save(tmp_path, f"{i}.pt", {"w": state}) for i, state in enumerate(states)])
    vectors = [state.double().numpy() for state in states]
    apart = [[np.linalg.norm(a - b) for b in vectors] for a in vectors]
    np.testing.assert_allclose(found.whole.distance, apart, rtol=1e-12)


def test_what_is_not_in_all_is_left_out(tmp_path: Path) -> None:
    w, steps = torch.ones(3, 2), torch.tensor(7)
    a = save(tmp_path, "a.pt", {"w": w, "only": torch.ones(2), "head": torch.ones(5), "steps": steps})
    b = save(tmp_path, "b.pt", {"w": 2 * w, "head": torch.ones(4), "steps": steps})
    found = wm.compare([a, b])
    assert found.left_out == ("head", "only")
    assert [part.name for part in found.by_tensor] == ["w"]


def test_one_model_alone(files: list[Path]) -> None:
    found = wm.compare(files[:1], density=0.5)
    assert found.whole.cosine.tolist() == [[1.0]]
    assert found.whole.opposed.tolist() == [[0.0]]
    assert found.overlap is not None
    assert found.overlap.tolist() == [[1.0]]
    assert found.whole.relative_changes.tolist() == [0.0]


def test_relative_change_of_what_was_zero(tmp_path: Path) -> None:
    zero = save(tmp_path, "zero.pt", {"w": torch.zeros(3), "v": torch.zeros(2)})
    one = save(tmp_path, "one.pt", {"w": torch.ones(3), "v": torch.zeros(2)})
    v, w = wm.compare([one, zero], zero).by_tensor
    assert v.relative_changes.tolist() == [0.0, 0.0]
    assert w.relative_changes.tolist() == [np.inf, 0.0]


@pytest.mark.parametrize("with_base", [False, True])
def test_singular_values(files: list[Path], *, with_base: bool) -> None:
    states = [torch.load(path)["state_dict"] for path in files]
    found = wm.compare(files, files[0] if with_base else None, spectrum=True).spectra
    assert found is not None
    assert found.keys() == {"a.0.weight", "conv"}
    for name, values in found.items():
        for state, own in zip(states, values, strict=True):
            matrix = state[name].double() - (states[0][name].double() if with_base else 0)
            expected = torch.linalg.svdvals(matrix.reshape(len(matrix), -1)).numpy()
            np.testing.assert_allclose(own, expected, rtol=1e-10, atol=1e-10)


def test_nan_has_no_singular_values(tmp_path: Path) -> None:
    path = save(tmp_path, "nan.pt", {"w": torch.full((2, 2), torch.nan)})
    with pytest.raises(NumericError, match="`w` holds NaN"):
        wm.compare([path], spectrum=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("with_base", [False, True])
def test_what_is_not_finite_is_told_of_that_model_and_tensor(tmp_path: Path, bad: float, with_base: bool) -> None:
    w, v = torch.arange(1.0, 7.0).reshape(2, 3), torch.ones(4)
    paths = [save(tmp_path, f"{i}.pt", {"w": w * (i + 1), "v": v}) for i in range(3)]
    broken = w.clone()
    broken[1, 1] = bad
    paths.append(save(tmp_path, "broken.pt", {"w": broken, "v": v}))
    found = wm.compare(paths[1:] if with_base else paths, paths[0] if with_base else None, density=0.5)
    last = len(found.models) - 1
    good = np.delete(np.arange(last + 1), last)
    assert np.isfinite(found.whole.cosine[np.ix_(good, good)]).all()
    assert np.isnan(found.whole.cosine[last, :last]).all()
    assert not np.isfinite(found.whole.distance[last, :last]).any()
    assert not np.isfinite(found.whole.relative_changes[last])
    assert np.isnan(found.map.points).all()
    assert np.isfinite(found.by_tensor[0].distance).all()
    assert len(compare_report(found).layers) == 2


def test_mistakes(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nothing to compare"):
        wm.compare([])
    with pytest.raises(RecipeError, match=r"in \(0, 1\], and is 1.5"):
        wm.compare(files, density=1.5)
    with pytest.raises(LayoutError, match="no floating-point tensor is in all"):
        wm.compare([files[0], save(tmp_path, "other.pt", {"w": torch.ones(2)})])
    with pytest.raises(CheckpointError):
        wm.compare([tmp_path / "missing.pt"])


def test_a_delta_file_with_a_base(files: list[Path], tmp_path: Path) -> None:
    delta.make(*(open_checkpoint(path).section() for path in files[:2]), str(tmp_path / "d.delta"), Options("dense"))
    with pytest.raises(KindError, match="a delta file is a change already"):
        wm.compare([tmp_path / "d.delta"], files[0])
    alone = wm.compare([tmp_path / "d.delta"]).whole.norms[0]
    assert alone == pytest.approx(wm.compare([files[1]], files[0]).whole.norms[0], rel=1e-6)


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names([Path("x/a.pt"), Path("x/b.pt")]) == ["a", "b"]
    assert short_names([Path("x/a.pt"), Path("x/a.safetensors")]) == ["a.pt", "a.safetensors"]
    assert short_names([Path("x/a.pt"), Path("y/a.pt")]) == ["x/a", "y/a"]
    assert short_names([Path("x/model-v1.5"), Path("x/model-v1.6")]) == ["model-v1.5", "model-v1.6"]
    assert short_names([Path("runs/lr0.5.pth.tar"), Path("skill.v2.delta")]) == ["lr0.5", "skill.v2"]
    assert short_names([Path("hf:org/tiny@v1.5"), Path(".pt")]) == ["tiny@v1.5", ".pt"]
    assert short_names([Path("a.pt"), Path("a.pt")]) == ["a.pt (1)", "a.pt (2)"]
