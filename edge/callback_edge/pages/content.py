"""Content of pages that belongs to one callback. It is text, not HTML: the templates escape it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageContent:
    """Content of a response of the type page."""

    status: int
    """HTTP status."""
    heading: str
    """Heading and title."""
    text: str
    """Text, with its line breaks. Can be empty."""
    link_label: str = ""
    """Label of the link. Empty: there is no link."""
    link_url: str = ""
    """Absolute http(s) URL of the link."""

    def as_text(self) -> bytes:
        """Return the content for a client that does not prefer HTML."""
        parts = [self.heading, self.text, f"{self.link_label}: {self.link_url}" if self.link_label else ""]
        return ("\n\n".join(filter(None, parts)) + "\n").encode()


SAMPLE = PageContent(200, "A heading", "A text", "A label", "https://callback.invalid/link")
"""Content with which a template is checked."""
