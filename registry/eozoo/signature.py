"""What a function or class is called with, read from its source: importing a network would import torch."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def read_signature(target: str) -> tuple[dict[str, str | None], str] | None:
    """Return options (name -> default as text, None = it has none) and docstring of "module:name"; imports a package.

    None where only running the code would tell: a decorator, a default that is no plain value, ``*args``, a class that
    inherits its ``__init__``.
    """
    module, _, name = target.partition(":")
    try:
        origin = getattr(find_spec(module), "origin", None) or ""
        body = ast.parse(Path(origin).read_text(encoding="utf-8")).body if origin.endswith(".py") else []
    except (ImportError, ValueError, AttributeError, SyntaxError):  # importing it will say what is wrong
        return None
    named = [node for node in body if getattr(node, "name", None) == name]
    if len(named) != 1 or named[0].decorator_list:
        return None
    made = named[0]
    if isinstance(made, ast.ClassDef):
        made = next((node for node in made.body if getattr(node, "name", None) == "__init__"), None)
    if not isinstance(made, ast.FunctionDef) or made.decorator_list or made.args.vararg or made.args.kwarg:
        return None
    places = [*made.args.posonlyargs, *made.args.args]
    pairs = [*zip(places, [None] * (len(places) - len(made.args.defaults)) + made.args.defaults)]
    pairs = pairs[1:] if made is not named[0] else pairs  # self
    pairs += zip(made.args.kwonlyargs, made.args.kw_defaults)
    try:
        options = {a.arg: None if value is None else repr(ast.literal_eval(value)) for a, value in pairs}
    except ValueError:
        return None
    return options, ast.get_docstring(named[0]) or ""
