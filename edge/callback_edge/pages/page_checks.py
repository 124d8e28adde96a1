"""Checks of a rendered page: its style and script, which its policy allows by a hash, its form and its content."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from html.parser import HTMLParser
from typing import Final

from callback_edge.page_content import PageContent, PromptContent

_CONFIRMATION: Final = ("callback_confirm", "1")
_CHOICE: Final = "callback_choice"
_NOT_ON_FORM: Final = frozenset(("action", "enctype"))
_NOT_ON_BUTTON: Final = frozenset(("disabled", "form", "formaction", "formenctype", "formmethod"))


def check_style(page: str, style: str) -> None:
    """Check that every `<style>` of a page has exactly this style.

    Raises:
        ValueError: It has something else.
    """
    if any(each != style for each in _Outline(page).styles):
        raise ValueError("<style> must have {{ style }} and nothing else, not even a space")


def check_confirmation(page: str) -> None:
    """Check that the one form of a page sends exactly a confirmation to the page's own address.

    Raises:
        ValueError: It does not.
    """
    if not _Outline(page).posts([_CONFIRMATION]):
        raise ValueError(
            'the confirmation page needs one form, with method="post", no action, and in it one name only:'
            ' <button name="callback_confirm" value="1">'
        )


def check_waiting(page: str, path: str, script: str) -> None:
    """Check that a page goes on waiting at a path, with the script and without one.

    Raises:
        ValueError: It does not.
    """
    outline = _Outline(page)
    if outline.scripts != [(path, script)]:
        raise ValueError(
            'the waiting page needs <script data-path="{{ link_url }}">{{ waiting_script }}</script>, and no other'
        )
    if len(outline.refreshes) != 1 or not outline.refreshes[0].endswith(f"url={path}"):
        raise ValueError(
            'the waiting page needs <noscript><meta http-equiv="refresh" content="2; url={{ link_url }}"></noscript>'
        )


def has_prompt(page: str, prompt: PromptContent) -> bool:
    """Return whether a page shows the heading and the text of a prompt, and its one form sends exactly a choice."""
    outline = _Outline(page)
    shown = "".join(outline.texts)
    is_shown = all(each in shown for each in (prompt.heading, prompt.text, *(each.label for each in prompt.choices)))
    return is_shown and outline.posts([(_CHOICE, each.value) for each in prompt.choices])


def has_form(page: str, prompt: PromptContent, error: str) -> bool:
    """Return whether a page shows all of a prompt with an error, and its one form has each field and each choice."""
    outline = _Outline(page)
    shown = "".join(outline.texts)
    texts = [prompt.heading, prompt.text, error, *(each.label for each in prompt.choices)]
    texts += [text for field in prompt.fields for text in (field.label, field.help)]
    return all(each in shown for each in texts) and outline.sends(
        {field.name for field in prompt.fields}, [(_CHOICE, each.value) for each in prompt.choices]
    )


def has_content(page: str, content: PageContent) -> bool:
    """Return whether a page shows the heading, the text and the link of its content."""
    outline = _Outline(page)
    shown = "".join(outline.texts)
    return content.heading in shown and content.text in shown and content.link_url in outline.links


class _Outline(HTMLParser):
    """Texts, links, styles, scripts, refreshes and form fields of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.styles: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []
        """The path and the source of each script."""
        self.refreshes: list[str] = []
        self.links: list[str | None] = []
        self.texts: list[str] = []
        self._open = ""
        self._forms: list[dict[str, str | None]] = []
        self._fields: list[tuple[str, str, dict[str, str | None]]] = []
        """Fields that a form can send: the open element, the tag and the attributes of each."""
        self.feed(page)
        self.close()

    def posts(self, values: Sequence[tuple[str, str]]) -> bool:
        """Return whether the one form has a button for each of these names and values, and nothing else to send."""
        if len(self._forms) != 1 or [(field.get("name"), field.get("value")) for *_, field in self._fields] != values:
            return False
        form = self._forms[0]
        return (
            (form.get("method") or "").lower() == "post"
            and not form.keys() & _NOT_ON_FORM
            and all(
                (parent, tag) == ("form", "button")
                and (field.get("type") or "submit").lower() == "submit"
                and not field.keys() & _NOT_ON_BUTTON
                for parent, tag, field in self._fields
            )
        )

    def sends(self, names: AbstractSet[str], values: Sequence[tuple[str, str]]) -> bool:
        """Return whether the one form has fields of these names and no other, and a button for each name and value."""
        buttons = [field for _, tag, field in self._fields if tag == "button"]
        others = [field for _, tag, field in self._fields if tag != "button"]
        return (
            len(self._forms) == 1
            and (self._forms[0].get("method") or "").lower() == "post"
            and not self._forms[0].keys() & _NOT_ON_FORM
            and [(each.get("name"), each.get("value")) for each in buttons] == values
            and {each.get("name") for each in others} == names
            and not any(each.keys() & _NOT_ON_BUTTON for each in (*buttons, *others))
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a start tag."""
        if tag in ("form", "style", "script"):
            self._open = tag
        if tag == "style":
            self.styles.append("")
        elif tag == "script":
            self.scripts.append((dict(attrs).get("data-path"), ""))
        elif tag == "meta" and (dict(attrs).get("http-equiv") or "").lower() == "refresh":
            self.refreshes.append(dict(attrs).get("content") or "")
        elif tag == "a":
            self.links.append(dict(attrs).get("href"))
        elif tag == "form":
            self._forms.append(dict(attrs))
        elif tag in ("button", "input", "select", "textarea") and (tag == "button" or "name" in dict(attrs)):
            self._fields.append((self._open, tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Record an end tag."""
        if tag == self._open:
            self._open = ""

    def handle_data(self, data: str) -> None:
        """Record the text of a style or a script, or other text."""
        if self._open == "style":
            self.styles[-1] += data
        elif self._open == "script":
            path, source = self.scripts[-1]
            self.scripts[-1] = path, source + data
        else:
            self.texts.append(data)
