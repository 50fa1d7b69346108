"""Pages that are one file each and open from the disk, without a network or a script.

Pictures are embedded, large ones smaller than they are and linked to their files.
"""

import base64
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from stylealae.errors import ConfigError

__all__ = ["document", "link", "picture", "plain", "png_uri", "table", "write"]

STYLE = Path(__file__).parent / "report.css"
WIDEST = 1100
AS_IS_BYTES = 400_000


def document(
    title: str, headline: str, sections: Mapping[str, str], *, command: str, above: str = ""
) -> str:
    """A page: title, a headline, what stands above the sections, and those that have a body.

    The title is text, all else HTML; `command` is the subcommand that the page is written by.
    """
    sections = {name: body for name, body in sections.items() if body}
    links = "".join(f'<a href="#{name.lower()}">{name}</a>' for name in sections)
    bodies = "".join(
        f'<section id="{name.lower()}"><h2>{name}</h2>{body}</section>'
        for name, body in sections.items()
    )
    style = STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}: {command}</title><style>{style}</style></head><body>"
        f"<header><h1>{escape(title)}</h1><p>{headline}</p><nav>{links}</nav></header>"
        f"<main>{above}{bodies}</main>"
        f"<footer>Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by "
        f"<code>stylealae {command}</code>.</footer></body></html>\n"
    )


def write(text: str, out: Path) -> None:
    """Writes a page, whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    scratch = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}") from error


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text under headings; it scrolls where a screen is too narrow."""
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(v)}</td>" for v in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>" if any(headings) else ""
    return f'<div class="wide" tabindex="0"><table>{top}<tbody>{body}</tbody></table></div>'


def plain(value: object) -> str:
    """A config's value as people write it."""
    return value if isinstance(value, str) else json.dumps(value)


def picture(path: Path, caption: str, beside: Path | None) -> str:
    """A PNG file under a caption, linked to itself from the folder `beside`."""
    caption = escape(caption)
    try:
        source = f'<img src="{_embedded(path)}" alt="{caption}" loading="lazy">'
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        source = f"<em>it cannot be shown here: {escape(str(error))}</em>"
    if beside:
        source = f'<a href="{escape(link(path, beside))}" title="the file itself">{source}</a>'
    return f'<figure class="sheet"><figcaption>{caption}</figcaption>{source}</figure>'


def png_uri(image: Image.Image) -> str:
    """A picture as a data URI."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _embedded(path: Path) -> str:
    """The picture as a data URI: the file itself if it is small, else at most WIDEST wide."""
    with Image.open(path, formats=["PNG"]) as image:
        if image.width <= WIDEST and path.stat().st_size <= AS_IS_BYTES:
            return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        small = image.convert("RGB")
    if small.width > WIDEST:
        height = max(1, round(small.height * WIDEST / small.width))
        small = small.resize((WIDEST, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def link(path: Path, beside: Path) -> str:
    """The address of a file, from a page in the folder `beside`."""
    return quote(Path(os.path.relpath(path, beside)).as_posix())


def _policy(style: str) -> str:
    """What the page may load and run: its own style sheet, the pictures in it, and no script."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
