"""What the shells complete, by the shells themselves."""
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

import option_table
from conftest import runner
from option_table import PROGRAMS

FILES = {"bash": "{}.bash", "zsh": "_{}", "fish": "{}.fish"}


def script(build_dir, program, shell):
    return build_dir / "manual" / "completion" / FILES[shell].format(program)


def need(shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not here")


@pytest.fixture
def folder(tmp_path):
    for name in ("series_ali.mrc", "series.tlt", "two words.mrc"):
        (tmp_path / name).touch()
    return tmp_path


def bash(build_dir, words, program="tiltrec-mpi"):
    """What bash offers at the end of the words (the last may be ''): the function's
    COMPREPLY, as readline asks for it."""
    function = "_" + program.replace("-", "_")
    command = (f'source "{script(build_dir, program, "bash")}"; compopt() {{ :; }}; '
               f'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); {function}; '
               'printf "%s\\n" "${COMPREPLY[@]}"')
    said = subprocess.run(["bash", "--norc", "-c", command, "bash", program, *words],
                          text=True, check=True, capture_output=True)
    assert not said.stderr
    return said.stdout.split()


def fish(build_dir, line, folder, program="tiltrec-mpi"):
    said = subprocess.run(["fish", "--no-config", "-c",
                           f'source "{script(build_dir, program, "fish")}"; '
                           f"complete -C '{program} {line}'"], text=True, check=True,
                          cwd=folder, capture_output=True,
                          env={**os.environ, "HOME": str(folder)})
    assert not said.stderr
    return [entry.split("\t")[0] for entry in said.stdout.splitlines()]


# What is typed, and what must and must not be offered.
CASES = [
    (["--thick"], ["--thickness"], ["--width"]),
    (["-a", ""], ["BPT", "FBP", "SART", "SIRT", "WBP"], ["ADMM", "series.tlt"]),
    (["--algorithm", "SI"], ["SIRT"], ["SART"]),
    (["--mode", ""], ["byte", "float", "half", "int16", "uint16"], ["series.tlt"]),
    (["--order", "xy"], ["xyz"], ["xzy"]),
    (["--thickness", ""], [], ["series.tlt"]),
    (["--rad"], ["--radial"], []),
    (["-a", "SIRT", "--rad"], [], ["--radial"]),
    (["-a", "SIRT", "--iter"], ["--iterations"], []),
    (["-asirt", "--iter"], ["--iterations"], []),
    (["--algorithm", "FBP", "--filter", "ha"], ["hamming", "hann"], ["cosine"]),
    (["--help", "SI"], ["SIRT"], ["--thickness"]),
    (["--help", "th"], ["thickness", "threads"], []),
]


@pytest.mark.parametrize("words, offered, others", CASES, ids=lambda v: " ".join(v))
def test_bash_function(build_dir, words, offered, others):
    found = bash(build_dir, words)
    assert set(offered) <= set(found) and not set(others) & set(found)
    assert len(set(found)) == len(found) and (found or not offered)


def test_bash_values_behind_an_equals_sign(build_dir):
    """readline makes three words of it."""
    assert bash(build_dir, ["--mode", "="]) == ["float", "half", "int16", "uint16", "byte"]
    assert bash(build_dir, ["--mode", "=", "ui"]) == ["uint16"]
    assert bash(build_dir, ["--algorithm", "=", "fbp", "--fil"]) == ["--filter"]


def test_the_volume_program_has_its_own(build_dir):
    assert bash(build_dir, ["-a", "CG"], "tiltrecz-mpi") == ["CGLS"]
    assert bash(build_dir, ["-a", "ADMM", "--la"], "tiltrecz-mpi") == ["--lambda", "--lambda-times"]
    assert bash(build_dir, ["--dev"], "tiltrec-cuda") == ["--device", "--device-memory"]
    assert not bash(build_dir, ["--dev"], "tiltrec-mpi")


class Terminal:
    """A shell on a terminal of its own, to which a person's keys are sent."""

    def __init__(self, command, folder):
        self.process, self.fd = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, {
                "PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb",
                "LC_ALL": "C", "ZDOTDIR": str(folder)})

    def press(self, keys, until, seconds=20):
        """Everything that appears, up to what matches `until`."""
        os.write(self.fd, keys.encode())
        said, end = "", time.monotonic() + seconds
        while not re.search(until, said):
            left = end - time.monotonic()
            assert left > 0, f"{until!r} did not come after {keys!r}, but: {said!r}"
            if select.select([self.fd], [], [], left)[0]:
                said += os.read(self.fd, 65536).decode(errors="replace")
        return said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)  # hangs up
        os.waitpid(self.process, 0)


def shown(terminal, typed, tab="\t"):
    """The command line after `typed` and the key of completion, seen by running it: the
    program is replaced by one that prints its arguments."""
    said = terminal.press(f"{typed}{tab}\r", r"<<(.*)>>")
    return re.search(r"<<(.*)>>", said).group(1).split("|")


KEYS = [
    ("--thick", ["--thickness"]),
    ("--invert ser", ["--invert", "series"]),  # two files begin so
    ("--tilts series.", ["--tilts", "series.tlt"]),
    ("series_", ["series_ali.mrc"]),
    ("two", ["two words.mrc"]),
    ("--thickness ser", ["--thickness", "ser"]),  # a number has no files
    ("--mode=ui", ["--mode=uint16"]),
    ("--try series_", ["--try", "series_ali.mrc"]),  # its value may be left out
    ("-a sir", ["-a", "SIRT"]),
    ("-a SIRT --acc", ["-a", "SIRT", "--accelerate"]),
]


def test_bash_with_the_tab_key(build_dir, folder):
    with Terminal(["bash", "--norc", "--noprofile", "-i"], folder) as terminal:
        terminal.press(f"PS1='> ' PS2= ; source '{script(build_dir, 'tiltrec-mpi', 'bash')}';"
                       "tiltrec-mpi() { local IFS='|'; printf '<%s%s>>\\n' '<' \"$*\"; };"
                       "bind 'set enable-bracketed-paste off'; echo rea''dy\r", "ready\r\n")
        for typed, expected in KEYS:
            assert shown(terminal, f"tiltrec-mpi {typed}") == expected


def test_zsh_with_the_tab_key(build_dir, folder):
    need("zsh")
    (folder / ".zshrc").touch()
    with Terminal(["zsh", "-f", "-i"], folder) as terminal:
        terminal.press(f"fpath=('{build_dir}/manual/completion' $fpath); PS1='> '; "
                       "unsetopt zle_bracketed_paste prompt_sp; autoload -U compinit; "
                       f"compinit -u -D; "
                       "tiltrec-mpi() { printf '<%s%s>>\\n' '<' \"${(j:|:)@}\" }; "
                       "echo rea''dy\r", "ready\r\n")
        for typed, expected in KEYS:
            if typed not in ("-a sir", "--invert ser"):
                assert shown(terminal, f"tiltrec-mpi {typed}") == expected


@pytest.mark.parametrize("words, offered, others", CASES, ids=lambda v: " ".join(v))
def test_fish(build_dir, folder, words, offered, others):
    need("fish")
    found = fish(build_dir, " ".join(words), folder)
    assert set(offered) <= set(found) and not set(others) & set(found)


def test_fish_files(build_dir, folder):
    need("fish")
    assert "series_ali.mrc" in fish(build_dir, "--try ser", folder)
    assert "series.tlt" in fish(build_dir, "--tilts ser", folder)
    assert "series_ali.mrc" in fish(build_dir, "ser", folder)
    assert fish(build_dir, "--mode=ui", folder) == ["--mode=uint16"]


@pytest.mark.parametrize("shell", FILES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_row_is_there(build_dir, tmp_path, program, shell):
    path = script(build_dir, program, shell)
    text = path.read_text()
    assert text == runner(build_dir, program)("--completion", shell, cwd=tmp_path,
                                              threads=None).stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n", path], check=True)
    for row in option_table.rows(build_dir, program):
        long, letter = row.name, row.letter
        if shell == "bash":
            assert f" --{long} " in re.sub("['|)]", " ", text)
            takes_word = row.choices and not row.metavar.startswith("[")
            assert not takes_word or f"    --{long})\n" in text
        elif shell == "zsh":
            head = (f"'(-{letter} --{long})'{{-{letter}" if letter else f"\n    --{long}")
            assert head in text
        else:
            entry = f"complete -c {program} -l {long}" + (f" -s {letter}" if letter else "")
            if row.group not in ("", "device"):
                entry += f" -n '__{program.replace('-', '_')}_runs {row.group}'"
            assert entry + " " in text
        if not row.metavar.startswith("["):  # whose value may be left out
            assert option_table.words(row) in text
