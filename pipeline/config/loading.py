"""How a run's config is read: defaults, then YAML, then `key=value` overrides, all checked."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.config.bounds import require_finite
from pipeline.config.files import read, read_file, require_data
from pipeline.config.kinds import as_lists, require_kinds
from pipeline.config.messages import explained, first_lines
from pipeline.config.overrides import merged
from pipeline.config.packaged import located
from pipeline.config.run import RunConfig
from stylealae.config import ShapeConfig, TermsConfig
from stylealae.errors import ConfigError, did_you_mean
from stylealae.families import sections
from stylealae.families.sections import Sections

__all__ = ["load", "parse"]


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Defaults, then the file, then `key=value` overrides; an unknown key is an error.

    `path` may be the name of a packaged config. A file may name another one beside it,
    `base: base.yaml`, which it goes on from.
    """
    path = located(path)
    if not path.exists():
        raise ConfigError(f"cannot read the config {path}: it does not exist{did_you_mean(path)}")
    given = read_file(path)
    files = [given]
    if "base" in given:
        below = path.parent / _below(path, given.pop("base"))
        if not below.exists():
            raise ConfigError(f"{path}: its base {below} does not exist{did_you_mean(below)}")
        files.insert(0, read_file(below))
        if "base" in files[0]:
            raise ConfigError(
                f"{path}: its base {below.name} has a base too, and one is all that is read: "
                "copy that one's lines into it"
            )
    return _parsed(files, overrides, str(path))


def parse(text: str, overrides: Sequence[str] = (), *, origin: str = "config") -> RunConfig:
    """As `load`, from YAML text.

    Values are data: what OmegaConf would look up, `${oc.env:HOME}` say, is refused.

    Raises:
        ConfigError: the YAML does not parse, or a key is unknown, mistyped or out of range.
    """
    return _parsed([read(text, origin)], overrides, origin)


def _parsed(files: Sequence[dict[str, Any]], overrides: Sequence[str], origin: str) -> RunConfig:
    """The config that some files say, the last one's word being the last, and overrides."""
    try:
        family = _sections(OmegaConf.merge(*files), overrides)._asdict()
        last = OmegaConf.to_container(merged(overrides, RunConfig, family))
        parts = [as_lists(part, RunConfig, family) for part in files]
        for part in (*parts, last):
            require_data(part, origin)
            require_kinds(part, origin, RunConfig, family)
        given = _with_from(OmegaConf.merge(*parts, last))
        config = OmegaConf.merge(_schema(_sections(given)), given)
        found = cast(RunConfig, OmegaConf.to_object(config))
        require_finite(found, origin)
        return found
    except RecursionError as error:
        raise ConfigError(f"{origin}: it is nested too deep for a config") from error
    except YAMLError as error:
        raise ConfigError(f"{origin}: {first_lines(error)}") from error
    except OmegaConfBaseException as error:
        message = explained(error, origin, overrides)
        if "$VALUE" in message:  # omegaconf names neither key nor value for an entry of a tuple
            message = f"{origin}: a value of the wrong type in {', '.join(_wrong(given))}"
        raise ConfigError(message) from error


def _with_from(given: Any) -> Any:
    """`init.from` by the name of its field, `from_`: Python keeps the word to itself."""
    init = given.get("init")
    if OmegaConf.is_dict(init) and "from" in init:
        init["from_"] = init.pop("from")
    return given


def _below(config: Path, base: object) -> str:
    """The name of a base, which lies in the config's folder or below it."""
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{config}: its base is {base!r}: name a file, as in base: base.yaml")
    if Path(base).is_absolute() or ".." in Path(base).parts:
        raise ConfigError(
            f"{config}: its base is {base}, and a base lies in the folder of the config that names "
            "it or below: copy it there"
        )
    return base


@cache
def _schema(sections: Sections[ShapeConfig, TermsConfig]) -> Any:
    """The defaults of a family, typed: `model` and `loss` have the keys that it knows."""
    schema = OmegaConf.structured(RunConfig)
    OmegaConf.set_readonly(schema, False)  # it is, as RunConfig is frozen
    schema["model"], schema["loss"] = map(OmegaConf.structured, sections)
    return schema


def _sections(given: Any, overrides: Sequence[str] = ()) -> Sections[ShapeConfig, TermsConfig]:
    """The classes of `model` and `loss` of the family that is named last."""
    named = [o.partition("=")[2] for o in overrides if o.startswith("family=")]
    return sections(str([given.get("family", RunConfig.family), *named][-1]))


def _wrong(given: Any) -> Iterator[str]:
    """The keys whose value does not fit, found by trying each alone."""
    schema = _schema(_sections(given))
    for section, part in given.items():
        for key, value in part.items() if OmegaConf.is_dict(part) else ():
            try:
                OmegaConf.merge(schema, {section: {key: value}})
            except OmegaConfBaseException:
                yield f"{section}.{key}={value}"
