"""Starts the runner: a module of its own, so that its compiled form is used."""
import sys

sys.path.insert(0, "/var/runtime")
import _sonagi_action

_sonagi_action.serve()
