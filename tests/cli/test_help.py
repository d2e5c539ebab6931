"""--help and the pages made from the same tables: nothing missing, nothing stale."""
import re
import shutil
import subprocess

import pytest

import option_table
from conftest import ROOT, runner
from option_table import PROGRAMS


@pytest.fixture(scope="module")
def say(build_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("say")

    def run(program, *arguments, **options):
        return runner(build_dir, program)(*arguments, cwd=folder, threads=None, **options)
    return run


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_first_screen_is_a_screen(say, program):
    done = say(program, "--help")
    lines = done.stdout.splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 80 and not done.stderr
    assert done.stdout.startswith(f"Usage: {program} [options] [SERIES]\n")
    for part in ("--help all", "-a, --algorithm", "-i, --iterations", "-T, --thickness",
                 "-o, --output", "--dry-run", "SIRT", f"man {program}"):
        assert part in done.stdout
    assert ("--device" in done.stdout) == (program in option_table.GPU)
    assert ("ADMM" in done.stdout) == program.startswith("tiltrecz")


def test_short_and_late_and_on_ranks(say):
    screen = say("tiltrec-mpi", "--help").stdout
    assert say("tiltrec-mpi", "-h").stdout == screen
    assert say("tiltrec-mpi", "-a", "SIRT", "-T", 300, "x.mrc", "-h").stdout == screen
    assert say("tiltrec-mpi", "--help", ranks=2).stdout == screen


def test_one_option(say):
    text = say("tiltrec-mpi", "--help", "tilt-offset").stdout
    assert say("tiltrec-mpi", "--help=--tilt-offset").stdout == text
    for part in ("--tilt-offset DEGREES", "Added to every tilt angle", "default  0\n",
                 "a number from -180 to 180 degrees", "all algorithms", "Geometry"):
        assert part in text


@pytest.mark.parametrize("ranks", [None, 2])
def test_an_unknown_topic(say, ranks):
    done = say("tiltrec-mpi", "--help", "thicknes", ranks=ranks, check=False)
    assert done.returncode == 2 and not done.stdout
    assert "did you mean --help thickness?" in done.stderr
    assert done.stderr.count("error") == 1


def unwrapped(text):
    return " ".join(text.split())


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_all_has_every_row(say, build_dir, program):
    text = say(program, "--help", "all").stdout
    assert max(map(len, text.splitlines())) <= 80
    for heading in ("Algorithm:", "Files:", "Geometry:", "Data:", "The run:",
                    "Exit status:", "Environment:"):
        assert f"\n{heading}\n" in text
    assert "--markdown" not in text and "--completion" not in text
    for row in option_table.rows(build_dir, program):
        dashes = f"-{row.letter}, --{row.name}" if row.letter else f"--{row.name}"
        entry = unwrapped(f"{dashes} {row.metavar} {row.help}")
        assert entry in unwrapped(text)
        check_limits(row, unwrapped(text).split(entry)[1:])


def check_limits(row, texts):
    """One of the texts that follow the row's help begins with its range and default."""
    expected = option_table.range_words(row)
    ends = [text.split(")")[0] for text in texts]
    if expected:
        assert any(text.startswith(f" ({expected}") for text in ends)
    if row.default:
        assert any(text.endswith(f"default {row.default}") for text in ends)
    if row.choices:
        assert any(text.startswith(" (" + option_table.choice_words(row)) for text in ends)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_manual_page_has_every_row(say, build_dir, program):
    text = say(program, "--man").stdout.replace("\\-", "-").replace("\\(aq", "'")
    assert (build_dir / "manual" / f"{program}.1").read_text() == say(program, "--man").stdout
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "ALGORITHMS", "OPTIONS",
                    "EXIT STATUS", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"):
        assert f"\n.SH {section}\n" in text
    for row in option_table.rows(build_dir, program):
        head = f"\\fB-{row.letter}\\fR, " if row.letter else ""
        head += f"\\fB--{row.name}\\fR" + (f" \\fI{row.metavar}\\fR" if row.metavar else "")
        assert f".TP\n{head}\n{row.help}" in text
        check_limits(row, text.split(f"{head}\n{row.help}")[1:])


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_manual_page_is_good_troff(say, program):
    if not shutil.which("groff"):
        pytest.skip("groff is not here")
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-P-cbou"], text=True, check=True,
                          input=say(program, "--man").stdout, capture_output=True)
    assert not done.stderr
    assert "EXIT STATUS" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_manuals_tables_have_every_row(say, build_dir, program):
    written = (build_dir / "manual" / f"{program}.md").read_text()
    assert written == say(program, "--markdown").stdout
    text = re.sub(r"\\([\\`*_|<>\[\]])", r"\1", written)
    for row in option_table.rows(build_dir, program):
        head = f"`-{row.letter}`, " if row.letter else ""
        entry = (f"| {head}`--{row.name}{' ' if row.metavar else ''}{row.metavar}` | "
                 f"{row.help} | ")
        assert entry in text
        ends = [end.split("\n")[0] for end in text.split(entry)[1:]]
        assert any(end.startswith(option_table.range_words(row) or "")
                   and end.endswith(f" | {row.default} |") for end in ends)


def test_exit_statuses_are_the_same_everywhere(say):
    manual = re.findall(r"^\| (\d) \| (.*?) \|$",
                        (ROOT / "manual" / "index.md").read_text(), re.MULTILINE)
    assert [int(status) for status, _ in manual] == list(range(7))
    help_ = unwrapped(say("tiltrecz-mpi", "--help", "all").stdout)
    page = say("tiltrecz-mpi", "--man").stdout.replace("\\-", "-").replace("\\(aq", "'")
    for status, meaning in manual:
        meaning = meaning.replace("`", "").removesuffix(" (tiltrecz)")
        assert f" {status} {meaning} " in help_
        assert f".TP\n.B {status}\n{meaning}\n" in page
    header = (ROOT / "common" / "base" / "err.h").read_text()
    assert {name: int(value) for name, value in
            re.findall(r"(TR_OK|TR_ERR_\w+) = (\d)", header)} == {
        "TR_OK": 0, "TR_ERR_DATA": 1, "TR_ERR_USAGE": 2, "TR_ERR_UNAVAILABLE": 3,
        "TR_ERR_MEMORY": 4, "TR_ERR_INTERNAL": 5, "TR_ERR_STOPPED": 6}
