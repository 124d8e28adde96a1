"""What can keep `callback up` from running."""


class UpError(Exception):
    """`callback up` can not start or go on. Its text is for people: what is wrong, and what to do."""

    exit_code = 1


class ChildSettingsError(UpError):
    """A child refuses its settings, and has said which and why."""

    exit_code = 2
