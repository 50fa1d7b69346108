"""Images that tell something about others, by their names: masks, depth, parts of a face.

Nothing is left out for its name: it is told, for a folder may as well be called so by chance.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

__all__ = ["masks_told"]

KINDS = (
    r"masks?|mattes?|trimaps?|seg|segmentations?|segmentation[ _-]masks?|parsing|anno|annotations?"
    r"|depth"
)
ENDING = re.compile(rf"(.+?)[ _.-]+(?:{KINDS}|alpha)", re.IGNORECASE)
"""The stem of a mask beside its image: face_01_mask."""
FOLDER = re.compile(rf"(?:.*[ _.-])?(?:{KINDS}|labels)", re.IGNORECASE)
"""A folder of masks that are called as their images are: masks/face_01.png."""


def masks_told(where: str, keys: Sequence[str]) -> str | None:
    """A sentence where images are named as masks of others; None elsewhere."""
    paths = [PurePosixPath(key) for key in keys]
    aside = [any(FOLDER.fullmatch(part) for part in path.parts[:-1]) for path in paths]
    stems = {path.stem for path, is_aside in zip(paths, aside, strict=True) if not is_aside}
    found = []
    for path, is_aside in zip(paths, aside, strict=True):
        ending = ENDING.fullmatch(path.stem)
        if (is_aside and path.stem in stems) or (ending and ending[1] in stems):
            found.append(path)
    if not found:
        return None
    return (
        f"{where}: images with names of masks of others: {len(found):,}, such as {found[0]}; they "
        "are taken as images, move them elsewhere if they are none"
    )
