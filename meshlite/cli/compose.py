"""Which Compose project the current folder belongs to, by Compose's own rules.

First of: COMPOSE_PROJECT_NAME, the last `name:` among the Compose files, the name of the project's folder.
The files are those of COMPOSE_FILE, else the nearest compose.yaml and its override, here or above it.
Variables come from the environment, then from `.env`.
Source: https://docs.docker.com/compose/how-tos/project-name/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-?+])([^}]*))?\})")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)")


@dataclass(frozen=True)
class Project:
    """`name` as Compose would use it; `origin` says for people where it was learnt."""

    name: str
    origin: str


def find(folder: Path, environ: Mapping[str, str]) -> Project | None:
    """The project of `folder`; None where Compose would find no file and no name was set.

    Raises ValueError, naming the file, for a Compose file that cannot be read or a name Compose would refuse.
    """
    variables = read_env_file(folder) | dict(environ)
    files = compose_files(folder, variables)
    home = files[0].parent if files else folder
    if home != folder:
        variables = read_env_file(home) | variables
    if name := variables.get("COMPOSE_PROJECT_NAME"):
        return Project(checked(name, "COMPOSE_PROJECT_NAME"), "COMPOSE_PROJECT_NAME")
    if not files:
        return None
    named = [(declared_name(file, variables), file) for file in files]
    for name, file in reversed(named):
        if name:
            return Project(checked(name, f"{file}: name"), f"name: in {file}")
    return Project(checked(normalised(home.resolve().name), str(home)), f"the folder of {files[0]}")


def compose_files(folder: Path, variables: Mapping[str, str]) -> tuple[Path, ...]:
    """The files Compose would read, in its order; empty if there are none."""
    if listed := variables.get("COMPOSE_FILE"):
        separator = variables.get("COMPOSE_PATH_SEPARATOR") or ":"
        return tuple(folder / part for part in listed.split(separator) if part)
    for place in (folder, *folder.parents):
        if main := _first(place, NAMES):
            override = _first(place, OVERRIDES)
            return (main, override) if override else (main,)
    return ()


def declared_name(file: Path, variables: Mapping[str, str]) -> str:
    """The top-level `name:` of one Compose file with its variables put in; empty if it has none."""
    import yaml

    try:
        documents = list(yaml.load_all(file.read_text(), Loader=_loader()))
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: is not YAML: {' '.join(str(error).split())}") from error
    names = [
        document["name"] for document in documents if isinstance(document, dict) and document.get("name")
    ]
    return interpolate(str(names[-1]), variables, str(file)) if names else ""


def interpolate(text: str, variables: Mapping[str, str], where: str) -> str:
    """`$NAME`, `${NAME}`, `${NAME:-default}`, `-`, `:?`, `?`, `:+`, `+` and `$$`, as in Compose files."""

    def value(match: re.Match[str]) -> str:
        dollar, bare, braced, operator, operand = match.groups()
        if dollar:
            return "$"
        found = variables.get(bare or braced)
        given = bool(found) if operator and operator.startswith(":") else found is not None
        match (operator or "-")[-1]:
            case "+":
                return operand if given else ""
            case "?" if not given:
                raise ValueError(f"{where}: variable {braced} is required: {operand or 'it is not set'}")
            case _:
                return found or "" if given else operand or ""

    return _VARIABLE.sub(value, text)


def read_env_file(folder: Path) -> dict[str, str]:
    """The assignments of `folder`/.env; values in quotes lose them, comments after a space are dropped."""
    file = folder / ".env"
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    return dict(_assignments(lines))


def normalised(name: str) -> str:
    """A folder's name as a project's: lower case, of letters, digits, - and _, neither of these first."""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def checked(name: str, where: str) -> str:
    """A name that Compose accepts; raises ValueError otherwise."""
    if name and name == normalised(name):
        return name
    raise ValueError(
        f"{where}: {name!r} is not a project name: lower-case letters, digits, - and _, not these two first"
    )


def _assignments(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        if match := _ASSIGNMENT.fullmatch(line):
            name, value = match.group(1), match.group(2).strip()
            if quoted := re.match(r"""(['"])(.*?)\1""", value):
                yield name, quoted.group(2)
            else:
                yield name, re.sub(r"(^|\s+)#.*", "", value)


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _loader() -> type:
    """YAML's safe loader that also takes Compose's own tags (`!reset`, `!override`) for plain values."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    return Loader
