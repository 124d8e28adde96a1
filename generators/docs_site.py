"""Hooks of MkDocs (mkdocs.yml): the pages of the site that are not in `docs/`, and links that lead out of `docs/`.

The Markdown files are written for readers of the repository, where their links work as they stand.
"""

import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from generators.contract import Contract
from generators.contract_pages import contract_pages
from generators.descriptors import contract_files

_ROOT: Final = Path(__file__).parents[1]
_LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the first page, and the reference of the contract."""
    files.append(File.generated(config, "index.md", content=(_ROOT / "README.md").read_text("utf-8")))
    for name, text in contract_pages(Contract(contract_files())).items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to where their targets are in the site. A file that is not there is named instead."""
    if page.file.src_uri.startswith("reference/"):
        return markdown
    folder = "" if page.file.src_uri == "index.md" else "docs"

    def replacement(match: re.Match[str]) -> str:
        text, target, anchor = match[1], posixpath.normpath(posixpath.join(folder, match[2])), match[3] or ""
        if target.startswith("docs/") and (_ROOT / target).is_file():
            return f"[{text}]({target.removeprefix('docs/')}{anchor})"
        if target == "README.md":
            return f"[{text}](index.md{anchor})"
        if target.startswith("proto/callback/v1"):
            name = posixpath.basename(target).removesuffix(".proto")
            return f"[{text}](reference/{name if name != 'v1' else 'callbacks_service'}.md)"
        if not (_ROOT / target).exists():
            return match[0]  # MkDocs reports it
        return f"{text} (`{target}` in the repository)"

    return _LINK.sub(replacement, markdown)
