"""The benchmark runs, measures what it says, and its cases give right outputs. Nothing here fails on seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.bench import cases, compressor, peers, record, results, workload
from tests.bench.cases import CASES, Case
from tests.bench.measure import Cost, Program, ProgramError, Spread, alternate, ratios, run
from tests.bench.record import Record, this_machine
from tests.bench.results import Result, growth
from tests.bench.workload import Kind, Models
from weightmath.delta.api import open_delta
from weightmath.delta.planes import compressed, unpacked
from weightmath.job import prepare
from weightmath.running import load

# Far beyond what a busy machine shows (16 floors, 5 averages, 360 MB): these fail on what is broken, not on noise.
FLOORS = 50
AVERAGES = 30
PEAK = 400e6


PLAIN_RECIPES = [case for case in CASES if case.kind == Kind() and isinstance(case.recipe, str)]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench", *words]
    return subprocess.run(command, cwd=workload.ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    made = Models(Kind(), 500_000, tmp_path_factory.mktemp("models"))
    made.make(8)
    return made


def outputs_of(program: Program) -> tuple[Path, ...]:
    """What a program makes, made anew."""
    for path in program.outputs:
        workload.remove(path)
    run(program)
    return program.outputs


def state(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(path)["state_dict"]
    return loaded


# --- the whole


def test_measures_within_wide_bounds_and_cleans_up(tmp_path: Path) -> None:
    folder, path = tmp_path / "models", tmp_path / "bench.json"
    folder.mkdir()
    names = ("average of 3", "ties global", "make delta")
    done = bench("--case", *names, "--repeats", "1", "--json", str(path), "--folder", str(folder))
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
    read: dict[str, Any] = json.loads(path.read_text())
    assert set(read) == {"machine", "cases", "answers", "forecasts"}
    assert {"cores", "python", "weightmath", "numpy", "numkong"} <= set(read["machine"])
    case, ties, delta = read["cases"]
    assert [each["name"] for each in read["cases"]] == list(names)
    assert set(case) == set(Result.__dataclass_fields__)
    assert (case["name"], case["dtype"], case["threads"], case["passes"]) == ("average of 3", "float16", 2, 1)
    assert (case["repeats"], case["model"]) == (1, case["written"])
    assert case["read"] == 3 * case["written"]
    assert 60e6 < case["written"] < 68e6
    assert all(each["weightmath"]["peak"] < PEAK for each in read["cases"])
    assert case["ratio"]["cpu"]["median"] < FLOORS
    assert delta["ratio"]["cpu"]["median"] < FLOORS
    assert ties["ratio"]["cpu"]["median"] < AVERAGES * case["ratio"]["cpu"]["median"]
    assert ties["passes"] == 2
    assert set(read["answers"]) == {"--help", "plan", "inspect"}
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("average", "plan "))] == ["average", "plan"]


def test_stopped_it_leaves_no_models(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--case", "average of 3", "--folder", str(tmp_path)]
    process = subprocess.Popen(command, cwd=workload.ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        assert any(line.startswith("average of 3 ...") for line in process.stderr), "it has begun to measure"
        process.terminate()
        assert process.stderr.read().endswith("stopped\n")
    assert process.wait() == 130
    assert list(tmp_path.iterdir()) == []


def test_unknown_case_lists_what_there_is() -> None:
    done = bench("--case", "avrage")
    assert done.returncode == 2
    assert done.stderr.startswith("no case 'avrage'; there are: average of 3, ")
    assert "Traceback" not in done.stderr


# --- the record of several runs


def result(name: str, model: int, seconds: float = 1, **peers: Any) -> Result:
    cost, spread = {"wall": seconds, "cpu": seconds, "peak": 1e8}, Spread(2, 1, 3)
    ratio = {"wall": spread, "cpu": spread}
    return Result(name, "float16", 2, model, 1, 3 * model, model, 1, cost, cost, cost, ratio, None, peers)


def test_runs_add_to_a_record_and_replace_what_they_measure_anew(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    peer = {"version": "1", "repeats": 1, "wall": 5.0, "cpu": 5.0, "peak": 1e9, "times": Spread(5, 5, 5)}
    empty = record.read(path)
    assert empty == Record(this_machine())
    first = replace(empty, cases=(result("a", 10), result("b", 10, mergekit=peer)), answers={"plan": {"wall": 1}})
    record.write(first, path)
    assert record.read(path) == first
    both = record.read(path).adding(replace(empty, cases=(result("a", 10, 2), result("b", 20)), answers={"x": {}}))
    assert both.cases == (result("a", 10, 2), result("b", 10, mergekit=peer), result("b", 20))
    assert both.answers == {"plan": {"wall": 1}, "x": {}}


def test_the_record_of_another_machine_is_refused_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record.write(Record({**this_machine(), "numkong": "0.1"}), path)
    done = bench("--json", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{path} was measured with numkong 0.1; remove it to begin anew\n"


def test_what_plan_says_of_larger_models_needs_no_disk(tmp_path: Path) -> None:
    said = results.forecasts(tmp_path)
    assert list(said) == ["1e10", "1e11", "1e12"]
    assert list(tmp_path.iterdir()) == []
    assert said["1e12"]["read"] == pytest.approx(3 * 2e12, rel=0.01)
    assert said["1e12"]["written"] == pytest.approx(2e12, rel=0.01)
    assert said["1e12"]["seconds"] == pytest.approx(100 * said["1e10"]["seconds"], rel=0.2)
    assert said["1e12"]["peak"] < PEAK


# --- cases


def test_average_is_right_and_so_is_the_guides(models: Models) -> None:
    (case,) = cases.chosen(["average of 3"])
    ours, theirs = (
        state(outputs_of(program)[0])
        for program in (results.weightmath(case, models), peers.PEERS[0].program(case.name, models, sys.executable))
    )
    inputs = [state(models.path(i)) for i in range(3)]
    for name in inputs[0]:
        expected = sum(w * model[name].double() for w, model in zip((0.5, 0.3, 0.2), inputs, strict=True))
        assert isinstance(expected, torch.Tensor)
        torch.testing.assert_close(ours[name], expected.half())
        torch.testing.assert_close(theirs[name], ours[name])


@pytest.mark.parametrize("case", PLAIN_RECIPES, ids=lambda case: str(case.name))
def test_recipe_would_run(case: Case, models: Models) -> None:
    job = prepare(load(results.weightmath(case, models).command[4]))
    assert len(job.inputs) == case.models
    written = sum(save.image.size for save in job.saves)
    assert written == pytest.approx(case.writes * models.bytes(), rel=0.1, abs=0.1 * models.bytes())


def test_a_delta_is_made_and_gives_the_tuned_file_back(models: Models) -> None:
    make, apply = cases.chosen(["make delta", "apply delta"])
    (delta,) = outputs_of(results.weightmath(make, models))
    assert delta.stat().st_size < models.bytes()
    (again,) = outputs_of(results.weightmath(apply, models))
    assert again.read_bytes() == models.path(1).read_bytes()
    # What is taken out for the compressor is what weightmath does: it makes the same bytes.
    found = list(compressor.pieces(open_delta(delta)))
    assert found
    assert all(compressed(unpacked(content, size)) == content for content, size in found)


@pytest.mark.parametrize("name", ["safetensors", "4 shards"])
def test_other_forms_give_the_values_of_the_first(name: str, models: Models, tmp_path: Path) -> None:
    (case,) = cases.chosen([name])
    others = Models(case.kind, models.nbytes, tmp_path)
    others.make(3)
    (written,) = outputs_of(results.weightmath(case, others))
    parts = [load_file(path) for path in workload.files(written) if path.suffix == ".safetensors"]
    merged = {name: tensor for part in parts for name, tensor in part.items()}
    (average,) = cases.chosen(["average of 3"])
    expected = state(outputs_of(results.weightmath(average, models))[0])
    assert merged.keys() == expected.keys()
    assert all(torch.equal(tensor, merged[name]) for name, tensor in expected.items())


def test_cases_are_chosen_by_name_glob_and_kind() -> None:
    assert [case.name for case in cases.chosen(["average of ?"])] == ["average of 3", "average of 2", "average of 8"]
    assert all(case.main for case in cases.chosen([]))
    everything = cases.chosen(["all"])
    assert sorted(case.name for case in everything) == sorted({case.name for case in CASES})
    together = [kind for kind, _ in groupby(everything, lambda case: case.kind)]
    assert len(together) == len(set(together)), "models of a kind are made once"


# --- models


@pytest.mark.parametrize("nbytes", [2_000_000, 64_000_000, 2_132_000_000])
def test_networks_have_the_size_and_the_tensors_that_are_said(nbytes: int) -> None:
    made = dict(workload.shapes("network", nbytes // 2))
    elements = sum(torch.Size(shape).numel() for shape in made.values())
    assert len(made) == 1143
    assert elements == pytest.approx(nbytes // 2, rel=0.2 if nbytes < 10_000_000 else 0.02)


def test_small_tensors_are_100000_at_most() -> None:
    assert len(dict(workload.shapes("small", 1 << 40))) == 100_000
    assert dict(workload.shapes("small", 999)) == {f"model.experts.{i}.bias": (300,) for i in range(3)}


def test_models_are_seeded_and_differ_like_fine_tunes(models: Models, tmp_path: Path) -> None:
    again = Models(models.kind, models.nbytes, tmp_path)
    again.make(2)
    assert again.path(1).read_bytes() == models.path(1).read_bytes()
    base, tuned = (torch.cat([t.double().ravel() for t in state(models.path(i)).values()]) for i in range(2))
    assert base.std().item() == pytest.approx(0.02, rel=0.05)
    assert (tuned - base).std().item() == pytest.approx(0.002, rel=0.05)
    again.remove()
    assert list(tmp_path.iterdir()) == []


# --- measuring


def test_floor_copies_the_first_input(models: Models) -> None:
    (case,) = cases.chosen(["11 outputs"])
    program = results.floor(case, models)
    run(program)
    assert len(program.outputs) == 11
    assert all(path.read_bytes() == models.path(0).read_bytes() for path in program.outputs)


def test_programs_take_turns_and_their_outputs_go(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def appends(word: str) -> Program:
        output = tmp_path / word
        code = f"open({str(log)!r}, 'a').write({word!r}); open({str(output)!r}, 'x'); print({word!r})"
        return Program([sys.executable, "-c", code], (output,))

    costs, printed = alternate({"a": appends("a"), "b": appends("b")}, 2)
    assert log.read_text() == "abab"
    assert printed == {"a": "a\n", "b": "b\n"}
    assert os.listdir(tmp_path) == ["log"]
    assert all(cost.cpu > 0 and cost.wall > 0 for cost in costs["a"])


def test_peak_is_the_childs() -> None:
    grows = Program([sys.executable, "-c", "b'x' * 1_500_000_000"])
    assert 1_400_000_000 < run(grows)[0].peak < 1_700_000_000


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell")
def test_peak_is_that_of_all_processes_together() -> None:
    # More than pytest holds, which counts as the child's until it is a program of its own.
    code = "import os, time; held = b'x' * 500_000_000; os.fork(); more = b'y' * 500_000_000; time.sleep(3)"
    assert 1_450_000_000 < run(Program([sys.executable, "-c", code]))[0].peak < 1_650_000_000, "what is shared, once"


def test_failing_program_says_why() -> None:
    with pytest.raises(ProgramError, match="exit code 3: no"):
        run(Program([sys.executable, "-c", "import sys; print('no', file=sys.stderr); sys.exit(3)"]))


def test_ratios_are_taken_turn_by_turn() -> None:
    own, start, floor = (
        [Cost(w, c, 0) for w, c in pairs] for pairs in ([(5, 7), (9, 8)], [(1, 1), (3, 2)], [(2, 3), (2, 2)])
    )
    assert ratios(own, start, floor) == {"wall": Spread(2.5, 2, 3), "cpu": Spread(2.5, 2, 3)}
    assert str(Spread(2.5, 2, 3)) == "2.50 (2.00-3.00)"


def test_growth_is_what_a_further_byte_costs() -> None:
    def result(name: str, seconds: float, copying: float, peak: float) -> Result:
        ours, floor = ({"wall": s, "cpu": 2 * s, "peak": peak} for s in (seconds, copying))
        return Result(name, "float16", 2, 0, 1, 0, 0, 1, floor, {}, ours, {}, None, {})

    sizes = [result(cases.SMALLEST, 3, 0.1, 200e6), result(cases.LARGEST, 5, 1.1, 201e6)]
    assert growth(sizes) == pytest.approx({"wall": 2, "cpu": 2, "peak": 1e6})
    assert growth(sizes[:1]) is None


def test_peer_without_its_package_has_no_version() -> None:
    assert peers.Peer("nobody", "no-such-package-anywhere", {}).version(sys.executable) is None
