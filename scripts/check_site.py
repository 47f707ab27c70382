"""What is wrong with the built site: links that lead nowhere, and anything asked of another host.

    python scripts/check_site.py [build/site]        the last step of `make docs-site`

A link of a reader's (`<a href>`) may lead to another host; what a page loads by itself (scripts,
styles, fonts, pictures, hints to connect) may not.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

SITE = Path(__file__).parents[1] / "build" / "site"
ELSEWHERE = re.compile(r"(?:https?:)?//")
LOADS = {
    **dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed"), "src"),
    **dict.fromkeys(("link", "use"), "href"),
    "object": "data",
}
INERT = {"canonical", "license", "author", "prev", "next", "alternate"}
"""Relations of `<link>` that a browser does not load."""
IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """What a page has to point at, what it points at, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        inert = tag == "link" and set(given.get("rel", "").split()) <= INERT
        if tag in LOADS and LOADS[tag] in given and not inert:
            self.loads.append(given[LOADS[tag]])
        self.loads += IN_STYLE.findall(given.get("style", ""))


def faults(site: Path) -> Iterator[str]:
    """Each fault as a line: the page, and what is wrong in it."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site}: no page"
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.loads:
            if ELSEWHERE.match(target):
                yield f"{name}: loads {target}"
            elif not target.startswith(("data:", "#")):
                yield from _there(site, path, target, pages, name)
        if name.name != "404.html":
            for link in dict.fromkeys(page.links):
                if not re.match(r"[a-z]+:|//", link):
                    yield from _there(site, path, link, pages, name)
    for path in sorted(site.rglob("*.css")):
        for target in IN_STYLE.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {target}"


def _there(site: Path, path: Path, link: str, pages: dict[Path, Page], name: Path) -> Iterator[str]:
    target, _, anchor = link.partition("#")
    target = unquote(target.partition("?")[0])
    place = (site / target.lstrip("/")) if target.startswith("/") else (path.parent / target)
    place = path if not target else place.resolve()
    place = place / "index.html" if place.is_dir() else place
    if not place.exists():
        yield f"{name}: no file {link}"
    elif anchor and place in pages and unquote(anchor) not in pages[place].anchors:
        yield f"{name}: no place #{anchor} in {place.name}"


def main() -> int:
    site = Path(sys.argv[1] if len(sys.argv) > 1 else SITE).resolve()
    found = list(faults(site))
    print(*found, sep="\n", end="\n" if found else "")
    count = len(list(site.rglob("*.html")))
    print(f"{count} pages: {len(found) or 'no'} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
