"""MkDocs hook: what is plain in the pages and docstrings, so that they can be read as they are, becomes links and code.

A link whose text is the name of a page's file gets that page's title; `doi:10...` and `arXiv:...` become links; the
roles of Sphinx in docstrings lose their mark.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

_BY_NAME = re.compile(r"\[([a-z-]+\.md)\]\(((?:\.\./)?(?:[a-z-]+/)?[a-z-]+\.md(?:#[^)\s]*)?)\)")
_TAG = re.compile(r"(<[^>]+>)")
_SOURCE = re.compile(r"doi:(10\.\d{4,9}/[^\s<>,;)]*[^\s<>,;).:])|arXiv:(\d{4}\.\d{4,5})", re.IGNORECASE)
#: Elements whose text stays as it is.
_LITERAL = re.compile(r"<(/?)(a|code|pre|script|style)\b", re.IGNORECASE)
_ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):(<code>)~?")


def title(path: Path) -> str:
    """Return the first heading of a page up to its first colon."""
    first = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    return first[2:].split(":")[0].strip()


def with_titles(markdown: str, page: str, docs: Path) -> str:
    """Return the text of a page, such as ``python/index.md``, with titles in place of names of files."""

    def replaced(found: re.Match[str]) -> str:
        name, target = found.groups()
        path = docs / PurePosixPath(page).parent / target.split("#")[0]
        return f"[{title(path)}]({target})" if path.name == name and path.is_file() else found[0]

    return _BY_NAME.sub(replaced, markdown)


def linked(page: str) -> str:
    """Return the HTML of a page with its sources as links; code and text that is a link already are left alone."""
    depth = 0
    parts = _TAG.split(page)
    for number, part in enumerate(parts):
        if found := _LITERAL.match(part):
            depth += -1 if found[1] else 1
        elif depth == 0 and not part.startswith("<"):
            parts[number] = _SOURCE.sub(_link, part)
    return "".join(parts)


def _link(found: re.Match[str]) -> str:
    address = f"https://doi.org/{found[1]}" if found[1] else f"https://arxiv.org/abs/{found[2]}"
    return f'<a href="{address}">{found[0]}</a>'


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Called by MkDocs with the text of each page."""
    return with_titles(markdown, page.file.src_uri, Path(config.docs_dir))


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of each page."""
    return linked(_ROLE.sub(r"\1", content))
