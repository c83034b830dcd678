"""Writes the link for the code of the function `f` to a file."""

import os

import kit


def test_link():
    with open(os.environ["OUT"], "w") as out:
        out.write(kit.client().get_function(FunctionName="f")["Code"]["Location"])
