"""Errors that stop `callback up`."""

from callback_launcher.errors import LaunchError


class UpError(LaunchError):
    """`callback up` cannot start or continue. The text is for users: the problem, and what to do."""


class ChildSettingsError(UpError):
    """A child refused its settings, and has logged the reason."""

    exit_code = 2
