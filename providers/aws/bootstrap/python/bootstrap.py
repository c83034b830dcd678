"""What the interpreter of a managed Python runtime is started with.

It does nothing but start `_sonagi_runtime`, a module beside it: modules are compiled ahead, scripts are not, and
compiling is a good part of a cold start. Nothing of the function is on the search path yet.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])
from os import environ

if environ.get("_SONAGI_STEM"):
    import _sonagi_stem as _start
else:
    import _sonagi_runtime as _start

_start.main()
