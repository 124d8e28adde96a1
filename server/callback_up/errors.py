"""What can keep `callback up` from running."""


class UpError(Exception):
    """`callback up` can not start or go on. Its text is for people: what is wrong, and what to do."""
