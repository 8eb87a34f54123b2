"""MkDocs hook: the built site loads nothing from other hosts, and no equation is left as LaTeX."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

#: Of a `link`, what a browser fetches by itself; `canonical`, `next` and the like are only read.
_FETCHED = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


class _Loads(HTMLParser):
    """Collects the addresses that a page loads, links to follow left out."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link" and not _FETCHED & set(given.get("rel", "").split()):
            return
        names = ("href", "src", "srcset", "data", "poster") if tag == "link" else ("src", "srcset", "data", "poster")
        self.addresses += [given[name] for name in names if name in given]
        self.addresses += _STYLE.findall(given.get("style", ""))


def foreign(text: str, *, kind: str) -> list[str]:
    """Return the addresses at other hosts that a page (`kind` "html") or a style sheet ("css") loads."""
    if kind == "css":
        return _STYLE.findall(text)
    parser = _Loads()
    parser.feed(text)
    inline = _STYLE.findall(" ".join(re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)))
    return [address for address in parser.addresses if _ELSEWHERE.match(address)] + inline


def faults(site: Path) -> list[str]:
    """Return what is wrong with a built site, one line each."""
    found = []
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(site)
        found += [f"{name}: loads {address}" for address in foreign(text, kind=path.suffix[1:])]
        if 'class="arithmatex"' in text:
            found.append(f"{name}: an equation is left as LaTeX")
    return found


def on_post_build(*, config: Any, **_: Any) -> None:
    """Called by MkDocs when all files are written."""
    from mkdocs.exceptions import PluginError

    if found := faults(Path(config.site_dir)):
        raise PluginError("\n".join(["the site is not self-contained:", *found]))
