"""The manual hangs together: links, anchors, figures, and the site and PDF made of it."""
import html.parser
import re
import shlex
import shutil
import subprocess
import sys
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from conftest import ROOT

MANUAL = ROOT / "manual"
PAGES = sorted(MANUAL.glob("*.md")) + [ROOT / "README.md"]
BUILD = MANUAL / "site" / "build.py"


def without_code(text):
    text = re.sub(r"^( {4}|\t).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"(`+).+?\1", "", text, flags=re.DOTALL)


def links(path):
    """(target, is an image) of each link in a Markdown file."""
    for mark, target in re.findall(r"(!?)\[[^]]*\]\(([^)\s]+)\)", without_code(path.read_text())):
        yield target, bool(mark)


def anchors(path):
    """What the headings of a Markdown file are called in links to them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        while name in found:
            name += "-1"
        found.add(name)
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    for target, is_image in links(path):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.exists(), f"{path.name} links {target}"
        assert not is_image or other.suffix == ".svg"
        if anchor:
            assert anchor in anchors(other), f"{path.name} links {target}"


def test_every_chapter_is_in_the_index():
    named = {target.partition("#")[0] for target, _ in links(MANUAL / "index.md")}
    assert {path.name for path in MANUAL.glob("*.md")} - named == {"index.md"}


def test_figures_are_used_and_well_formed():
    used = {target for path in PAGES for target, is_image in links(path) if is_image}
    for figure in (MANUAL / "figures").glob("*"):
        assert f"figures/{figure.name}" in used
        root = ElementTree.parse(figure).getroot()
        assert root.tag.endswith("svg") and root.get("viewBox")
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        text = figure.read_text()
        assert "href" not in text and "<script" not in text and "@import" not in text


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.targets, self.tables = set(), [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            assert attributes["id"] not in self.ids
            self.ids.add(attributes["id"])
        self.targets += [attributes[key] for key in ("href", "src") if key in attributes]
        self.tables += tag == "table"


@pytest.fixture(scope="module")
def site(build_dir, tmp_path_factory):
    if not shutil.which("pandoc"):
        pytest.skip("pandoc is not here; tests/setup manual installs it")
    out = tmp_path_factory.mktemp("manual")
    pdf = ["--pdf"] if shutil.which("weasyprint") else []
    subprocess.run([sys.executable, BUILD, out, "--reference", build_dir / "manual", *pdf],
                   check=True)
    return out


@pytest.mark.slow
def test_the_site_is_complete_and_linked(site):
    pages = {path.name: Page(path.read_text()) for path in (site / "html").glob("*.html")}
    for path in MANUAL.glob("*.md"):
        assert f"{path.stem}.html" in pages
    assert pages["tiltrec-mpi.html"].tables > 5
    for name, page in pages.items():
        for target in page.targets:
            if re.match(r"https?://", target):
                continue
            file, _, anchor = unquote(target).partition("#")
            assert (site / "html" / (file or name)).exists(), f"{name} links {target}"
            if anchor:
                assert anchor in pages[file or name].ids, f"{name} links {target}"
    reached, left = set(), ["index.html"]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += [t for t in pages[name].targets if t in pages]
    assert reached == set(pages)


@pytest.mark.slow
def test_the_pdf(site):
    pdf = site / "tiltrec-manual.pdf"
    if not shutil.which("weasyprint"):
        pytest.skip("weasyprint is not here; tests/setup manual installs it")
    assert pdf.read_bytes()[:5] == b"%PDF-" and not (site / "book.html").exists()
    if not shutil.which("pdftotext"):
        pytest.skip("pdftotext is not here to read it")
    text = subprocess.run(["pdftotext", pdf, "-"], check=True, text=True,
                          capture_output=True).stdout
    text = " ".join(text.split())
    for part in ("Contents", "The TiltRec manual", "Options of tiltrecz-cuda",
                 "Added to every tilt angle"):
        assert part in text


COMMAND = re.compile(r"(?:mpiexec -n \d+ |srun )?(tiltrecz?-(?:mpi|cuda)) ([^#|<>]*)")


def commands():
    """Command lines of our programs in the manual, of those that are whole: (program,
    arguments), with what a shell would fill in."""
    found = set()
    for path in PAGES:
        text = path.read_text().replace("\\\n", " ")
        lines = re.findall(r"^ {4,}(.*)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
        for line in lines:
            line = re.sub(r'"?\$\(.*\)"?|"?\$\w+"?', "8", line)
            match = COMMAND.match(line)
            if match and "..." not in line and "error:" not in line and "[" not in line:
                found.add((match.group(1), match.group(2).strip()))
    return sorted(found)


def test_commands_of_the_manual_are_understood(build_dir, tmp_path):
    """In an empty folder each ends at a file that is not there, not at a word."""
    every = commands()
    assert len(every) > 25
    for program, arguments in every:
        if "batch" in arguments.split()[0]:
            arguments += " --dry-run"  # it would write of what failed
        done = subprocess.run([build_dir / program, *shlex.split(arguments)], cwd=tmp_path,
                              text=True, capture_output=True, stdin=subprocess.DEVNULL)
        said = f"{program} {arguments}: {done.stderr}"
        assert done.returncode in (0, 1, 3) or "no tilt series in" in done.stderr, said
        assert done.returncode != 1 or "cannot open" in done.stderr, said
        assert not list(tmp_path.iterdir())
