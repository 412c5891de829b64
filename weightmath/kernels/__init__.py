"""The numbers behind the functions: arrays go in and come out, and neither graph nor files are known here.

numpy, numkong and loops of machine code (`machine`, `loops`, `fixed_loops`), which are used where a run is large enough
to be worth them and do nothing that the others do not, to the bit.
"""
