"""Errors in templates, in one line that an operator can read."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

import jinja2


class TemplatesError(Exception):
    """Templates cannot be used. The message is one line for an operator."""


@contextlib.contextmanager
def template_errors(name: str) -> Iterator[None]:
    """Turn every error into a TemplatesError that names the file, and the line if it is known.

    Args:
        name: The template in use. An error in a template that it extends or includes names that one.
    """
    try:
        yield
    except jinja2.TemplateSyntaxError as error:
        raise TemplatesError(f"{error.name or name}, line {error.lineno}: {error.message}") from None
    except jinja2.TemplateNotFound as error:
        raise TemplatesError(f"{_failed_template(error) or name}: there is no {error.name}") from None
    except Exception as error:
        raise TemplatesError(f"{_failed_template(error) or name}: {error}") from None


def _failed_template(error: Exception) -> str:
    """Return the template in which an error was raised. Jinja gives tracebacks the templates' files."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return next((file.name for file in reversed(files) if file.suffix == ".html"), "")
