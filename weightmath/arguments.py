"""What an option of a command is for who calls from Python: `--force` is `force=True` there.

Messages are written once, with the options of commands, and an error puts them into the words of who reads it.
"""

from __future__ import annotations

import re

SWITCHES = {  # what they are in Python
    "force": "force=True",
    "resume": "resume=True",
    "allow-code": "allow_code=True",
    "uniform": 'rule="uniform"',
}
VALUES = (  # options that have the same name in Python
    "directions goal heads keep memory metric of png reach recalibrate sampler scales scores spec svg threads top"
).split()
_OF_COMMAND = re.compile(
    r"(?P<command>weightmath [^`\n]*)"
    rf"|--(?P<switch>{'|'.join(SWITCHES)})(?![\w-])"
    r"|--set (?P<set>\w+=\S+)"
    r"|--(?P<path>input|output) (?P<name>[^\s=]+)=(?P<there>[^\s;,]+)"
    rf"|(?:--(?P<option>{'|'.join(VALUES)})|(?P<out>-o(?= STEM)))(?![\w-])(?: (?P<value>'[^']*'|[^\s;,)]+))?"
)


def in_python(text: str) -> str:
    """A message with arguments in place of options; whole commands stay."""
    return _OF_COMMAND.sub(_argument, text)


def _argument(found: re.Match[str]) -> str:
    """What is written in Python for an option with its value."""
    if found["switch"]:
        return SWITCHES[found["switch"]]
    if found["path"]:
        return f'{found["path"]}s={{"{found["name"]}": "{found["there"]}"}}'
    name = found["option"] or (found["out"] and "out")
    if name is None:
        return found["command"] or found["set"]
    if found["value"] is None:
        return f"`{name}`"
    value = found["value"].strip("'")
    return f"{name}={value}" if re.fullmatch(r"[0-9.]+|[A-Z]+", value) else f'{name}="{value}"'
