"""Hooks of MkDocs: see `hooks` in mkdocs.yml.

Pages of docs/ link to files outside the folder, such as examples and SECURITY.md, so that the links work in the
repository. The hooks add these files to the site, and rewrite the links to their new places. Links to other sites are
listed, not followed, since a build must not depend on other sites.
"""

import os.path
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs/"
# The repository's first page, and the site's.
MOVED = {"README.md": "index.md"}
# The target of a link or an image, without its anchor.
_LINK = re.compile(r"(?<=\]\()(?!#)[^)#\s]+")
_EXTERNAL = re.compile(r"[a-z]+:")

_external: set[str] = set()


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the files outside docs/ that pages link to, and the files that these link to."""
    _external.clear()
    pages = list(files.documentation_pages())
    for page in pages:  # grows meanwhile
        for target in _targets(page):
            name = MOVED.get(target, target)
            if target.startswith(DOCS) or files.get_file_from_path(name) or not (ROOT / target).is_file():
                continue
            # Only pages of docs/ must have a place in the navigation.
            inclusion = InclusionLevel.NOT_IN_NAV
            added = File.generated(config, name, abs_src_path=str(ROOT / target), inclusion=inclusion)
            files.append(added)
            if added.is_documentation_page():
                pages.append(added)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite the links of a page to places in the site."""

    def turn(match: re.Match[str]) -> str:
        target = _in_repository(page.file, match[0])
        if not target:
            _external.add(match[0])
            return match[0]
        place = MOVED.get(target, target.removeprefix(DOCS))
        return os.path.relpath(place, Path(page.file.src_uri).parent)

    return _LINK.sub(turn, markdown)


def on_post_build(**_: Any) -> None:
    """List the links to other sites."""
    print(f"{len(_external)} links to other sites, not followed:", *sorted(_external), sep="\n  ")


def _targets(page: File) -> list[str]:
    """Return the files that a page links to, as paths in the repository."""
    found = (_in_repository(page, link) for link in _LINK.findall(page.content_string))
    return [target for target in found if target]


def _in_repository(page: File, link: str) -> str:
    """Return the path in the repository that a link leads to; empty for another site."""
    if _EXTERNAL.match(link):
        return ""
    inside = (ROOT / DOCS / page.src_uri).is_file()
    directory = Path(DOCS if inside else "", page.src_uri).parent
    return os.path.normpath(directory / link)
