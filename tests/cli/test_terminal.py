"""Progress and colour: on a terminal, and only there."""
import os
import pty
import re
import subprocess

import pytest

from conftest import program_command

GREEN, RED, YELLOW = "\x1b[32m", "\x1b[31m", "\x1b[33m"


def on_terminal(build_dir, folder, *arguments, **environment):
    """What the program says on a terminal that is its standard error."""
    outer, inner = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(program_command(build_dir, arguments), cwd=folder,
                               env={**clean, "TERM": "xterm", **environment},
                               stdout=subprocess.DEVNULL, stderr=inner)
    os.close(inner)
    said = b""
    try:
        while chunk := os.read(outer, 65536):
            said += chunk
    except OSError:  # so a terminal ends
        pass
    os.close(outer)
    return process.wait(), said.decode()


@pytest.fixture(scope="module")
def run(build_dir, phantom):
    def run(*arguments, **environment):
        return on_terminal(build_dir, phantom.folder, "-a", "SIRT", "-i", 3, phantom.series,
                           *arguments, **environment)
    return run


def test_colour_on_a_terminal(run):
    status, said = run()
    assert status == 0
    assert re.search(r"\[\x1b\[32m=+\x1b\[0m *\] \d+ %", said)
    assert f"{YELLOW}warning\x1b[0m: no thickness given" in said


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}],
                         ids=["NO_COLOR", "dumb"])
def test_no_colour(run, environment):
    status, said = run(**environment)
    assert status == 0 and "warning: no thickness given" in said
    assert "\x1b[3" not in said and "\x1b[0m" not in said
    if "TERM" in environment:
        assert "\x1b" not in said and "\r" not in said.replace("\r\n", "\n")
        assert re.search(r"^\w.*: \d+ %, ", said, re.MULTILINE)


def test_an_error_in_red(run):
    status, said = run("--bin", "0")
    assert status == 2 and f"{RED}error\x1b[0m: --bin 0: must be" in said


def test_no_colour_elsewhere(tiltrec, phantom):
    done = tiltrec("-a", "SIRT", "-i", 3, phantom.series, cwd=phantom.folder,
                   env={"TERM": "xterm", "NO_COLOR": ""})
    assert "\x1b" not in done.stderr + done.stdout and "\r" not in done.stderr
    assert len(re.findall(r"^\w.*: \d+ %, ", done.stderr, re.MULTILINE)) >= 1
