"""Starts a Python function: a module of its own, so that its compiled form is used."""
import sys

sys.path.insert(0, "/var/runtime")
import _sonagi_fn

_sonagi_fn.main()
