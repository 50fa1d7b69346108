"""What the site has beside its pages: the README as its front, and lists read from the code.

A page asks for a list by a comment: `<!-- commands -->`, `<!-- keys -->`, `<!-- errors -->`.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from pipeline.cli.app import main
from pipeline.config import RunConfig

ROOT = Path(__file__).resolve().parents[1]
FRONT = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "reporting.md": "SECURITY.md",
}
"""Pages of the site that lie at the repository's top."""
LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!https?:|#)([^)]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages from the repository's top."""
    for page, source in FRONT.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=re.sub(r"\]\(docs/", "](", text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fills in the lists, and leaves of links to files that the site does not have their text."""
    for name, made in LISTS.items():
        if (mark := f"<!-- {name} -->") in markdown:
            markdown = markdown.replace(mark, made())
    names = {source: name for name, source in FRONT.items()}

    def within(link: re.Match[str]) -> str:
        text, (target, hash, anchor) = link[1], link[2].partition("#")
        target = names.get(target.removeprefix("../"), target)
        here = Path(page.file.src_uri).parent
        if files.get_file_from_path((here / target).as_posix()) or target.startswith(".."):
            return f"[{text}]({target}{hash}{anchor})"
        return text if page.file.src_uri in FRONT else link[0]

    return LINK.sub(within, markdown)


def commands() -> str:
    """The help of every subcommand, in the order of a project."""
    return "\n".join(
        f"## {name}\n\n```text\n{_help(name, command)}\n```\n"
        for name, command in main.commands.items()
    )


def _help(name: str, command: click.Command) -> str:
    with click.Context(command, info_name=f"stylealae {name}", max_content_width=88) as context:
        return command.get_help(context)


def keys() -> str:
    """Every key of a run's config: its default and meaning, from the dataclasses."""
    parts = _table("The run", RunConfig, "")
    for section in fields(RunConfig):
        if section.default_factory is not MISSING:
            parts += _table(section.name, type(section.default_factory()), f"{section.name}.")
    return "\n".join(parts)


def _table(heading: str, section: type, dot: str) -> list[str]:
    notes: dict[str, str] = {}
    for base in filter(is_dataclass, reversed(section.__mro__)):
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for field, note in pairwise(body):
            match field, note:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    notes[name] = " ".join(text.split())
    rows = [
        f"| `{dot}{key.name}` | `{key.default!r}` | {notes[key.name]} |"
        for key in fields(section)
        if key.default is not MISSING
    ]
    head = [
        f"## {heading}\n",
        f"{section.__doc__}\n",
        "| Key | Default | Meaning |",
        "|---|---|---|",
    ]
    return [*head, *rows, ""]


def errors() -> str:
    """Every sentence that a UserError is raised with, by the folder that raises it."""
    parts = []
    for folder in sorted({*ROOT.glob("stylealae"), *ROOT.glob("pipeline/*/")}):
        lines = sorted({line for file in folder.rglob("*.py") for line in _sentences(_tree(file))})
        if lines:
            name = folder.relative_to(ROOT).as_posix()
            parts += [f"### {name}\n", *(f"- {line}" for line in lines), ""]
    return "\n".join(parts)


def _sentences(tree: ast.Module) -> Iterator[str]:
    """The messages of raised errors; … stands for what is filled in."""
    for node in ast.walk(tree):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=[message, *_])) if name in (
                "CheckpointError", "ConfigError", "DataError", "DivergenceError"
            ):  # fmt: skip
                if text := _text(message):
                    yield text


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


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


LISTS = {"commands": commands, "keys": keys, "errors": errors}
