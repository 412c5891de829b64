"""The formula of weightmath for each method of mergekit, and where the two compute something different.

The names mislead: mergekit's `della` is our `della_ties`, its `della_linear` our `della`, its `dare_linear` our `dare`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from weightmath.errors import RecipeError
from weightmath.mergekit.pieces import Piece, Step, Task, call, listed, number, numbers, per_model, single
from weightmath.mergekit.settings import Rule, Setting, constant, plain

_TRIM = 'mergekit counts densities in each tensor by itself, scope="tensor"; here in the whole model, as in the paper.'
_MANY = 'Densities that differ between tensors are counted in each of them, as mergekit does: scope="tensor".'
_L1 = (
    'mergekit gives each tensor the sum of magnitudes that it had, rescale="l1"; here, as in the papers, what is kept '
    "is divided by the probability to be kept."
)
_RANDOM = "The random masks are others than mergekit's; here one seed gives the same ones on any machine."
_TIE = "Where weighted task vectors cancel exactly, mergekit takes the positive elements, weightmath none."
_SIGNED = "mergekit divides by the sum of the weights with their signs, weightmath by that of their magnitudes."
_NO_RESCALE = "mergekit's `rescale: true` gives each tensor the sum of magnitudes that it had; this method does not."
_CRUMBS = "mergekit keeps nothing of a tensor of fewer than 1 / density elements, weightmath one."


def step_of(method: str, task: Task) -> Step:
    """The step that a method of mergekit becomes. RecipeError for options without a counterpart."""
    return _STEPS[method](task)


def _ties(task: Task) -> Step:
    densities = [_at_most_one(setting) for setting in task.each("density")]
    trims = any(constant(density) != 1 for density in densities)
    tables = any(constant(density) is None for density in densities)
    by_tensor = trims and (task.like or tables)
    notes = [_MANY if tables else _TRIM] if trims and not task.like else []
    scope = 'scope="tensor"' if by_tensor else ""
    share = per_model(task, "densities", "density", densities, 0.2)
    options = (_weights(task), share, _scale(task), scope, _normalize(task))
    formula = call("ties", *_models(task), *options)
    return Step(formula, [*notes, *_no_rescale(task), *_election_notes(task)])


def _dare(task: Task) -> Step:
    return _dropped(task, "dare", [])


def _dare_ties(task: Task) -> Step:
    return _dropped(task, "dare_ties", [_normalize(task)], _election_notes(task))


def _della(task: Task) -> Step:
    return _dropped(task, "della", [_epsilons(task)])


def _della_ties(task: Task) -> Step:
    return _dropped(task, "della_ties", [_epsilons(task), _normalize(task)], _election_notes(task))


def _dropped(task: Task, function: str, options: list[Piece], notes: list[str] | None = None) -> Step:
    """A method that drops elements at random."""
    densities = [_at_most_one(setting) for setting in task.each("density")]
    for model, density in zip(task.models, densities, strict=True):
        if constant(density) == 0:
            raise RecipeError(f"density 0 leaves nothing of `{model}`", hint="take the model out of the configuration")
    drops = any(constant(density) != 1 for density in densities)
    share = per_model(task, "densities", "density", densities, 0.5)
    rescale, seed, more = "", Piece(""), []
    if drops:
        rescales = task.flag("rescale")
        rescale = 'rescale="none"' if not rescales else 'rescale="l1"' if task.like else ""
        seed = single(task, "seed", plain(task.seed))
        more = [_L1, _RANDOM] if rescales and not task.like else [_RANDOM]
    linear = "ties" not in function
    scale = _divided_scale(task) if linear else _scale(task)
    formula = call(function, *_models(task), _weights(task), share, *options, scale, rescale, seed)
    return Step(formula, [*more, *(notes or [])])


def _epsilons(task: Task) -> Piece:
    """At density 1 mergekit keeps all, whatever the epsilon."""
    pairs = zip(task.each("density"), task.each("epsilon"), strict=True)
    kept = [_beside(_at_most_one(density), epsilon, _no_spread) for density, epsilon in pairs]
    return per_model(task, "epsilons", "epsilon", kept, 0.05)


def _no_spread(density: float, epsilon: float) -> float:
    return 0.0 if density == 1 else epsilon


def _breadcrumbs(task: Task) -> Step:
    return _crumbs(task, "breadcrumbs", _divided_scale(task), Piece(""), [])


def _breadcrumbs_ties(task: Task) -> Step:
    return _crumbs(task, "breadcrumbs_ties", _scale(task), _normalize(task), _election_notes(task))


def _crumbs(task: Task, function: str, scale: Piece, normalize: Piece, notes: list[str]) -> Step:
    densities = [_at_most_one(setting) for setting in task.each("density")]
    drops = any(constant(density) != 1 for density in densities)
    gammas, changed = _gammas(task, densities)
    share = per_model(task, "densities", "density", densities, 0.1)
    outliers = per_model(task, "gammas", "gamma", gammas, 0.01)
    formula = call(function, *_models(task), _weights(task), share, outliers, scale, normalize)
    return Step(formula, [*changed, *([_CRUMBS] if drops else []), *_no_rescale(task), *notes])


def _gammas(task: Task, densities: list[Setting]) -> tuple[list[Setting], list[str]]:
    """What mergekit's gammas come to: it drops fewer outliers where it could not keep the density otherwise."""
    found, notes = [], []
    for model, density, gamma in zip(task.models, densities, task.each("gamma"), strict=True):
        kept = gamma
        if _most(density) + _most(gamma) > 1:
            kept = _beside(density, gamma, lambda share, most: min(most, round(1 - share, 12)))
            so = "this does not" if kept == gamma else "so does this, to one element of a tensor"
            notes.append(f"Where gamma leaves less of `{model}` than its density, mergekit drops fewer outliers; {so}.")
        found.append(kept)
    return found, notes


def _most(setting: Setting) -> float:
    return max(point for rule in setting for point in rule.points)


def _beside(density: Setting, other: Setting, value: Callable[[float, float], float]) -> Setting:
    """A number that depends on the density of a tensor, by the density's rules; as it is where either is a gradient."""
    number = constant(other)
    if number is None or any(len(rule.points) > 1 for rule in density):
        return other
    rules = tuple(Rule(rule.filter, (value(rule.points[0], number),)) for rule in density)
    return other if all(rule.points == (number,) for rule in rules) else rules


def _task_arithmetic(task: Task) -> Step:
    return Step(call("task_arithmetic", *_models(task), _weights(task), _divided_scale(task)))


def _linear(task: Task) -> Step:
    models, weights = listed(task.models), task.each("weight")
    if task.flag("normalize"):
        if all(setting == weights[0] for setting in weights) and constant(weights[0]) != 0:
            return Step(call("soup", models))
        return Step(call("weighted_average", models, per_model(task, "weights", "weight", weights, 1)))
    items = [number(f"{task.prefix}{model}_weight", one) for model, one in zip(task.models, weights, strict=True)]
    total = " + ".join(f"{item.text} * {model}" for item, model in zip(items, task.models, strict=True))
    params = {key: value for item in items for key, value in item.params.items()}
    return Step(Piece(f"model({total})", params))


def _passthrough(task: Task) -> Step:
    (model,), (scale,) = task.models, task.each("scale")
    if constant(scale) == 1:
        return Step(Piece(model))
    factor = number(f"{task.prefix}scale", scale)
    return Step(Piece(f"model({factor.text} * {model})", factor.params))


def _slerp(task: Task) -> Step:
    return Step(call("slerp", _base(task), *task.models, single(task, "t", task.shared["t"])))


def _nuslerp(task: Task) -> Step:
    flat, notes = task.flag("nuslerp_flatten"), []
    if not flat and task.flag("nuslerp_row_wise"):
        hint = "`nuslerp_row_wise: false` goes by row, against its name; `nuslerp_flatten: true` takes whole tensors"
        raise RecipeError("`nuslerp_row_wise: true` goes by column, and weightmath has no such scope", hint=hint)
    if not flat:
        notes = ["Of tensors of three and more dimensions mergekit takes vectors along the last axis, not whole rows."]
    base = [] if task.base is None else [task.base]
    return Step(call("nuslerp", listed(task.models), *base, _weights(task), "" if flat else 'scope="row"'), notes)


def _multislerp(task: Task) -> Step:
    """The mean of the directions at the mean length; in one tangent space at that mean nothing is left to correct."""
    weights, params = _texts(task), numbers(task, "weight", task.each("weight")).params
    skills = {f"{task.prefix}{model}_skill": f"{model} - {task.base}" for model in task.models if task.base}
    pairs = list(zip(weights, skills or task.models, strict=True))
    length = " + ".join(f'{weight} * norm({x}, scope="tensor")' for weight, x in pairs)
    if task.flag("normalize_weights"):
        length = f"({length}) / ({' + '.join(weights)})"
    direction = f"{task.prefix}direction"
    directions = " + ".join(f'{weight} * {x} / norm({x}, scope="tensor")' for weight, x in pairs)
    moved = f'{task.prefix}length * {direction} / norm({direction}, scope="tensor")'
    formula = Piece(f"{task.base} + {moved}" if task.base else f"model({moved})", params)
    return Step(formula, (), {**skills, direction: directions, f"{task.prefix}length": length})


def _karcher(task: Task) -> Step:
    return Step(call("karcher", listed(task.models)), ["mergekit stops at 1e-5, or after ten steps."])


def _sce(task: Task) -> Step:
    share = single(task, "density", _at_most_one(task.shared["select_topk"]), 0.1, "share")
    notes = [
        "mergekit weighs the models equally where the squares of a tensor's task vectors add up to less than 1e-6."
    ]
    if constant(task.shared["select_topk"]) != 1:
        notes.append("mergekit takes the share of the elements whose variance is not 0, weightmath of all.")
    return Step(call("sce", *_models(task), share), [*notes, _TIE])


def _model_stock(task: Task) -> Step:
    notes = ["mergekit takes products of norms below 1e-6 for 1e-6: tensors that hardly changed stay near the base."]
    if not task.like:
        notes.append("Where task vectors disagree mergekit goes beyond the base, clip=false; here the base is kept.")
    scope, clip = 'scope="row"' if task.flag("filter_wise") else "", "clip=false" if task.like else ""
    return Step(call("model_stock", *_models(task), clip, scope), notes)


def _nearswap(task: Task) -> Step:
    note = "mergekit takes differences below 1e-6 for 1e-6."
    return Step(call("nearswap", _base(task), *task.models, single(task, "t", task.shared["t"])), [note])


def _arcee_fusion(task: Task) -> Step:
    notes = [
        "mergekit adds 1e-8 to probabilities, and takes quartiles from below, of a million elements at most.",
        "Of tensors of three and more dimensions it takes the softmax along the last axis, weightmath per row.",
    ]
    return Step(call("arcee_fusion", _base(task), *task.models), notes)


def _ram(task: Task) -> Step:
    return Step(call("ram", *_models(task), single(task, "epsilon", task.shared["epsilon"], 1e-5)))


def _ram_plus(task: Task) -> Step:
    defaults = {"r": 0.1, "alpha": 0.2, "epsilon": 1e-5}
    options = [single(task, name, task.shared[name], default) for name, default in defaults.items()]
    note = 'mergekit counts shared and unique elements in each tensor, scope="tensor"; here in the whole model.'
    return Step(
        call("ram_plus", *_models(task), *options, 'scope="tensor"' if task.like else ""), [] if task.like else [note]
    )


def _base(task: Task) -> str:
    if task.base is None:
        raise RecipeError("the method needs a `base_model`")
    return task.base


def _models(task: Task) -> tuple[str, str]:
    return _base(task), listed(task.models)


def _weights(task: Task) -> Piece:
    return per_model(task, "weights", "weight", task.each("weight"), 1)


def _scale(task: Task) -> Piece:
    return single(task, "scale", task.shared["lambda"], 1)


def _divided_scale(task: Task) -> Piece:
    """The scale of a sum, which `normalize: true` divides by the sum of all weights."""
    if not task.flag("normalize"):
        return _scale(task)
    factor = number(f"{task.prefix}scale", task.shared["lambda"])
    total = _total(task)
    return Piece(f"scale={factor.text} / {total.text}", {**factor.params, **total.params})


def _total(task: Task) -> Piece:
    """The sum of the weights."""
    weights, name = _weights(task), f"{task.prefix}weights"
    if not weights.text:
        return Piece(str(len(task.models)))
    given = weights.params.get(name)
    if isinstance(given, list):
        return Piece(f"sum({name})")
    if given is not None:
        return Piece(f"({len(task.models)} * {name})")
    return Piece(f"({' + '.join(_texts(task))})", numbers(task, "weight", task.each("weight")).params)


def _texts(task: Task) -> list[str]:
    """The weight of each model as it stands in a formula."""
    pairs = zip(task.models, task.each("weight"), strict=True)
    return [number(f"{task.prefix}{model}_weight", setting).text for model, setting in pairs]


def _normalize(task: Task) -> Piece:
    """Of equal weights of 1 the sum is the count, which is the default."""
    if not task.flag("normalize"):
        return Piece('normalize="none"')
    alike = all(constant(weight) == 1 for weight in task.each("weight"))
    return Piece("" if alike else 'normalize="weights"')


def _election_notes(task: Task) -> list[str]:
    negative = any(point < 0 for weight in task.each("weight") for rule in weight for point in rule.points)
    return [_TIE, _SIGNED] if negative and task.flag("normalize") else [_TIE]


def _no_rescale(task: Task) -> list[str]:
    """mergekit can rescale what it trims; weightmath's methods cannot."""
    if not task.flag("rescale"):
        return []
    if task.like:
        raise RecipeError("`rescale: true` has no counterpart in this method", hint="leave out --like mergekit")
    return [_NO_RESCALE]


def _at_most_one(setting: Setting) -> Setting:
    """A density as a share: beyond 0 and 1 mergekit keeps nothing or all."""
    return tuple(Rule(rule.filter, tuple(min(max(point, 0.0), 1.0) for point in rule.points)) for rule in setting)


_STEPS: Mapping[str, Callable[[Task], Step]] = {
    "arcee_fusion": _arcee_fusion,
    "breadcrumbs": _breadcrumbs,
    "breadcrumbs_ties": _breadcrumbs_ties,
    "dare_linear": _dare,
    "dare_ties": _dare_ties,
    "della": _della_ties,
    "della_linear": _della,
    "karcher": _karcher,
    "linear": _linear,
    "model_stock": _model_stock,
    "multislerp": _multislerp,
    "nearswap": _nearswap,
    "nuslerp": _nuslerp,
    "passthrough": _passthrough,
    "ram": _ram,
    "ramplus_tl": _ram_plus,
    "sce": _sce,
    "slerp": _slerp,
    "task_arithmetic": _task_arithmetic,
    "ties": _ties,
}
