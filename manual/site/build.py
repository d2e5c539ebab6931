#!/usr/bin/env python3
"""Make the manual a site of linked HTML pages and, with --pdf, one PDF.

    manual/site/build.py OUT [--reference FOLDER] [--pdf]

OUT gets html/ and tiltrec-manual.pdf. The chapters are those that manual/index.md links, in
its order, and the option pages that the programs write into FOLDER (tiltrec-mpi.md and so on).
pandoc turns Markdown into HTML, weasyprint HTML into PDF.
"""
import argparse
import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

MANUAL = Path(__file__).resolve().parents[1]
STYLE = Path(__file__).with_name("style.css")
LINK = re.compile(r'(?<=<a href=")([^"]+)(?=")')
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - TiltRec</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<nav aria-label="Chapters">
<p class="name"><a href="index.html">TiltRec</a></p>
{contents}
</nav>
<main>
{body}
{neighbours}
</main>
</body>
</html>
"""


class Chapter:
    def __init__(self, path):
        self.path, self.name = path, path.stem
        self.markdown = path.read_text()
        self.title = re.search(r"^# (.*)$", self.markdown, re.MULTILINE).group(1)
        done = subprocess.run(["pandoc", "--from", "gfm", "--to", "html5", "--wrap",
                               "none"], check=True, input=self.markdown, text=True,
                              capture_output=True)
        # Wide tables scroll by themselves, not the page.
        self.body = re.sub(r"(<table.*?</table>)", r'<div class="table">\1</div>',
                           done.stdout, flags=re.DOTALL)


def linked(index):
    """Names of the chapters that the index links, in its order."""
    names = re.findall(r"\]\(([\w-]+)\.md(?:#[^)]*)?\)", index)
    return list(dict.fromkeys(names))


def chapters(reference):
    names = ["index"] + linked((MANUAL / "index.md").read_text())
    pages = [MANUAL / f"{name}.md" for name in names]
    if reference:
        pages += sorted(reference.glob("tiltrec*.md"))
    return [Chapter(page) for page in pages]


def drop_links_to_the_sources(body):
    """The pages may be read where the sources are not."""
    return re.sub(r'<a href="\.\./[^"]*">(.*?)</a>', r"\1", body, flags=re.DOTALL)


def page_link(known):
    def link(match):
        name, dot_md, anchor = match.group(1).partition(".md")
        return f"{name}.html{anchor}" if dot_md and name in known else match.group(1)
    return link


def neighbours(found, at):
    links = [(rel, found[k]) for rel, k in (("prev", at - 1), ("next", at + 1))
             if 0 <= k < len(found)]
    return '<p class="neighbours">' + " ".join(
        f'<a rel="{rel}" href="{c.name}.html">{html.escape(c.title)}</a>'
        for rel, c in links) + "</p>"


def write_site(found, folder):
    known = {c.name for c in found}
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(STYLE, folder)
    shutil.copytree(MANUAL / "figures", folder / "figures", dirs_exist_ok=True)
    for at, chapter in enumerate(found):
        contents = "<ol>\n" + "\n".join(
            f'<li><a href="{c.name}.html"{" aria-current=page" if c is chapter else ""}>'
            f"{html.escape(c.title)}</a></li>" for c in found[1:]) + "\n</ol>"
        body = LINK.sub(page_link(known), drop_links_to_the_sources(chapter.body))
        (folder / f"{chapter.name}.html").write_text(PAGE.format(
            title=html.escape(chapter.title), contents=contents, body=body,
            neighbours=neighbours(found, at)))


def part_of_book(chapter, known):
    """The chapter with anchors that are its own among those of all chapters."""
    def link(match):
        name, dot_md, anchor = match.group(1).partition(".md")
        if match.group(1).startswith("#"):
            return f"#{chapter.name}--{match.group(1)[1:]}"
        if dot_md and name in known:
            return f"#{name}--{anchor[1:]}" if anchor else f"#{name}"
        return match.group(1)
    body = LINK.sub(link, drop_links_to_the_sources(chapter.body))
    body = re.sub(r'(<h\d )id="', rf'\1id="{chapter.name}--', body)
    return f'<section id="{chapter.name}">\n{body}\n</section>\n'


def write_pdf(found, folder, version):
    known = {c.name for c in found}
    contents = "\n".join(f'<li><a href="#{c.name}">{html.escape(c.title)}</a></li>'
                         for c in found)
    book = (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            f'<title>The TiltRec manual</title>'
            f'<meta name="description" content="TiltRec {version}"></head>'
            f'<body class="book"><header><h1>TiltRec</h1><p>Reconstruction of tomograms from '
            f'electron tilt series</p><p>Version {version}</p></header>'
            f'<nav><h1>Contents</h1><ol>{contents}</ol></nav>'
            + "".join(part_of_book(c, known) for c in found) + "</body></html>")
    source = folder / "book.html"
    source.write_text(book)
    subprocess.run(["weasyprint", "--quiet", "--base-url", f"{MANUAL}/", "--stylesheet",
                    STYLE, source, folder / "tiltrec-manual.pdf"], check=True)
    source.unlink()


def version():
    cmake = (MANUAL.parent / "CMakeLists.txt").read_text()
    return re.search(r"project\(tiltrec VERSION ([\d.]+)", cmake).group(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--pdf", action="store_true")
    given = parser.parse_args()
    for tool, wanted in (("pandoc", True), ("weasyprint", given.pdf)):
        if wanted and not shutil.which(tool):
            sys.exit(f"the manual needs {tool}; on Debian: apt-get install {tool}")
    found = chapters(given.reference)
    write_site(found, given.out / "html")
    if given.pdf:
        write_pdf(found, given.out, version())


if __name__ == "__main__":
    main()
