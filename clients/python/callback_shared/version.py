"""The version of the installed package, which has everything: the client, the server, and the others."""

from importlib import metadata


def installed_version() -> str:
    """Return the version, or `of a source tree` if the package is not installed."""
    try:
        return metadata.version("callback")
    except metadata.PackageNotFoundError:
        return "of a source tree"
