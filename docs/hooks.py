"""What the site has beside the pages of docs/: the README as its front, and others like it."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

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
    """Leaves of links to files that the site does not have their text."""
    names = {source: name for name, source in FRONT.items()}

    def within(link: re.Match[str]) -> str:
        text, (target, hash, anchor) = link[1], link[2].partition("#")
        target = names.get(target.removeprefix("../"), target)
        here = Path(page.file.src_uri).parent
        if files.get_file_from_path((here / target).as_posix()) or target.startswith(".."):
            return f"[{text}]({target}{hash}{anchor})"
        return text if page.file.src_uri in FRONT else link[0]

    return LINK.sub(within, markdown)
