"""An output that cannot be written or would destroy an input is refused before anything is
lost, and a run that is ended from outside leaves nothing unfinished behind."""
import os
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest

from bad_input import COLUMNS, ROWS, as_common_user, on_small_disk
from conftest import MPI_ENVIRONMENT, TIMEOUT, program_command, read_mrc

DATA, USAGE = 1, 2  # exit statuses
RANKS = pytest.mark.parametrize("ranks", [None, 3], ids=["alone", "ranks"])
RUN = "s.mrc -T 16 -o"


# ---- the name ----

@RANKS
@pytest.mark.parametrize("more", ["", "--bin 2", "--dry-run"])
def test_missing_folder(bench, more, ranks):
    bench.refused(f"{RUN} none/o.mrc {more}", DATA, "none/", "does not exist", "-o",
                  ranks=ranks)


def test_folder_that_is_a_file(bench):
    bench.refused(f"{RUN} s.tlt/o.mrc", DATA, "s.tlt/", "Not a directory")


@RANKS
@pytest.mark.parametrize("more", ["", "--bin 2"])
def test_folder_not_writable(bench, more, ranks):
    (bench.folder / "out").mkdir(mode=0o555)
    bench.refused(f"{RUN} out/o.mrc {more}", DATA, "out/", "Permission denied", ranks=ranks,
                  wrapper=as_common_user())


def test_folder_read_only(bench):
    (bench.folder / "out").mkdir()
    bench.refused(f"{RUN} out/o.mrc", DATA, "out/", "Read-only file system",
                  wrapper=on_small_disk("ro", bench.folder / "out"))


def test_output_is_a_folder(bench):
    (bench.folder / "o.mrc").mkdir()
    bench.refused(f"{RUN} o.mrc", USAGE, "output o.mrc is a folder")
    bench.refused(f"{RUN} o.mrc/", USAGE, "output o.mrc/ is a folder")


@pytest.mark.parametrize("name", ["o.xyz", "o", "o.mrc.gz", ".mrc/o"])
def test_unknown_extension(bench, name):
    (bench.folder / ".mrc").mkdir()
    bench.refused(f"{RUN} {name}", USAGE, f"output {name} ", ".mrc", ".hdf")


@pytest.mark.parametrize("how", ["same", "path", "symlink", "hard link"])
def test_output_is_the_series(bench, how):
    series, link = bench.folder / "s.mrc", bench.folder / "link.mrc"
    name = {"same": "s.mrc", "path": f"../{bench.folder.name}/s.mrc"}.get(how, "link.mrc")
    if how == "symlink":
        link.symlink_to("s.mrc")
    if how == "hard link":
        os.link(series, link)
    bench.refused(f"{RUN} {name}", USAGE, f"output {name} is also an input", "-o")


@pytest.mark.parametrize("option", ["-t", "--xtilts", "--transforms", "--imod-com",
                                    "--initial", None])
def test_output_is_another_input(bench, option):
    """Also where the input is called as an output could be."""
    text = {"--transforms": "1 0 0 1 0 0\n" * 7, "--imod-com": "$tilt\nTHICKNESS 16\n"}
    bench.text("x.mrc", text.get(option, "-9\n-6\n-3\n0\n3\n6\n9\n"))
    more, name = f"{option} x.mrc", "x.mrc"
    if option == "--initial":
        bench.stack("x.mrc", np.zeros((ROWS, 16, COLUMNS), np.float32))
        more = "-a SIRT -i 2 --initial x.mrc"
    if option is None:  # the angles found beside the series
        (bench.folder / "x.mrc").unlink()
        (bench.folder / "x.mrc").symlink_to("s.tlt")
        more = ""
    bench.refused(f"{RUN} {name} {more}", USAGE, f"output {name} is also an input", "-o")


# ---- the disk ----

@pytest.mark.parametrize("more", ["", "--mode byte"])
@pytest.mark.parametrize("name", ["o.mrc", "o.hdf"])
def test_full_disk(bench, name, more):
    (bench.folder / "out").mkdir()
    bench.refused(f"{RUN} out/{name} {more}", DATA, f"out/{name}", "too full", "MB",
                  wrapper=on_small_disk("size=8k", bench.folder / "out"))
    assert (bench.folder.parent / "left").read_text() == ""


# A tomogram of 12 x 3.84 MB under a limit of 20 MB for each file, which lets the files of
# the MPI library itself pass.
WIDE = "s.mrc -T 160 -w 6000 --memory 2G -o"


@pytest.fixture
def size_limit():
    if not shutil.which("prlimit"):
        pytest.skip("no prlimit to set a limit with")
    return ["prlimit", "--fsize=20000000:20000000"]


@pytest.mark.parametrize("more", ["", "--mode byte"])
@pytest.mark.parametrize("name", ["o.mrc", "o.hdf"])
@RANKS
def test_file_size_limit(bench, size_limit, name, more, ranks):
    """The operating system refuses to make the file as long as it must be; with --mode
    byte only the second, larger one, when the first is there."""
    bench.refused(f"{WIDE} {name} {more}", DATA, name, "File too large", ranks=ranks,
                  wrapper=size_limit)


def test_write_fails_on_one_rank(bench, size_limit):
    """Halfway, and the others, which know nothing of it, are ended."""
    last = 'case ${PMI_RANK:-$OMPI_COMM_WORLD_RANK} in 2) exec %s "$@";; esac; exec "$@"'
    before = bench.contents()
    done = bench.run(f"{WIDE} o.mrc", ranks=3, check=False,
                     wrapper=["sh", "-c", last % " ".join(size_limit), "sh"])
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert done.returncode == DATA, done.stderr
    assert len(errors) == 1 and "rank 2: writing " in errors[0], done.stderr
    assert "o.mrc" in errors[0] and "File too large" in errors[0], done.stderr
    assert bench.contents() == before


def test_earlier_output_survives_failure(bench, size_limit):
    """The final name is touched only by a complete file."""
    bench.text("o.mrc", "of an earlier run")
    bench.refused(f"{WIDE} o.mrc", DATA, "File too large", wrapper=size_limit)
    bench.run(f"{RUN} o.mrc")
    assert read_mrc(bench.folder / "o.mrc").shape == (ROWS, 16, COLUMNS)


# ---- ended from outside ----

def start(build_dir, bench, arguments, ranks, **streams):
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
               "stderr": subprocess.DEVNULL, **streams}
    return subprocess.Popen(program_command(build_dir, arguments.split(), ranks),
                            cwd=bench.folder, env={**os.environ, **MPI_ENVIRONMENT},
                            **streams)


def wait_until(condition, what):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, f"{what} does not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
                         ids=lambda number: number.name)
@pytest.mark.parametrize("name, mode, files", [
    ("o.mrc", "float", 3), ("o.mrc", "byte", 4), ("o.hdf", "float", 3)])  # journal and lock too
def test_signal_leaves_nothing(bench, build_dir, number, name, mode, files):
    before = bench.contents()
    program = start(build_dir, bench,
                    f"{RUN} {name} -a SIRT -i 100000 --mode {mode}", None)
    try:
        wait_until(lambda: len(os.listdir(bench.folder)) == len(before) + files,
                   "an unfinished output")
        program.send_signal(number)
        assert program.wait(TIMEOUT) == -number
    finally:
        program.kill()
    assert bench.contents() == before


@pytest.mark.parametrize("turn", range(3))
def test_signal_to_ranks_leaves_nothing(bench, build_dir, turn):
    before = bench.contents()
    program = start(build_dir, bench, f"{RUN} o.mrc -a SIRT -i 100000 --mode byte", 3)
    try:
        wait_until(lambda: len(os.listdir(bench.folder)) == len(before) + 4,
                   "an unfinished output")
        time.sleep(0.1 * turn)
        program.terminate()
        program.wait(TIMEOUT)  # the status is the launcher's; it may even be 0
    finally:
        program.kill()
    wait_until(lambda: bench.contents() == before, "the removal of what is unfinished")


# ---- nobody listens ----

@pytest.mark.parametrize("name", ["o.mrc", "o.hdf"])
def test_broken_pipe(bench, build_dir, name):
    """A log viewer that has quit neither ends the run nor changes its result."""
    bench.run(f"{RUN} quiet.mrc --quiet")
    reader, writer = os.pipe()
    os.close(reader)
    program = start(build_dir, bench, f"{RUN} {name} --verbose", None, stdout=writer,
                    stderr=writer)
    os.close(writer)
    assert program.wait(TIMEOUT) == 0
    expected = read_mrc(bench.folder / "quiet.mrc")
    if name == "o.mrc":
        assert np.array_equal(read_mrc(bench.folder / name), expected)
    else:
        with h5py.File(bench.folder / name) as file:
            assert np.array_equal(file["MDF/images/0/image"], expected)


def test_closed_stream_is_taken_by_nothing(bench, build_dir):
    """Else messages would go into whatever was opened next, say a pipe of MPI's own."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc to see the open files of a program in")
    before = bench.contents()
    shell = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"]
    program = subprocess.Popen(
        program_command(build_dir, f"{RUN} o.mrc -a SIRT -i 100000".split(), wrapper=shell),
        cwd=bench.folder)
    try:
        wait_until(lambda: len(os.listdir(bench.folder)) > len(before),
                   "an unfinished output")
        for stream in 1, 2:
            assert os.readlink(f"/proc/{program.pid}/fd/{stream}") == "/dev/null"
    finally:
        program.terminate()
        program.wait(TIMEOUT)


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@RANKS
def test_closed_streams(bench, closed, ranks):
    bench.run(f"{RUN} quiet.mrc --quiet")
    for name in "o.mrc", "o.hdf":
        bench.run(f"{RUN} {name} --verbose", ranks=ranks,
                  wrapper=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert (bench.folder / "o.mrc").read_bytes() == (bench.folder / "quiet.mrc").read_bytes()
    with h5py.File(bench.folder / "o.hdf") as file:
        assert np.array_equal(file["MDF/images/0/image"],
                              read_mrc(bench.folder / "quiet.mrc"))
