"""Git Re-Basin: the units of one model brought into the order of another's, so that the two can be merged.

The hidden units of a network can be numbered in any order: rows of one tensor and columns of the next change places
together, and the function stays the same. A *spec* says which axis of which tensor moves with which permutation;
matching finds the permutations that bring B nearest to A (Ainsworth et al., arXiv:2209.04836).
"""

from __future__ import annotations

from weightmath.align.checkpoints import Alignment as Alignment
from weightmath.align.checkpoints import align as align
from weightmath.align.checkpoints import prepare as prepare
from weightmath.align.checkpoints import run as run
from weightmath.align.known import spec_for as spec_for
from weightmath.align.matching import Matching as Matching
from weightmath.align.matching import weight_matching as weight_matching
from weightmath.align.spec import Spec as Spec
from weightmath.align.spec import permuted as permuted
