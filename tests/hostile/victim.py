"""A victim: loads every file of a folder with Python's own unpickler, as many programs do. It runs what it finds.

python victim.py MODULES PICKLES
"""

import contextlib
import io
import os
import pickle
import sys

sys.path.insert(0, sys.argv[1])
import evil  # noqa: F401 - registers what extension codes mean

with contextlib.redirect_stdout(io.StringIO()):
    for file in sorted(os.listdir(sys.argv[2])):
        with contextlib.suppress(BaseException), open(os.path.join(sys.argv[2], file), "rb") as opened:
            pickle.load(opened, buffers=[bytearray(b"x")])
