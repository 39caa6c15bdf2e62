"""Check that links between the pages of the built documentation lead somewhere.

Run as ``python docs/check_links.py docs/_build/html``. Ends with 1 if a file or an anchor that a
page of ours links to is not there.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the anchors it has."""

    def __init__(self, path):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Note links, sources and anchors."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            elif name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)


def dead_links(root):
    """Find the links of all pages in a folder that lead nowhere."""
    root = Path(root).resolve()
    paths = [path for path in sorted(root.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path) for path in paths}
    if not pages:
        raise SystemExit(f"{root} has no pages; build the documentation first")
    dead = []
    for path, page in pages.items():
        for target in page.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            there = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchor = unquote(url.fragment)
            missing = not there.is_file()
            if not missing and anchor and there in pages:
                missing = anchor not in pages[there].anchors
            if missing:
                dead.append(f"{path.relative_to(root)}: {target}")
    return dead, len(pages)


if __name__ == "__main__":
    dead, n_pages = dead_links(sys.argv[1])
    print(*dead, f"{len(dead)} dead links on {n_pages} pages", sep="\n")  # noqa: T201
    sys.exit(bool(dead))
