"""Fine-tune deltas: what leads from a base to a fine-tune, as a file by itself, exact or compact.

Applying needs numpy and the compressor, and nothing else that is large.
"""

from weightmath.delta.adapter import from_adapter as from_adapter
from weightmath.delta.adapter_writing import to_adapter as to_adapter
from weightmath.delta.apply import Applied as Applied
from weightmath.delta.apply import apply as apply
from weightmath.delta.compare import compare as compare
from weightmath.delta.compose import compose as compose
from weightmath.delta.container import DeltaFile as DeltaFile
from weightmath.delta.container import is_delta as is_delta
from weightmath.delta.container import open_delta as open_delta
from weightmath.delta.make import make as make
from weightmath.delta.options import Options as Options
