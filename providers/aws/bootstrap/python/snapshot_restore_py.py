"""Hooks around a snapshot of an initialized function, under the name by which functions for Lambda import them.

Source: AWS Lambda developer guide, "Lambda SnapStart runtime hooks for Python". Hooks before a snapshot run in the
reverse order of their registration, hooks after a restore in that order.
"""

_before = []
_after = []


def register_before_snapshot(func, *args, **kwargs):
    _before.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    _after.append((func, args, kwargs))
    return func


def get_before_snapshot():
    return _before[::-1]


def get_after_restore():
    return list(_after)
