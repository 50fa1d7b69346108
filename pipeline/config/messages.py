"""What omegaconf finds wrong, as a sentence that names the key and what is wanted."""

import re
from collections.abc import Sequence

__all__ = ["explained", "first_lines"]

_UNKNOWN = re.compile(
    r"Key '([^']*)' not in '\w+'\.?(?: Did you mean[^']*'(\w+)'[^?]*\?)?.*full_key: (.+)"
)
_MISTYPED = re.compile(
    r"Value '(.*)' of type '\w+' could not be converted to (\w+).*full_key: (.+)"
)
_NO_SECTION = re.compile(r"Merge error: \w+ is not a subclass of \w+\. value: ([^;]*)")
_WANTED = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def explained(error: Exception, origin: str, overrides: Sequence[str]) -> str:
    """The error by its key; of one that no override gave, the file before it."""
    message = first_lines(error)
    if found := _UNKNOWN.search(message):
        name, near, key = found.groups()
        whole = ".".join([*key.split(".")[:-1], near or ""])
        shown = repr(name) if name != name.strip() else key
        said = f"there is no key {shown}" + (f". Did you mean {whole}?" if near else "")
    elif found := _MISTYPED.search(message):
        value, kind, key = found.groups()
        said = f"{key} is {value!r}, and {_WANTED.get(kind, kind)} is wanted"
    elif found := _NO_SECTION.search(message):
        return (
            f"{origin}: {found[1]} stands where a section is wanted: give a value to one of its "
            "keys, schedule.lr=[0.002] say"
        )
    else:
        return f"{origin}: {message}"
    given = any(override.partition("=")[0].strip() == key for override in overrides)
    return said if given else f"{origin}: {said}"


def first_lines(error: Exception) -> str:
    """An error of omegaconf or YAML without the lines that say what it is inside."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(
        line
        for line in lines
        if line and "object_type" not in line and "reference_type" not in line
    )
