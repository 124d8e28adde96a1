"""Errors that stop `callback up`."""


class UpError(Exception):
    """`callback up` cannot start or continue. The text is for users: the problem, and what to do."""

    exit_code = 1


class ChildSettingsError(UpError):
    """A child refused its settings, and has logged the reason."""

    exit_code = 2
