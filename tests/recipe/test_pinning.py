"""Pins written into texts of recipes: what changes, and that all else stays."""

import pytest

from weightmath.errors import RecipeError
from weightmath.recipe import loads, pinning, with_pins

A, B, C = (f"wm1:{digit * 32}" for digit in "abc")
SUM = "5" * 64


def pinned(text, **pins):
    return with_pins(text, "merge.yaml", {name: {"fingerprint": values} for name, values in pins.items()})


SAVE = "save:\n  out.ckpt: base\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  base: base.ckpt\n", f"  base: {{path: base.ckpt, fingerprint: '{A}'}}\n"),
        ("  base: base.ckpt  # the base\n", f"  base: {{path: base.ckpt, fingerprint: '{A}'}}  # the base\n"),
        ("  base: 'it''s.ckpt'\n", f"  base: {{path: 'it''s.ckpt', fingerprint: '{A}'}}\n"),
        ("  base: it's, [here].ckpt\n", f"  base: {{path: 'it''s, [here].ckpt', fingerprint: '{A}'}}\n"),
        ("  base: {path: base.ckpt}\n", f"  base: {{path: base.ckpt, fingerprint: '{A}'}}\n"),
        ("  base: {path: base.ckpt, part: true,}\n", f"  base: {{path: base.ckpt, part: true, fingerprint: '{A}',}}\n"),
        (f"  base: {{path: b.ckpt, fingerprint: {B}, part: true}}\n",
         f"  base: {{path: b.ckpt, fingerprint: '{A}', part: true}}\n"),
        ("  base:\n      path: base.ckpt  # here\n      part: true\n",
         f"  base:\n      path: base.ckpt  # here\n      fingerprint: '{A}'\n      part: true\n"),
        (f"  base:\n    fingerprint: {B} # old\n    path: base.ckpt\n",
         f"  base:\n    fingerprint: '{A}' # old\n    path: base.ckpt\n"),
    ],
)  # fmt: skip
def test_one_input(before, after):
    assert pinned(f"# top\ninputs:\n{before}\n{SAVE}", base=[A]) == f"# top\ninputs:\n{after}\n{SAVE}"


def test_several_keys_inputs_and_files():
    text = f"{SAVE}inputs:\n  base: base.ckpt\n  runs:\n    glob: runs/*.ckpt"
    pins = {"base": {"fingerprint": [A], "sha256": [SUM]}, "runs": {"fingerprint": [B, C]}}
    found = with_pins(text, "merge.yaml", pins)
    assert found == (
        f"{SAVE}inputs:\n  base: {{path: base.ckpt, fingerprint: '{A}', sha256: '{SUM}'}}\n"
        f"  runs:\n    glob: runs/*.ckpt\n    fingerprint: ['{B}', '{C}']"
    )
    spec = loads(found).spec.inputs
    assert (spec["base"].fingerprint, spec["base"].sha256, spec["runs"].fingerprint) == ((A,), (SUM,), (B, C))
    assert with_pins(found, "merge.yaml", pins) == found


def test_line_ends_and_marks_stay():
    text = "\ufeffinputs:\r\n  base:\r\n    path: base.ckpt\r\nsave: {out.ckpt: base}\r\n"
    added = f"    fingerprint: '{A}'\r\n"
    assert pinned(text, base=[A]) == text.replace("base.ckpt\r\n", f"base.ckpt\r\n{added}", 1)


def test_inputs_in_braces():
    text = "inputs: {base: base.ckpt, chat: {path: chat.ckpt}}\nsave: {out.ckpt: base}\n"
    assert pinned(text, base=[A], chat=[B]) == (
        f"inputs: {{base: {{path: base.ckpt, fingerprint: '{A}'}}, chat: {{path: chat.ckpt, fingerprint: '{B}'}}}}\n"
        "save: {out.ckpt: base}\n"
    )


def test_a_path_of_several_lines():
    text = "inputs:\n  base:\n    path: |-\n      base.ckpt\n    part: true\nsave: {out.ckpt: base}\n"
    assert loads(pinned(text, base=[A])).spec.inputs["base"].fingerprint == (A,)


def test_an_edit_that_would_say_something_else_is_not_made(monkeypatch):
    monkeypatch.setattr(pinning, "_in_braces", lambda node, written: "other.ckpt")
    with pytest.raises(RecipeError) as caught:
        pinned(f"inputs:\n  base: base.ckpt\n{SAVE}", base=[A])
    assert str(caught.value) == (
        f"merge.yaml: the inputs are written in a way that cannot be edited\n  hint: add\n  base: fingerprint: '{A}'"
    )
