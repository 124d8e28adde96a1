"""The version of a build, for `[tool.hatch.version]` of pyproject.toml.

It is the release, with a hash of what is packaged: builds of two commits have two versions, also where there is no git,
as in an image. Otherwise pip keeps the installed one.
"""

import hashlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def version(root: Path = ROOT) -> str:
    """Return the version of a build of this source tree, such as `0.1.0+3f2a90c41b7d`."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    digest = hashlib.sha256()
    for folder in sorted([*wheel["packages"], *wheel["force-include"]]):
        place = root / folder
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return f"{settings['tool']['callback']['release']}+{digest.hexdigest()[:12]}"
