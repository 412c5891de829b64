"""Checkpoints: what they hold, reading their tensors, and writing new ones. Nothing in a file is ever executed."""

from weightmath.checkpoint.description import Checkpoint as Checkpoint
from weightmath.checkpoint.description import Opaque as Opaque
from weightmath.checkpoint.description import Section as Section
from weightmath.checkpoint.description import Storage as Storage
from weightmath.checkpoint.description import TensorInfo as TensorInfo
from weightmath.checkpoint.image import Copy as Copy
from weightmath.checkpoint.image import Elements as Elements
from weightmath.checkpoint.image import Image as Image
from weightmath.checkpoint.integrity import Integrity as Integrity
from weightmath.checkpoint.integrity import verify_container as verify_container
from weightmath.checkpoint.plan_image import plan_image as plan_image
from weightmath.checkpoint.reader import Reader as Reader
from weightmath.checkpoint.sniff import open_checkpoint as open_checkpoint
from weightmath.checkpoint.writer import Writer as Writer
