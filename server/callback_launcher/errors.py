"""Error of the launcher."""


class LaunchError(Exception):
    """A process cannot start, continue or stop. The text is for users: the problem, and what to do."""

    exit_code = 1
