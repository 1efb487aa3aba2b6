"""YAML as people expect it: ``1e-7`` is a number, ``off`` and ``2024-01-01`` are text, a key stands once.

PyYAML reads YAML 1.1, where ``1e-7`` is text, ``off`` is false, ``1:30`` is 90 and a date is an object. Settings use
the scalars of YAML 1.2 (its core schema, https://yaml.org/spec/1.2.2/#103-core-schema) instead, for files and
``--set`` alike. What is written here reads the same under both versions.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_STRANGE = yaml.reader.Reader.NON_PRINTABLE
_DEEPEST, _DIGITS, _LARGEST = 30, 40, 2**22  # of groups; of whole numbers; characters: far beyond any settings
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


if yaml.__with_libyaml__:

    class _Base(yaml.composer.Composer, yaml.cyaml.CParser, yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
        """A SafeLoader that reads characters in C: a config.yaml takes a sixth of the time, and is read often."""

        def __init__(self, text: str):
            yaml.cyaml.CParser.__init__(self, text)
            yaml.composer.Composer.__init__(self)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

else:
    _Base = yaml.SafeLoader


class _Loader(_Base):
    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's way: a class attribute, filled below
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):  # a few of them grow without end
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None, None, f"alias *{event.anchor[:40]}: write the value out", event.start_mark
            )
        if self.depth > _DEEPEST:
            raise yaml.composer.ComposerError(
                None, None, f"more than {_DEEPEST} groups within each other", self.peek_event().start_mark
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:int":  # a class code: text, as JSON has it
                key_node.tag = "tag:yaml.org,2002:str"
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is not text: quote it", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _TextLoader(_Loader):
    """Leaves numbers as they are typed."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Quotes whatever either version of YAML would read as something other than text."""

    yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > _DIGITS:
        problem = f"a number of {len(node.value):,} digits"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return int(node.value)  # PyYAML would take a leading zero for octal


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Line breaks and control characters as escapes: a value stays on its line.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Dumper.add_representer(str, _represent_text)
for _tag, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper, *([_TextLoader] if _tag in ("null", "bool") else [])):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def parse(text: str, numbers: bool = True) -> Any:
    """Return the value that ``text`` describes, of plain types. Raises yaml.YAMLError.

    ``numbers``: False = what looks like a number is text as well, where only text is wanted: a unit "1", a tile "007".
    Aliases are not taken, nor what is nested, long or large beyond any settings.
    """
    if len(text) > _LARGEST:
        raise yaml.YAMLError(f"{len(text):,} characters are no settings")
    if strange := _STRANGE.search(text):
        raise yaml.YAMLError(f"character {strange[0]!r} at {strange.start():,} is no text")
    try:
        return yaml.load(text, _Loader if numbers else _TextLoader)  # SafeLoaders: they build no objects
    except (ValueError, LookupError, AttributeError, TypeError):
        raise yaml.YAMLError("a value is not of the type that is named before it, such as !!int") from None


def dump(value: Any) -> str:
    """Return a value of plain types as YAML on one line; ``parse(dump(value)) == value``."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**9, sort_keys=False)
    return text.removesuffix("...\n").strip()
