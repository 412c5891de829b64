"""What a run reads, known beforehand: the programs that it will run say which inputs they need.

Rounds of tensors, samples of selections, tensors that a static 0 or a narrowed vector spares: all of it counts. Only a
selection that its sample misleads reads more than is said here.
"""

from __future__ import annotations

from weightmath.algebra.graph import Vector
from weightmath.engine.grouping import Grouping, readings
from weightmath.engine.plan import Plan
from weightmath.engine.work import Group, Wanted
from weightmath.scope import tile


def bytes_read(plan: Plan) -> int:
    """Bytes that a run of the plan reads from its inputs, in all passes, readings and rounds."""
    grouping = Grouping(plan)
    wanted = (each for one in plan.passes for each in readings(one, plan) if each is not None)
    return sum(_of_group(group, each, plan) for each in wanted for group in grouping.groups(each))


def tensors_read(plan: Plan) -> frozenset[tuple[Vector, str]]:
    """The tensors that a run of the plan reads whole, once or more often: input and name."""
    grouping = Grouping(plan)
    wanted = (each for one in plan.passes for each in readings(one, plan) if each is not None and not each.sampling)
    return frozenset(
        (node, plan.layout.names[entry])
        for each in wanted
        for group in grouping.groups(each)
        for program in group.programs
        for node in program.reads
        for entry in group.entries
    )


def _of_group(group: Group, wanted: Wanted, plan: Plan) -> int:
    total = 0
    for entry in group.entries:
        shape = plan.layout.entries[entry]
        for number, program in enumerate(group.programs):
            last = number == len(group.programs) - 1
            elements = _sampled(entry, wanted, plan) if wanted.sampling and last else shape.size
            total += elements * sum(_width(node, shape.name) for node in program.reads)
    return total


def _sampled(entry: int, wanted: Wanted, plan: Plan) -> int:
    """Elements of the tiles that some sample needs."""
    shape = plan.layout.entries[entry]
    tiles = (tile(shape, n) for n in {n for selection in wanted.selections for n in selection.sampled_tiles(entry)})
    return sum(one.stop - one.start for one in tiles)


def _width(node: Vector, name: str) -> int:
    assert node.source is not None
    return node.source.layout[name].dtype.itemsize
