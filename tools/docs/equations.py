"""MkDocs hook: LaTeX in the pages becomes MathML when the site is built, so that no script has to run in the browser.

``pymdownx.arithmatex`` finds and marks them (``$...$`` and ``$$...$$``); this turns the marks into MathML.
"""

from __future__ import annotations

import html
import re
from typing import Any

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


#: What latex2mathml marks as bold. Browsers know bold letters only as characters of their own (MathML Core, 2.1.4).
_BOLD = re.compile(r'<mi mathvariant="(bold|bold-italic)">(?:&#x([0-9A-F]+);|([A-Za-z]))</mi>')
_BOLD_CAPITAL_A, _BOLD_SMALL_A, _BOLD_ITALIC_SMALL_ALPHA = 0x1D400, 0x1D41A, 0x1D736


def mathml(latex: str, *, block: bool) -> str:
    """Return an equation as MathML, with its LaTeX as annotation for whoever copies it."""
    from latex2mathml.converter import convert

    made = _BOLD.sub(_bold, convert(latex.strip(), display="block" if block else "inline"))
    start, content = made.removesuffix("</math>").split(">", 1)
    source = f'<annotation encoding="application/x-tex">{html.escape(latex.strip(), quote=False)}</annotation>'
    return f"{start}><semantics>{content}{source}</semantics></math>"


def _bold(found: re.Match[str]) -> str:
    letter = chr(int(found[2], 16)) if found[2] else found[3]
    for first, last, start in (
        ("A", "Z", _BOLD_CAPITAL_A),
        ("a", "z", _BOLD_SMALL_A),
        ("\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER OMEGA}", _BOLD_ITALIC_SMALL_ALPHA),
    ):
        if first <= letter <= last:
            return f"<mi>{chr(start + ord(letter) - ord(first))}</mi>"
    return found[0]


def with_mathml(page: str) -> str:
    """Return the HTML of a page with every marked equation as MathML."""
    page = _BLOCK.sub(lambda found: f'<div class="equation">{mathml(html.unescape(found[1]), block=True)}</div>', page)
    return _INLINE.sub(lambda found: mathml(html.unescape(found[1]), block=False), page)


def on_page_content(content: str, *, page: Any, **_: Any) -> str:
    """Called by MkDocs with the HTML of each page."""
    from mkdocs.exceptions import PluginError

    try:
        return with_mathml(content)
    except Exception as error:
        # What latex2mathml raises has no common root; the page is what the writer needs to know.
        raise PluginError(f"{page.file.src_uri}: an equation cannot be read: {error!r}") from error
