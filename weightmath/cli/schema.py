"""`weightmath schema`: what editors need to complete and check recipes."""

from __future__ import annotations


def schema() -> None:
    r"""Print the JSON Schema of a recipe.

    Editors that know YAML complete keys, show what they mean and underline mistakes, if the first line of a recipe is
    `# yaml-language-server: $schema=recipe.schema.json`, with the path of the file that holds the schema.
    """
    from weightmath.schema import text

    print(text(), end="")
