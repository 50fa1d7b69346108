"""Lists of the pages that are read from the code: `python docs/lists.py` writes them anew.

A list stands in its page between two comments, `<!-- commands -->` and `<!-- end of commands -->`,
so that it is there wherever the page is read; `make docs` writes them before it makes the site.
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from pipeline.cli.app import main
from pipeline.config import RunConfig
from stylealae.families import NAMES, sections

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COLUMNS = 86


def commands() -> str:
    """The help of every subcommand, in the order of a project."""
    return "\n".join(
        f"## {name}\n\n```text\n{_help(name, command)}\n```\n"
        for name, command in main.commands.items()
    )


def _help(name: str, command: click.Command) -> str:
    """As `stylealae NAME --help` prints it, however wide the terminal is."""
    group = click.Context(
        main, info_name="stylealae", terminal_width=COLUMNS, **main.context_settings
    )
    with click.Context(command, parent=group, info_name=name) as context:
        return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def keys() -> str:
    """Every key of a run's config and of every family: its default and meaning."""
    parts = _table("The run", RunConfig, "")
    for section in fields(RunConfig):
        if section.default_factory is not MISSING:
            parts += _table(section.name, type(section.default_factory()), f"{section.name}.")
    return "\n".join([*parts, *_family_table("model"), *_family_table("loss")])


def _table(heading: str, section: type, dot: str) -> list[str]:
    notes = _notes(section)
    rows = [
        f"| `{dot}{key.name}` | `{key.default!r}` | {notes[key.name]} |"
        for key in fields(section)
        if key.default is not MISSING
    ]
    head = [
        f"## {heading}\n",
        f"{inspect.cleandoc(section.__doc__ or '')}\n",
        "| Key | Default | Meaning |",
        "|---|---|---|",
    ]
    return [*head, *rows, ""]


def _family_table(section: str) -> list[str]:
    """The keys of a section that other families have, or have otherwise than StyleALAE."""
    families: dict[tuple[str, str, str], list[str]] = {}
    for family in NAMES:
        config: type[Any] = getattr(sections(family), section)
        notes = _notes(config)
        for key in fields(config):
            row = f"`{section}.{key.name}`", f"`{key.default!r}`", notes[key.name]
            families.setdefault(row, []).append(family)
    names = list(dict.fromkeys(name for name, _, _ in families))
    rows = [
        f"| {name} | {_among(of)} | {default} | {note} |"
        for (name, default, note), of in sorted(
            families.items(), key=lambda row: names.index(row[0][0])
        )
        if NAMES[0] not in of
    ]
    head = [
        f"## {section} of other families\n",
        f"Keys that `{NAMES[0]}` does not have, or has with another default or meaning.\n",
        "| Key | Families | Default | Meaning |",
        "|---|---|---|---|",
    ]
    return [*head, *rows, ""]


def _among(families: Sequence[str]) -> str:
    others = [name for name in NAMES if name not in families]
    if len(others) < len(families):
        return f"all but {', '.join(f'`{name}`' for name in others)}"
    return ", ".join(f"`{name}`" for name in families)


def _notes(section: type) -> dict[str, str]:
    """The docstring under each field, in one line that a cell of a table holds."""
    notes: dict[str, str] = {}
    for base in filter(is_dataclass, reversed(section.__mro__)):
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for field, note in pairwise(body):
            match field, note:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    notes[name] = " ".join(text.split()).replace("|", r"\|")
    return notes


def errors() -> str:
    """The sentences of errors that a user can mend, by the folder that has them."""
    trees = {file: ast.parse(file.read_text()) for file in _files()}
    names = _kinds(trees.values()) | {"show_error"}
    found: dict[str, set[str]] = {}
    for file, tree in trees.items():
        parts = file.relative_to(ROOT).parts
        folder = "/".join(parts[: 2 if parts[0] == "pipeline" and len(parts) > 2 else 1])
        found.setdefault(folder, set()).update(_sentences(tree, names))
    return "\n".join(
        "\n".join([f"### {folder}\n", *(f"- {line}" for line in sorted(lines)), ""])
        for folder, lines in sorted(found.items())
        if lines
    )


def _files() -> list[Path]:
    tops = ("stylealae", "pipeline", "launch")
    return sorted(file for top in tops for file in (ROOT / top).rglob("*.py"))


def _kinds(trees: Iterable[ast.Module]) -> set[str]:
    """UserError and all classes that are made of it, by their names."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    kinds, before = {"UserError"}, set()
    while kinds != before:
        before = kinds
        kinds = kinds | {name for name, of in bases.items() if of & kinds}
    return kinds


def _sentences(tree: ast.Module, names: set[str]) -> Iterator[str]:
    """The messages that errors are made with; … stands for what is filled in."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[*arguments]) if name in names:
                texts = (" ".join(_text(argument).split()) for argument in arguments)
                yield from [text for text in texts if re.search(r"\w", text)][:1]


def _text(message: ast.expr) -> str:
    match message:
        case ast.Constant(value=str(text)):
            return _plain(text)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in parts)
    return ""


def _plain(text: str) -> str:
    """Text that Markdown does not read as anything else."""
    return re.sub(r"([*_<>`\[\]|])", r"\\\1", text)


LISTS = {"commands": commands, "configuration": keys, "troubleshooting": errors}
"""Pages that have one."""


def current(page: str) -> str:
    """The text of a page with its list as the code has it now.

    Raises:
        ValueError: its two comments are not there.
    """
    text, name = (DOCS / f"{page}.md").read_text(), LISTS[page].__name__
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"docs/{page}.md has no {begin.strip()} with its {end.strip()}")
    return f"{text.partition(begin)[0]}{begin}\n{LISTS[page]()}\n{end}{text.partition(end)[2]}"


if __name__ == "__main__":
    for page in LISTS:
        (DOCS / f"{page}.md").write_text(current(page))
