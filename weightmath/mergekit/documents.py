"""YAML as mergekit reads it: one or more documents, YAML 1.1, anchors allowed; every value keeps its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from weightmath.errors import RecipeError
from weightmath.recipe.document import Document, Path
from weightmath.recipe.yaml_errors import translated

_DEEPEST = 16
_MERGE_KEY = "tag:yaml.org,2002:merge"


def documents(text: str, name: str) -> list[Document]:
    """The documents of a mergekit configuration; `name` is what messages call it.

    Fails with RecipeError, with the line, for text that is not YAML, documents that are no mappings, and keys that are
    given twice, of which mergekit takes the last.
    """
    try:
        nodes = [node for node in yaml.compose_all(text, yaml.SafeLoader) if not _is_nothing(node)]
        found = [_Reading(name, {}).document(node) for node in nodes]
    except yaml.YAMLError as error:
        raise translated(error, text, name) from None
    if not found:
        raise RecipeError("the configuration is empty", where=name)
    return found


def _is_nothing(node: yaml.Node | None) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.value == "")


@dataclass(frozen=True)
class _Reading:
    """From nodes to plain data, noting lines."""

    name: str
    lines: dict[Path, int]

    def document(self, node: yaml.Node) -> Document:
        if not isinstance(node, yaml.MappingNode):
            fact = "a configuration of mergekit is a mapping, and this is none"
            raise RecipeError(fact, where=f"{self.name}:{node.start_mark.line + 1}", hint="it has `merge_method:`")
        data = self.value(node, ())
        return Document(self.name, data, self.lines)

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > _DEEPEST:
            raise RecipeError("is nested too deep", where=f"{self.name}:{node.start_mark.line + 1}")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        loader = yaml.SafeLoader("")
        return loader.construct_object(node)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key_node.tag == _MERGE_KEY:
                raise RecipeError("`<<` is not read", where=f"{self.name}:{line}", hint="write its entries out")
            if key in data:
                fact = f"`{key}` is given twice, first in line {self.lines[(*path, key)]}"
                raise RecipeError(fact, where=f"{self.name}:{line}", hint="keep one; mergekit takes the last")
            self.lines[(*path, key)] = line
            data[key] = self.value(value_node, (*path, key))
        return data
