"""What a run writes is its own: no input and no other file of it has a name that it writes
under, links at such names are not followed, one run at a time has an output, and what an
earlier run left is removed or named."""
import ctypes
import fcntl
import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from bad_input import COLUMNS, ROWS, VIEWS
from conftest import MPI_ENVIRONMENT, TIMEOUT, program_command, read_mrc

pytestmark = pytest.mark.slow

DATA, USAGE = 1, 2  # exit statuses
RUN = "s.mrc -T 16 -o"
# All that a run can write beside an output.
BESIDE = ["partial", "partial.earlier", "partial.packed", "float", "journal", "lock",
          "lock-host-1", "prepared-0123456789ab", "checkpoint-0-of-1.0",
          "checkpoint-1-of-2.1.new"]
ALL = ("-a SIRT -i 2 --mode int16 --bin 2 --preview --half-sets views --report o.html "
       "--json o.json --timeline tl.json")
WRITTEN = ["o.mrc", "o_EVN.mrc", "o_ODD.mrc", "o.html", "o.json", "tl.json", "o_xy.png",
           "o_xz.png", "o_yz.png"]


# ---- one table of names ----

@pytest.mark.parametrize("arguments, said", [
    ("-o o.mrc --json ./o.mrc", "output and the result are both ./o.mrc"),
    ("-o o.mrc --json ../series/o.mrc", "output and the result are both ../series/o.mrc"),
    ("-o o.mrc --report link/o.mrc", "output and the report are both link/o.mrc"),
    ("-o link/o.mrc --timeline o.mrc", "output and the timeline are both o.mrc"),
    ("-o o.mrc --report r --json ./r", "report and the result are both ./r"),
    ("-o o.mrc --timeline r --json ./r", "timeline and the result are both ./r"),
    ("-o o.mrc --timeline r --report .//r", "timeline and the report are both .//r"),
    ("-o o.mrc --half-sets views --json ./o_EVN.mrc", "both ./o_EVN.mrc"),
    ("-o o.mrc --half-sets views --report link/o_ODD.mrc", "both link/o_ODD.mrc"),
    ("-o o.mrc --preview --json ./o_xz.png", "result and the preview are both"),
    ("-o o.mrc --json .o.mrc.partial", "result .o.mrc.partial has a name"),
    ("-o o.mrc --report link/.o.mrc.lock", "report link/.o.mrc.lock has a name"),
    ("-o o.mrc --report r.html --json .r.html.partial", "result .r.html.partial has"),
    ("-o .r.html.partial.mrc --report r.html", "output .r.html.partial.mrc has a name"),
    ("-o o.mrc --json ./s.tlt", "result ./s.tlt is also an input"),
    ("-o o.mrc --report link/s.mrc", "report link/s.mrc is also an input"),
    ("-o o.mrc --timeline s.tlt", "timeline s.tlt is also an input"),
])
def test_two_spellings_of_a_name(bench, arguments, said):
    """Of files that are not there, too; nothing is written, not even the result."""
    (bench.folder / "link").symlink_to(".")
    bench.refused(f"s.mrc -T 16 {arguments}", USAGE, said, "choose another name with -")


@pytest.mark.unsanitized
@pytest.mark.parametrize("name", [f".{file}.{kind}" for kind in BESIDE for file in WRITTEN
                                  if kind in ("partial", "lock") or file.endswith("o.mrc")
                                  ] + WRITTEN)
@pytest.mark.parametrize("link", [False, True], ids=["itself", "by a link"])
def test_own_input_is_not_lost(bench, name, link):
    """The series, and its angles, under every name that the run would use."""
    for source, options in (("s.mrc", "-t s.tlt {} -o o.mrc"), ("s.tlt", "s.mrc -t {} -o o.mrc")):
        shutil.copy(bench.folder / source, bench.folder / name)
        if link:
            (bench.folder / "x.mrc").symlink_to(name)
        bench.refused(f"{options.format('x.mrc' if link else name)} -T 16 {ALL}", USAGE,
                      "choose another name with -")
        (bench.folder / name).unlink()
        (bench.folder / "x.mrc").unlink(missing_ok=True)


@pytest.mark.unsanitized
@pytest.mark.parametrize("output", ["o.mrc", "o.hdf"])
@pytest.mark.parametrize("kind", BESIDE + [None])
def test_links_are_not_followed(bench, output, kind):
    """A link at any name that the run uses: what it leads to stays as it is, and what has a
    name in the end is a file."""
    written = [name.replace("o.mrc", output).replace(".mrc", Path(output).suffix)
               for name in WRITTEN]
    more = ALL + (" --deflate 1" if output == "o.hdf" else "")
    planted = [bench.folder / (name if kind is None else f".{name}.{kind}") for name in written]
    victims = [bench.folder / f"victim{k}" for k in range(len(planted))]
    for victim, link in zip(victims, planted):
        victim.write_text("precious")
        link.symlink_to(f"../series/{victim.name}")
    done = bench.run(f"s.mrc -T 16 -o {output} {more}", check=False)
    assert {victim.read_text() for victim in victims} == {"precious"}
    if kind == "lock":  # only a run makes one, and never as a link
        assert done.returncode == DATA and "remove it if no run writes" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    for name in written:
        assert (bench.folder / name).is_file() and not (bench.folder / name).is_symlink()
    if kind not in (None, "lock-host-1"):
        assert not [p for p in planted[:3] if p.is_symlink()]


class Watch:
    """The names that files get in a folder, however short they have them."""

    def __init__(self, folder):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.file = self.libc.inotify_init1(os.O_NONBLOCK)
        created, moved_to = 0x100, 0x80
        assert self.libc.inotify_add_watch(self.file, bytes(folder), created | moved_to) >= 0

    def names(self):
        found, data = set(), b""
        while True:
            try:
                data += os.read(self.file, 1 << 20)
            except BlockingIOError:
                break
        while data:
            length, = struct.unpack_from("I", data, 12)
            found.add(data[16:16 + length].rstrip(b"\0").decode())
            data = data[16 + length:]
        os.close(self.file)
        return found


def listed_names():
    """As SECURITY.md has them, for regular expressions."""
    text = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    parts = {"NAME": "(?:%s)" % "|".join(re.escape(name) for name in WRITTEN + ["o.hdf",
             "o_EVN.hdf", "o_ODD.hdf"]), "HOST": ".+", "PID": r"\d+", "NUMBER": "[0-9a-f]{12}",
             "R": r"\d+", "N": r"\d+", "G": "[01]"}
    listed = set(re.findall(r"`(\.NAME\.[^`]+)`", text))
    return {name: "".join(parts.get(part, re.escape(part))
                          for part in re.split(r"(NAME|HOST|PID|NUMBER|\bR\b|\bN\b|\bG\b)", name))
            for name in listed}


def test_all_names_are_listed(bench, tiltrecz):
    """In SECURITY.md, and none is listed that no run uses."""
    (bench.folder / "tmp").mkdir()
    (bench.folder / "z.mrc.gz").write_bytes(
        gzip.compress((bench.folder / "s.mrc").read_bytes()))
    watch, unpacked = Watch(bench.folder), Watch(bench.folder / "tmp")
    how = {"env": {"TMPDIR": str(bench.folder / "tmp")}, "check": True}
    bench.run(f"z.mrc.gz -t s.tlt -T 16 -o o.mrc {ALL}", **how)
    names = watch.names()
    assert not [name for name in names if "prepared" in name]  # it has no name
    assert not unpacked.names()
    watch = Watch(bench.folder)
    bench.run(f"s.mrc -T 16 -o o.hdf {ALL} --deflate 1", ranks=2, cwd=bench.folder)
    bench.run(f"s.mrc -T 16 -o o.hdf {ALL} --deflate 1", cwd=bench.folder)  # the earlier ones
    tiltrecz(*f"s.mrc -a SIRT -i 50 -T 16 -o o.mrc --checkpoint 1e-9".split(), cwd=bench.folder)
    names |= watch.names()
    hidden = {name for name in names if name.startswith(".")}
    assert names - hidden <= {*WRITTEN, "o.hdf", "o_EVN.hdf", "o_ODD.hdf"}
    listed = listed_names()
    used = {entry for entry in listed
            for name in hidden if re.fullmatch(listed[entry], name)}
    unknown = {name for name in hidden
               if not any(re.fullmatch(form, name) for form in listed.values())}
    # Only where a file system, such as NFS, has no files without names.
    assert not unknown and used | {".NAME.lock-HOST-PID"} == set(listed)


# ---- one run at a time ----

def own_lock(**changes):
    """The text of a lock of this process."""
    line = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    fields = {"host": os.uname().nodename,
              "machine": Path("/etc/machine-id").read_text().strip(),
              "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
              "space": os.readlink("/proc/self/ns/pid"), "process": os.getpid(),
              "begun": line[19], "program": "tiltrec-mpi", "since": "2030-01-02 03:04:05"}
    return "".join(f"{name} {value}\n" for name, value in {**fields, **changes}.items())


def dead_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.unsanitized
@pytest.mark.parametrize("more", ["", "--json r.json --report r.html"])
@pytest.mark.parametrize("ranks", [None, 3], ids=["alone", "ranks"])
def test_output_of_another_run(bench, ranks, more):
    bench.text(".o.mrc.lock", own_lock())
    bench.text(".r.json.lock", own_lock())
    said = bench.refused(f"{RUN} o.mrc {more}", DATA, "another run writes o.mrc: process "
                         f"{os.getpid()} on {os.uname().nodename} (tiltrec-mpi, since 2030-01-02 "
                         "03:04:05); wait until it ends, or choose another name", ranks=ranks)
    assert "remove" not in said
    bench.run(f"{RUN} o.mrc --dry-run", ranks=ranks)  # writes nothing


@pytest.mark.unsanitized
@pytest.mark.parametrize("name", WRITTEN)
def test_every_file_has_its_owner(bench, name):
    """The result says why, unless it is another run's; nothing else is written."""
    bench.text(f".{name}.lock", own_lock(process=1, begun=0, host="node7", boot="b",
                                         machine="m"))
    before = bench.contents()
    done = bench.run(f"{RUN} o.mrc {ALL}", check=False)
    assert done.returncode == DATA
    assert f"another run writes {name}: process 1 on node7" in done.stderr
    assert f"machine any more, remove .{name}.lock" in done.stderr
    after = bench.contents()
    assert name == "o.json" or b"another run writes" in after.pop("o.json")[2]
    assert after == before


def test_result_of_a_refused_run(bench):
    """It owns that file for a moment only, which a run that owns the output waits for."""
    bench.text(".r.json.lock", own_lock())
    running = bench.folder / ".r.json.lock"
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(bench.run, f"{RUN} o.mrc --json r.json", check=False)
        wait_until((bench.folder / ".o.mrc.lock").exists, "the first lock")
        time.sleep(0.2)
        running.unlink()
        assert run.result().returncode == 0, run.result().stderr
    assert json.loads((bench.folder / "r.json").read_text())["status"] == "ok"


@pytest.mark.parametrize("whose, passes", [
    (lambda: own_lock(process=dead_process()), True),
    (lambda: own_lock(begun=1234), True),  # the number is of another process now
    (lambda: own_lock(boot="an-earlier-one"), True),
    (lambda: own_lock(boot="another", machine="another"), False),
    (lambda: own_lock(boot="another", host="another"), False),
    (lambda: own_lock(boot="another", machine=""), False),
    (lambda: own_lock(space="pid:[1]"), True),  # a container that has ended
    (lambda: "something else\n", False),
    (lambda: "", False),
], ids=["dead", "another process", "before the machine started", "another machine",
        "another host", "unknown machine", "ended container", "no lock", "empty"])
def test_lock_that_was_left(bench, whose, passes):
    bench.text(".o.mrc.lock", whose())
    if passes:
        bench.run(f"{RUN} o.mrc")
        assert sorted(os.listdir(bench.folder)) == ["o.mrc", "s.mrc", "s.tlt"]
    else:
        bench.refused(f"{RUN} o.mrc", DATA, "remove ", ".o.mrc.lock" if whose() else "it if none")


def test_lock_of_a_container_that_runs(bench):
    """Its process is not seen, but its lock on the file is."""
    bench.text(".o.mrc.lock", own_lock(space="pid:[1]"))
    with open(bench.folder / ".o.mrc.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        bench.refused(f"{RUN} o.mrc", DATA, "another run writes o.mrc")


def start(build_dir, bench, arguments, **how):
    return subprocess.Popen(program_command(build_dir, arguments.split(), how.pop("ranks", None)),
                            cwd=bench.folder, text=True, stderr=subprocess.PIPE,
                            env={**os.environ, **MPI_ENVIRONMENT, **how.pop("env", {})}, **how)


def wait_until(condition, what):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, f"{what} does not happen"
        time.sleep(0.005)


def test_lock_of_a_killed_run(build_dir, bench):
    program = start(build_dir, bench, f"{RUN} o.mrc -a SIRT -i 100000")
    wait_until((bench.folder / ".o.mrc.partial").exists, "an unfinished output")
    assert f"process {program.pid}\n" in (bench.folder / ".o.mrc.lock").read_text()
    done = bench.run(f"{RUN} o.mrc", check=False)
    assert done.returncode == DATA and f"process {program.pid} on " in done.stderr
    program.kill()
    program.communicate(timeout=TIMEOUT)
    assert (bench.folder / ".o.mrc.lock").exists()
    bench.run(f"{RUN} o.mrc")
    assert sorted(os.listdir(bench.folder)) == ["o.mrc", "s.mrc", "s.tlt"]


@pytest.mark.unsanitized
@pytest.mark.parametrize("by", ["unlink", "another file"])
def test_renames_only_what_it_made(build_dir, bench, by):
    """What is not there any more is not promised, what is somebody else's is not touched."""
    partial = bench.folder / ".o.mrc.partial"
    program = start(build_dir, bench, f"{RUN} o.mrc -a SIRT -i 20000 --checkpoint 0.00001")
    wait_until(partial.exists, "an unfinished output")
    time.sleep(0.1)
    partial.unlink()
    if by != "unlink":
        partial.write_text("precious")
    said = program.communicate(timeout=TIMEOUT)[1]
    assert program.returncode == DATA, said
    assert re.search(r"\.o\.mrc\.partial(, to which this run writes,)? is (no longer|not)", said) \
        or "o.mrc.partial was cut short while this run wrote to it" in said, said
    assert "what is done is lost" in said and "is kept" not in said
    assert not (bench.folder / "o.mrc").exists()
    assert not partial.exists() if by == "unlink" else partial.read_text() == "precious"


# ---- what is left ----

@pytest.mark.unsanitized
@pytest.mark.parametrize("output", ["o.mrc", "o[1].mrc", "o?.mrc", "*.mrc"])
@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_what_an_earlier_run_left(bench, request, program, output):
    """By other programs, numbers of processes and types; nothing else, whatever the name."""
    others = [".o1.mrc.partial", ".o.mrc.journal", ".ox.mrc.float", f".{output}.notes",
              f".{output}.checkpoint-x-of-2.0", f".{output}.checkpoint-0-of-2.0.bak", f"{output}x"]
    others = [name for name in others if not name.startswith(f".{output}.j")]
    for name in others + [f".{output}.{kind}" for kind in BESIDE if "lock" not in kind]:
        bench.text(name, "left")
    request.getfixturevalue(program)("-a", "BPT", "-T", 16, "s.mrc", "-o", output,
                                     cwd=bench.folder)
    assert sorted(os.listdir(bench.folder)) == sorted([output, "s.mrc", "s.tlt", *others])


def test_lock_that_was_not_taken(bench):
    """A process can die between making a lock and taking it."""
    bench.text(".o.mrc.lock-host-1", own_lock(process=dead_process()))
    bench.text(".o.mrc.lock-host-2", own_lock())
    for name in "o_EVN.mrc", "o_ODD.mrc", "o_xy.png":  # of one that was killed
        bench.text(f".{name}.lock", own_lock(process=dead_process()))
    bench.run(f"{RUN} o.mrc")
    assert sorted(os.listdir(bench.folder)) == [".o.mrc.lock-host-2", "o.mrc", "s.mrc", "s.tlt"]


def test_half_sets_of_an_earlier_run(bench):
    bench.text(".o_EVN.mrc.partial", "left")
    bench.text(".o_EVN.mrc.journal", "left")
    said = bench.run(f"{RUN} o.mrc").stderr
    assert ".o_EVN.mrc." in said and "and 1 more files of o_EVN.mrc" in said
    assert "o_ODD.mrc" not in said and (bench.folder / ".o_EVN.mrc.partial").exists()
    bench.text(".o_EVN.mrc.lock", own_lock())  # a run of its own, which uses them
    assert "o_EVN.mrc" not in bench.run(f"{RUN} o.mrc").stderr


def test_resume_with_brackets_in_the_name(build_dir, bench, tiltrecz):
    """A checkpoint of another number of processes is found, and said."""
    output = "t[1].mrc"
    program = start(build_dir, bench, f"-a SIRT -i 100000 -T 16 s.mrc -o {output}", ranks=2)
    program.kill()
    program.communicate()
    bench.text(f".{output}.checkpoint-1-of-2.0", "left")
    done = tiltrecz(*f"-a SIRT -i 2 -T 16 s.mrc -o {output} --resume".split(), cwd=bench.folder,
                    check=False)
    assert done.returncode == USAGE
    assert f".{output}.checkpoint-1-of-2.0 is of a run with 2 processes" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_unpacked_files_have_no_name(build_dir, bench, number):
    """At no time, so that no signal can leave one."""
    data = np.random.default_rng(1).normal(10, 1, (VIEWS, 64 * ROWS, 16 * COLUMNS))
    with h5py.File(bench.folder / "h.h5", "w") as file:
        file["exchange/data"] = data.astype(np.float32)
        file["exchange/theta"] = np.linspace(-60, 60, VIEWS)
    (bench.folder / "h.h5.gz").write_bytes(
        gzip.compress((bench.folder / "h.h5").read_bytes(), 1))
    folder = bench.folder / "tmp"
    folder.mkdir()
    arguments = "-a SIRT -i 1000 -T 16 h.h5.gz -o o.mrc"
    seen, running = set(), start(build_dir, bench, arguments, env={"TMPDIR": str(folder)})
    while running.poll() is None and not (bench.folder / ".o.mrc.partial").exists():
        seen.update(os.listdir(folder))
    running.send_signal(number)
    said = running.communicate(timeout=TIMEOUT)[1]
    assert running.returncode == -number, said
    assert not seen and not os.listdir(folder)


def test_unpacked_hdf5_is_read_as_it_is(bench):
    with h5py.File(bench.folder / "h.h5", "w") as file:
        file["exchange/data"] = bench.data
        file["exchange/theta"] = np.linspace(-60, 60, VIEWS)
    (bench.folder / "g.h5.gz").write_bytes(gzip.compress((bench.folder / "h.h5").read_bytes()))
    for name in "h.h5", "g.h5.gz":
        bench.run(f"-a SIRT -i 2 -T 16 {name} -o {name[0]}.mrc")
    assert np.array_equal(read_mrc(bench.folder / "h.mrc"), read_mrc(bench.folder / "g.mrc"))
