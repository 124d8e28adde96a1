"""Error that stops a proof before it has a result."""


class ProveError(Exception):
    """A proof cannot run. The text is for users: the problem, and what to do."""
