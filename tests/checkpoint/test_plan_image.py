"""Outputs, read back by torch.load in its three ways, are the template but for what was wished."""

import collections
import filecmp
import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoint.rewrite import rewrite
from tests.checkpoint.test_zip_layout import write_sparse
from tests.packages import folds
from weightmath.checkpoint import open_checkpoint, plan_image
from weightmath.dtypes import DTYPES
from weightmath.errors import OutputError

OPTIMIZER = {
    "state": {0: {"exp_avg": torch.randn(3, 4), "step": torch.tensor(7.0)}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}


def load_all_ways(path: Path) -> list[Any]:
    return [
        torch.load(path, weights_only=False),
        torch.load(path, weights_only=True),
        torch.load(path, weights_only=True, mmap=True),
    ]


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape, one.stride(), one.requires_grad) == (
            other.dtype, other.shape, other.stride(), other.requires_grad,
        )  # fmt: skip
        assert (
            one.detach().reshape(-1).view(torch.uint8).tolist() == other.detach().reshape(-1).view(torch.uint8).tolist()
        )
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def test_assert_same_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_same({"a": torch.ones(2)}, {"a": torch.ones(2).half()})
    with pytest.raises(AssertionError):
        assert_same({"a": torch.ones(2)}, {"a": torch.zeros(2)})


def rich() -> dict[str, Any]:
    """A checkpoint with most of what torch can put into one."""
    torch.manual_seed(1)
    flat = torch.randn(100)
    weight = torch.nn.Parameter(torch.randn(3, 4))
    state = collections.OrderedDict(
        w=weight, tied=weight, also=weight.detach(), empty=torch.empty(0, 2), zero=torch.tensor(1.5),
        steps=torch.tensor(3),
        part=flat[10:20], other=flat[50:60].view(2, 5), turned=torch.randn(3, 5).t(),
        image=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), half=torch.randn(3).half(),
        brain=torch.randn(3).bfloat16(), tiny=torch.randn(4).to(torch.float8_e5m2), mask=torch.tensor([True, False]),
        big=torch.randn(5000), wave=torch.randn(2, dtype=torch.complex64),
    )  # fmt: skip
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    return {
        "epoch": 4,
        "state_dict": state,
        "optimizer": OPTIMIZER,
        "hparams": {"lr": 1e-3, "device": "cuda:0"},
        "sched": [1, (2, 3)],
    }


@pytest.mark.parametrize("number", range(5))
def test_real_checkpoints_survive_to_the_byte(number: int, tmp_path: Path) -> None:
    template = folds()[number]
    rewrite(template, tmp_path / "out.pt", device="keep", threads=2)
    assert filecmp.cmp(template, tmp_path / "out.pt", shallow=False)


@pytest.mark.parametrize("piece", [1, 7, 4096])
@pytest.mark.parametrize("computed", ["all", "some", "none"])
def test_nothing_changed_is_the_template_to_the_byte(piece: int, computed: str, tmp_path: Path) -> None:
    torch.save(rich(), tmp_path / "a.pt")
    names = {"all": None, "none": [], "some": ["big", "part", "turned", "w", "tied", "also", "zero"]}[computed]
    rewrite(tmp_path / "a.pt", tmp_path / "out.pt", computed=names, piece=piece, seed=piece)
    assert filecmp.cmp(tmp_path / "a.pt", tmp_path / "out.pt", shallow=False)


def test_new_values_are_what_torch_would_have_saved(tmp_path: Path) -> None:
    value = rich()
    torch.save(value, tmp_path / "same.pt")
    expected = tmp_path / "expected"
    expected.mkdir()
    with torch.no_grad():
        fresh = {
            name: t + 1 if t.dtype.is_floating_point and t.dtype.itemsize > 1 else t
            for name, t in value["state_dict"].items()
        }
        for name, tensor in value["state_dict"].items():
            tensor.copy_(fresh[name])
    # The same name: torch takes the archive's root from it.
    torch.save(value, expected / "same.pt")
    rewrite(tmp_path / "same.pt", tmp_path / "out.pt", fresh, threads=3, piece=13)
    assert filecmp.cmp(expected / "same.pt", tmp_path / "out.pt", shallow=False)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_threads_and_order_do_not_matter(threads: int, seed: int, tmp_path: Path) -> None:
    torch.save(rich(), tmp_path / "a.pt")
    half = {"big": DTYPES["float16"]}
    rewrite(tmp_path / "a.pt", tmp_path / "one.pt", dtypes=half)
    rewrite(tmp_path / "a.pt", tmp_path / "two.pt", dtypes=half, threads=threads, seed=seed, piece=100 * seed)
    assert filecmp.cmp(tmp_path / "one.pt", tmp_path / "two.pt", shallow=False)


FLOATS = ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("old", FLOATS)
@pytest.mark.parametrize("new", FLOATS)
@pytest.mark.parametrize("which", ["a", "bct", "abctd"])
def test_every_dtype_to_every_other(old: str, new: str, which: str, tmp_path: Path) -> None:
    check_retype(old, new, which, 2, tmp_path)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    ("old", "new"), [("float32", "float16"), ("float16", "float8_e5m2"), ("float8_e5m2", "float64")]
)
def test_dtypes_in_other_pickle_protocols(old: str, new: str, protocol: int, tmp_path: Path) -> None:
    check_retype(old, new, "abctd", protocol, tmp_path)


def check_retype(old: str, new: str, which: str, protocol: int, folder: Path) -> None:
    kind, goal = getattr(torch, old), getattr(torch, new)
    shared = torch.nn.Parameter(torch.arange(6.0).to(kind).reshape(2, 3))
    state = {
        "a": torch.ones(3).to(kind), "b": shared, "c": shared.detach().view(2, 3), "t": shared,
        "d": torch.arange(4.0).to(kind).reshape(2, 2).t(),
    }  # fmt: skip
    others = {"same": kind, "storage": torch.FloatStorage, "cpu": "cpu"}
    torch.save({**state, **others}, folder / "a.pt", pickle_protocol=protocol)
    rewrite(folder / "a.pt", folder / "b.pt", dtypes=dict.fromkeys(which, DTYPES[new]))
    loaded = torch.load(folder / "b.pt", weights_only=False)
    for name, tensor in state.items():
        wanted = tensor.detach().to(goal if name in which else kind)
        assert (loaded[name].dtype, loaded[name].stride()) == (wanted.dtype, tensor.stride())
        assert torch.equal(loaded[name].detach().double(), wanted.double())
    assert (loaded["same"], loaded["storage"].dtype, loaded["cpu"]) == (kind, torch.float32, "cpu")
    assert loaded["b"] is loaded["t"]
    assert isinstance(loaded["b"], torch.nn.Parameter)
    assert loaded["b"].data_ptr() == loaded["c"].data_ptr()
    rewrite(folder / "b.pt", folder / "c.pt", dtypes=dict.fromkeys(which, DTYPES[old]))
    assert {
        tensor.dtype
        for tensor in torch.load(folder / "c.pt", weights_only=False).values()
        if isinstance(tensor, torch.Tensor)
    } == {kind}


def test_the_three_ways_to_load_a_retyped_file(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0), "b": torch.nn.Parameter(torch.ones(2, 2)), "n": torch.tensor(3)}
    torch.save(state, tmp_path / "a.pt")
    for new in ("float16", "bfloat16", "float8_e4m3fn"):
        rewrite(tmp_path / "a.pt", tmp_path / f"{new}.pt", dtypes={"a": DTYPES[new]})
        for loaded in load_all_ways(tmp_path / f"{new}.pt"):
            assert_same(loaded, {**state, "a": state["a"].to(getattr(torch, new))})


def test_positions_that_torch_computes_stay_right(tmp_path: Path) -> None:
    state = {name: torch.randn(50 + i) for i, name in enumerate("abcdef")}
    torch.save({"model": state, "junk": {"x": torch.randn(9)}}, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "half.pt", dtypes={"b": DTYPES["float16"], "d": DTYPES["float8_e5m2"]})
    rewrite(tmp_path / "a.pt", tmp_path / "drop.pt", drop=["junk"], extra={"weightmath.json": b"{}"})
    with torch.utils.serialization.config.patch("load.calculate_storage_offsets", True):
        half = torch.load(tmp_path / "half.pt", mmap=True)["model"]
        drop = torch.load(tmp_path / "drop.pt", mmap=True)["model"]
    assert all(torch.equal(half[name].float(), state[name].to(half[name].dtype).float()) for name in state)
    assert all(torch.equal(drop[name], state[name]) for name in state)


@pytest.fixture
def lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, types.ModuleType]:
    """A nested checkpoint from `cuda:0` that holds an object of a class that is not installed."""
    module = types.ModuleType("elsewhere")
    exec("class Config:\n  def __init__(self, **k): self.__dict__.update(k)", module.__dict__)  # noqa: S102
    module.Config.__module__ = "elsewhere"
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    device = "cuda:0"
    value = {
        "epoch": 3,
        "hparams": {"device": device, "kind": torch.FloatStorage, "config": module.Config(device=device, w=[1])},
        "state_dict": {"net.w": torch.ones(3), "net.b": torch.zeros(2)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.full((3,), 5.0)}}}],
        "loops": module.Config(inner={"device": device}),
    }  # fmt: skip
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: device)
    torch.save(value, tmp_path / "a.ckpt")
    monkeypatch.delitem(sys.modules, "elsewhere")
    return tmp_path / "a.ckpt", module


def test_classes_that_are_not_installed_survive(
    lightning: tuple[Path, types.ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, module = lightning
    checkpoint = open_checkpoint(path)
    assert checkpoint.section().name == "state_dict"
    assert {tensor.storage.device for tensor in checkpoint.tensors} == {"cuda:0"}
    fresh = {"net.w": torch.tensor([1.0, 2.0, 3.0]), "net.b": torch.tensor([4.0, 5.0])}
    rewrite(path, tmp_path / "out.ckpt", fresh, dtypes={"net.w": DTYPES["float16"]})
    assert "elsewhere" not in sys.modules
    places = {tensor.dotted: tensor.storage.device for tensor in open_checkpoint(tmp_path / "out.ckpt").tensors}
    assert places == {
        "state_dict.net.w": "cpu", "state_dict.net.b": "cpu", "optimizer_states.0.state.0.exp_avg": "cuda:0",
    }  # fmt: skip
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    loaded = torch.load(tmp_path / "out.ckpt", weights_only=False, map_location="cpu")
    assert loaded["hparams"]["device"] == "cuda:0"
    assert loaded["hparams"]["kind"].dtype == torch.float32
    assert vars(loaded["hparams"]["config"]) == {"device": "cuda:0", "w": [1]}
    assert vars(loaded["loops"]) == {"inner": {"device": "cuda:0"}}
    assert loaded["state_dict"]["net.w"].tolist() == [1, 2, 3]
    assert loaded["state_dict"]["net.w"].dtype == torch.float16
    assert loaded["optimizer_states"][0]["state"][0]["exp_avg"].tolist() == [5, 5, 5]


def test_keep_weights(lightning: tuple[Path, types.ModuleType], tmp_path: Path) -> None:
    path, _ = lightning
    rewrite(path, tmp_path / "out.ckpt", keep="weights")
    for loaded in load_all_ways(tmp_path / "out.ckpt"):
        assert_same(loaded, {"state_dict": {"net.w": torch.ones(3), "net.b": torch.zeros(2)}})
    assert (tmp_path / "out.ckpt").stat().st_size < path.stat().st_size
    assert len(open_checkpoint(tmp_path / "out.ckpt").source.records) < len(open_checkpoint(path).source.records)


def test_drop(tmp_path: Path) -> None:
    value = rich()
    torch.save(value, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "out.pt", drop=["optim*", "re:^hparams$", "state_dict.mask", "sched"])
    del value["optimizer"], value["hparams"], value["state_dict"]["mask"], value["sched"]
    loaded = torch.load(tmp_path / "out.pt", weights_only=False)
    assert_same(loaded, value)
    assert loaded["state_dict"]._metadata == {"": {"version": 1}}
    assert loaded["state_dict"]["w"] is loaded["state_dict"]["tied"]


def test_drop_from_sharing_mappings(tmp_path: Path) -> None:
    state = {"a": torch.ones(2), "b": torch.nn.Parameter(torch.ones(3))}
    torch.save({"ema": state, "model": {**state}, "best": state}, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "out.pt", {"a": torch.zeros(2), "b": torch.zeros(3)}, drop=["ema", "best"])
    loaded = torch.load(tmp_path / "out.pt")
    assert_same(loaded, {"model": {"a": torch.zeros(2), "b": torch.nn.Parameter(torch.zeros(3))}})


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"drop": ["optimiser"]}, "matches nothing(?s:.*)did you mean `optimizer`"),
        ({"drop": ["state*"]}, "holds the merged tensors"),
        ({"drop": ["*"]}, "holds the merged tensors"),
        ({"computed": ["nope"]}, "has no tensor `nope`"),
        ({"computed": ["big"], "dtypes": {"half": DTYPES["float32"]}}, "cannot change its dtype"),
        ({"computed": ["w"]}, "share elements"),
        ({"dtypes": {"w": DTYPES["float16"]}}, "share one storage"),
        ({"drop": ["state_dict.big"]}, "leaves out `big`, which is computed"),
    ],
)
def test_wishes_that_contradict(wishes: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(rich(), tmp_path / "a.pt")
    section = open_checkpoint(tmp_path / "a.pt").section()
    computed = wishes.pop("computed", section.layout.names)
    with pytest.raises(OutputError, match=message):
        plan_image(section, computed, **wishes)


SHARED = torch.arange(10.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": SHARED[:6], "b": SHARED[5:]}, "`a` and `b` share elements"),
        ({"a": SHARED[:3].expand(2, 3)}, "is expanded"),
        ({"state_dict": {"a": SHARED}, "ema": {"a": SHARED}}, "`state_dict.a` and `ema.a` share elements"),
        ({"a": SHARED.view(2, 5)[:, :3], "b": SHARED.view(2, 5)[:, 2:]}, "`b` and `a` share elements"),
        (
            {"a": SHARED, "s": torch.sparse_coo_tensor(torch.zeros(1, 10).long(), SHARED, check_invariants=True)},
            "not a plain tensor",
        ),
    ],
)
def test_elements_that_have_no_right_answer(value: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "a.pt")
    section = open_checkpoint(tmp_path / "a.pt").section()
    with pytest.raises(OutputError, match=message):
        plan_image(section, section.layout.names)


@pytest.mark.parametrize("computed", [("a", "b", "c"), ("a", "b")])
def test_the_two_that_share_elements_are_named(computed: tuple[str, ...], tmp_path: Path) -> None:
    columns = SHARED.view(2, 5)
    torch.save({"a": columns[:, :1], "b": columns[:, 1:3], "c": columns[:, 2:4]}, tmp_path / "a.pt")
    section = open_checkpoint(tmp_path / "a.pt").section()
    with pytest.raises(OutputError, match="`c` and `b` share elements"):
        plan_image(section, computed)


def test_interleaved_columns(tmp_path: Path) -> None:
    fused = torch.arange(20.0).reshape(4, 5)
    torch.save({"q": fused[:, :2], "k": fused[:, 2:4]}, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "out.pt", {"q": torch.zeros(4, 2), "k": torch.ones(4, 2)}, piece=3)
    loaded = torch.load(tmp_path / "out.pt")
    assert loaded["q"].eq(0).all()
    assert loaded["k"].eq(1).all()
    whole = torch.empty(0).set_(loaded["q"].untyped_storage(), 0, (4, 5))
    assert whole[:, 4].tolist() == fused[:, 4].tolist()


def test_flat_storage_of_an_lstm(tmp_path: Path) -> None:
    flat = torch.randn(60)
    state = {"lstm.w": flat[:40].view(4, 10), "lstm.b": flat[40:55]}
    torch.save(state, tmp_path / "a.pt")
    image = rewrite(tmp_path / "a.pt", tmp_path / "out.pt", dtypes=dict.fromkeys(state, DTYPES["float16"]))
    loaded = torch.load(tmp_path / "out.pt")
    assert all(torch.equal(loaded[name], state[name].half()) for name in state)
    assert loaded["lstm.w"].untyped_storage().nbytes() == 120
    assert [zeros.size for zeros in image.zeros] == [10]
    with pytest.raises(OutputError, match="share one storage"):
        rewrite(tmp_path / "a.pt", tmp_path / "no.pt", dtypes={"lstm.w": DTYPES["float16"]})


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor", "ignore:TypedStorage is deprecated")
def test_other_things_survive(tmp_path: Path) -> None:
    numbers = torch.randn(4)
    value = {
        "model": {"w": torch.ones(3)}, "sparse": torch.eye(3).to_sparse(),
        "conjugate": torch.randn(2, dtype=torch.complex64).conj(), "size": torch.Size([1, 2]),
        "quantized": torch.quantize_per_tensor(numbers, 0.1, 0, torch.qint8),
        "meta": torch.empty(3, device="meta"), "set": {1, 2}, "array": pickle.dumps(1), "device": torch.device("cpu"),
    }  # fmt: skip
    torch.save(value, tmp_path / "a.pt")
    rewrite(
        tmp_path / "a.pt", tmp_path / "out.pt", {"w": torch.zeros(3)}, dtypes={"w": DTYPES["float16"]}, drop=["set"]
    )
    loaded = torch.load(tmp_path / "out.pt", weights_only=False)
    assert loaded["model"]["w"].dtype == torch.float16
    assert torch.equal(loaded["sparse"].to_dense(), torch.eye(3))
    assert torch.equal(loaded["conjugate"], value["conjugate"])
    assert torch.equal(loaded["quantized"].dequantize(), value["quantized"].dequantize())
    assert (loaded["size"], loaded["device"], loaded["meta"].shape) == (value["size"], value["device"], (3,))
    assert "set" not in loaded


def test_extra_records_are_ignored_by_torch(tmp_path: Path) -> None:
    torch.save(rich(), tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "b.pt", extra={"weightmath/recipe.yaml": b"one"})
    rewrite(tmp_path / "b.pt", tmp_path / "c.pt", extra={"weightmath/recipe.yaml": b"two"})
    assert_same(torch.load(tmp_path / "c.pt", weights_only=False), rich())
    source = open_checkpoint(tmp_path / "c.pt").source
    assert list(source.records)[-1] == "weightmath/recipe.yaml"
    record = source.records["weightmath/recipe.yaml"]
    assert (tmp_path / "c.pt").read_bytes()[record.offset :][: record.size] == b"two"


def test_files_of_older_torch_survive_to_the_byte(tmp_path: Path) -> None:
    """Before 2.1: no byteorder, no format, the root is `archive`."""
    torch.save({"model": {"a": torch.arange(4.0), "b": torch.ones(2, 2)}, "epoch": 1}, tmp_path / "new.pt")
    template = open_checkpoint(tmp_path / "new.pt")
    with template.open() as reader:
        names = ["data.pkl", "data/0", "data/1", "version"]
        found = [template.source.records[name] for name in names]
        contents = {
            f"archive/{name}": reader.read_bytes(r.offset, r.size) for name, r in zip(names, found, strict=True)
        }
    write_sparse(tmp_path / "old.pt", contents)
    rewrite(tmp_path / "old.pt", tmp_path / "out.pt")
    assert filecmp.cmp(tmp_path / "old.pt", tmp_path / "out.pt", shallow=False)
    assert open_checkpoint(tmp_path / "out.pt").writer == "PyTorch"


def test_another_alignment_survives_to_the_byte(tmp_path: Path) -> None:
    with torch.utils.serialization.config.patch("save.storage_alignment", 4096):
        torch.save(rich(), tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "out.pt")
    assert filecmp.cmp(tmp_path / "a.pt", tmp_path / "out.pt", shallow=False)


def test_a_zip_that_torch_did_not_lay_out_gets_torchs_layout(tmp_path: Path) -> None:
    torch.save(rich(), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as source, zipfile.ZipFile(tmp_path / "b.pt", "w") as packed:
        for info in source.infolist():
            packed.writestr(info.filename, source.read(info))
    rewrite(tmp_path / "b.pt", tmp_path / "out.pt")
    assert filecmp.cmp(tmp_path / "a.pt", tmp_path / "out.pt", shallow=False)


def test_storages_out_of_order_lose_the_promise_of_order(tmp_path: Path) -> None:
    state = {"a": torch.arange(4.0), "b": torch.ones(30)}
    torch.save(state, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as source, zipfile.ZipFile(tmp_path / "b.pt", "w") as packed:
        for info in sorted(source.infolist(), key=lambda info: info.filename.replace("data/0", "data/9")):
            packed.writestr(info.filename, source.read(info))
    rewrite(tmp_path / "b.pt", tmp_path / "out.pt")
    with torch.utils.serialization.config.patch("load.calculate_storage_offsets", True):
        assert_same(torch.load(tmp_path / "out.pt", mmap=True), state)


def test_torch_finds_positions_without_data(tmp_path: Path) -> None:
    state = {name: torch.randn(50 + i) for i, name in enumerate("abc")}
    torch.save(state, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "out.pt", dtypes={"b": DTYPES["float16"]})
    with torch._subclasses.FakeTensorMode():
        fake = torch.load(tmp_path / "out.pt")
    data = (tmp_path / "out.pt").read_bytes()
    for name, tensor in torch.load(tmp_path / "out.pt").items():
        offset = fake[name].untyped_storage()._checkpoint_offset
        assert data[offset : offset + tensor.nbytes] == tensor.numpy().tobytes()
