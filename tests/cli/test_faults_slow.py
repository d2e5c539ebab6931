"""What the programs do when a call fails: memory, files, disks, processes.

A library that is preloaded (tests/faults/shim.c) makes one call after the other fail, the
K-th of a kind in the K-th run. Each run must end by itself with one sentence and a status
that is not 0, leave no file behind and touch neither its inputs nor an earlier output; where
a failure does no harm, the result must be right to the byte.
"""
import gzip
import os
import shutil
import signal
import subprocess
from collections import Counter

import h5py
import mrcfile
import numpy as np
import pytest

from bad_input import on_small_disk
from conftest import MPI_ENVIRONMENT, program_command, write_series

VIEWS, ROWS, COLUMNS = 7, 12, 16
EARLIER = b"of an earlier run"
SOONEST = ["--checkpoint", "1e-9"]  # minutes: everything is kept
COPIES = 30  # of lines of the log
EVERY = int(os.environ.get("TR_FAULTS_EVERY", "1"))  # of so many allocations one fails
SECONDS = 30  # within which every rank has ended


class Place:
    """A folder with a small series in several formats, in which programs run."""

    def __init__(self, folder, build_dir):
        self.folder, self.build_dir = folder / "series", build_dir
        self.log = folder / "log"
        self.library = build_dir / "tests" / "faults" / "libtr_faults.so"
        self.references = {}
        self.folder.mkdir()
        tilts = 20.0 * np.arange(VIEWS) - 60
        data = np.random.default_rng(1).normal(10, 1, (VIEWS, ROWS, COLUMNS))
        series = write_series(self.folder, data, tilts, name="s.mrc")
        # Other angles, to be taken by nobody.
        np.savetxt(self.folder / "s.rawtlt", tilts + 5, "%g")
        np.savetxt(self.folder / "x.xtilt", np.arange(VIEWS) - 3)
        for name in "z.mrc.gz", "h.hdf":
            shutil.copy(self.folder / "s.tlt", self.folder / name[:1]).rename(
                self.folder / f"{name[:1]}.tlt")
        with gzip.open(self.folder / "z.mrc.gz", "wb") as file:
            file.write(series.read_bytes())
        with h5py.File(self.folder / "h.hdf", "w") as file:
            file["MDF/images/0/image"] = data.astype(np.float32)
        self.inputs = self.contents()

    def contents(self):
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def left(self):
        """What is there beside the inputs."""
        return {name: data for name, data in self.contents().items()
                if name not in self.inputs}

    def clear(self):
        for name in self.left():
            (self.folder / name).unlink()
        for name, data in self.inputs.items():
            (self.folder / name).write_bytes(data)
        self.log.unlink(missing_ok=True)

    def run(self, program, arguments, fault="", path="", ranks=None, rank=None, env=()):
        """Returns (exit status, or minus the signal; standard error; whether the fault
        happened)."""
        setting = {"TR_FAULT": fault, "TR_FAULT_PATH": path, "TR_FAULT_LOG": str(self.log),
                   "LD_PRELOAD": str(self.library), **dict(env)}
        if rank is not None:
            setting["TR_FAULT_RANK"] = str(rank)
        wrapper = ["env", *(f"{k}={v}" for k, v in setting.items())] if fault else []
        command = program_command(self.build_dir, arguments, ranks, 1, wrapper, program)
        process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True, errors="replace", start_new_session=True,
                                   env={**os.environ, **MPI_ENVIRONMENT})
        try:
            said = process.communicate(timeout=SECONDS)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            pytest.fail(f"{fault}: {' '.join(command)} does not end")
        happened = self.log.exists() and "fault" in self.log.read_text()
        return process.returncode, said, happened

    def reference(self, program, arguments, ranks=None):
        """The files that the run makes when nothing fails."""
        key = (program, ranks, *arguments)
        if key not in self.references:
            self.clear()
            status, said, _ = self.run(program, arguments, ranks=ranks)
            assert status == 0, said
            self.references[key] = self.left()
        return self.references[key]

    def judge(self, program, arguments, said, status, ranks=None, named=(), result=()):
        """Of a run in which something failed; returns "failed" or "harmless"."""
        left = self.left()
        for name, data in self.inputs.items():
            assert (self.folder / name).read_bytes() == data, name
        if status == 0:
            expected = self.reference_without_timeline(program, arguments, ranks)
            assert {n: d for n, d in left.items() if n != "t.json"} == expected, said
            return "harmless"
        errors = [line for line in said.splitlines() if "error: " in line]
        assert 0 < status < 6 and len(errors) == 1, (status, said)
        assert errors[0].startswith(f"{program}: error: "), said
        assert len(errors[0]) > len(f"{program}: error: ") + 10, said
        assert " = " not in errors[0], said  # values of HDF5's own variables
        assert not named or any(name in errors[0] for name in named), said
        assert left in ({"o.mrc": EARLIER}, {"o.hdf": EARLIER}, *result), (left.keys(), said)
        return "failed"

    def reference_without_timeline(self, program, arguments, ranks):
        saved, log = self.left(), self.log.read_bytes() if self.log.exists() else None
        files = dict(self.reference(program, arguments, ranks))
        self.clear()
        for name, data in saved.items():
            (self.folder / name).write_bytes(data)
        if log is not None:
            self.log.write_bytes(log)
        files.pop("t.json", None)
        return files

    def sweep(self, program, arguments, op, what, path="", onwards=False, step=1, named=(),
              most=1000, ranks=None, rank=None, env=(), result=()):
        """Let the calls fail one by one until a run has not that many. Returns how many runs
        failed, and in how many the failure did no harm."""
        outcomes = Counter()
        output = arguments[arguments.index("-o") + 1] if "-o" in arguments else "s_rec.mrc"
        if op == "alloc":
            step *= EVERY
        for k in range(1, most, step):
            self.clear()
            (self.folder / output).write_bytes(EARLIER)
            fault = f"{op}:{k}{'+' if onwards else ''}:{what}"
            status, said, happened = self.run(program, arguments, fault, path, ranks, rank,
                                              env)
            if not happened:
                assert status == 0, (fault, said)
                break
            print(fault, status, said.strip())
            if what == "shrink":  # by the library
                for name, data in self.inputs.items():
                    (self.folder / name).write_bytes(data)
            outcomes[self.judge(program, arguments, said, status, ranks, named, result)] += 1
        print(program, *arguments, op, what, path, dict(outcomes))
        return outcomes


@pytest.fixture(scope="module")
def place(tmp_path_factory, build_dir, sanitized):
    if sanitized:
        pytest.skip("the sanitizers replace the same calls")
    made = Place(tmp_path_factory.mktemp("faults"), build_dir)
    if not made.library.exists():
        pytest.skip(f"no {made.library} was built")
    return made


SLICES, VOLUME = "tiltrec-mpi", "tiltrecz-mpi"
COUPLED = ["--pitch", "4", "--xtilts", "x.xtilt"]
PLAIN = ["s.mrc", "-T", "16", "--quiet", "-o", "o.mrc"]
HDF = ["s.mrc", "-T", "16", "--quiet", "-o", "o.hdf"]


# ---- memory ----

@pytest.mark.parametrize("onwards", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("program, arguments", [
    (SLICES, PLAIN),
    (SLICES, [*PLAIN, "-a", "SIRT", "-i", "2", "--bin", "2", "--mode", "byte"]),
    (SLICES, [*HDF, "--pitch", "4", "--order", "xyz"]),
    (VOLUME, [*PLAIN, "-a", "CGLS", "-i", "2", "--pitch", "4"]),
    (VOLUME, [*PLAIN, "-a", "ADMM", "-i", "2", *COUPLED, "--positive"])],
    ids=["WBP", "SIRT", "hdf", "CGLS", "ADMM"])
def test_memory(place, program, arguments, onwards):
    """Every allocation (or of so many one) of the program, not those of the libraries of MPI and HDF5. Harmless
    are the copies of what is printed, for --json, which says how many it lacks."""
    outcomes = place.sweep(program, arguments, "alloc", "ENOMEM", onwards=onwards)
    assert outcomes["failed"] > 80 // EVERY and outcomes["harmless"] <= COPIES


def test_memory_for_what_is_found_in_the_folder(place, tmp_path):
    """The series, its angles and tilt.com are all found or the run ends."""
    own = Place(tmp_path, place.build_dir)
    for name in "z.mrc.gz", "h.hdf":
        (own.folder / name).unlink()
    (own.folder / "tilt.com").write_text(
        "$tilt\nInputProjections s.mrc\nTHICKNESS 16\nOFFSET 3\nTILTFILE s.tlt\n")
    own.inputs = own.contents()
    outcomes = own.sweep(SLICES, ["--quiet", "-o", "o.mrc"], "alloc", "ENOMEM")
    assert outcomes["failed"] > 100 // EVERY and outcomes["harmless"] <= COPIES


def test_memory_for_the_timeline(place):
    """It is written last, when the tomogram is there: that stays."""
    arguments = [*PLAIN, "--timeline", "t.json"]
    files = dict(place.reference(SLICES, arguments))
    files.pop("t.json")
    outcomes = place.sweep(SLICES, arguments, "alloc", "ENOMEM", result=[files])
    assert outcomes["failed"] > 80 // EVERY


# ---- files ----

OUTPUTS = {
    "mrc": PLAIN, "hdf": HDF, "byte": [*PLAIN, "--mode", "byte", "-a", "SIRT", "-i", "2"],
    "packed": [*HDF, "--deflate", "3"], "binned": [*PLAIN, "--bin", "2"],
    "xyz": [*PLAIN, "--order", "xyz"],
    "kept": [*PLAIN, *SOONEST]}  # see test_going_on


@pytest.mark.parametrize("op, what", [
    ("write", "ENOSPC"), ("write", "EIO"), ("read", "EIO"), ("truncate", "ENOSPC"),
    ("rename", "EACCES"), ("close", "EIO"), ("open", "EACCES"), ("sync", "EIO")])
@pytest.mark.parametrize("output", [n for n in OUTPUTS if n != "kept"])
def test_output(place, output, op, what):
    arguments = OUTPUTS[output]
    name = arguments[arguments.index("-o") + 1]
    outcomes = place.sweep(SLICES, arguments, op, what, name,
                           named=[name, "the binned series"])
    if op in ("write", "truncate", "rename"):
        assert outcomes["failed"] and not outcomes["harmless"]


@pytest.mark.parametrize("output", [n for n in OUTPUTS if n != "kept"])
def test_disk_that_stays_full(place, output):
    arguments = OUTPUTS[output]
    name = arguments[arguments.index("-o") + 1]
    outcomes = place.sweep(SLICES, arguments, "write", "ENOSPC", name, onwards=True,
                           named=[name, "the binned series"])
    assert outcomes["failed"] > 10 and not outcomes["harmless"]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("op", ["read", "write"])
def test_short_transfers(place, output, op):
    """A call may read or write less than it was asked to: then the rest is asked for."""
    arguments = OUTPUTS[output]
    expected = place.reference(SLICES, arguments)
    place.clear()
    for path in "o.", "s.":
        place.clear()
        status, said, _ = place.run(SLICES, arguments, f"{op}:1+:short", path)
        assert status == 0, said
        assert place.left() == expected


@pytest.mark.parametrize("series", ["s.mrc", "h.hdf", "z.mrc.gz"])
@pytest.mark.parametrize("op, what", [("read", "EIO"), ("read", "shrink"),
                                      ("open", "EMFILE"), ("read", "short")])
def test_series(place, series, op, what):
    arguments = [series, *PLAIN[1:]]
    if what == "short":
        expected = place.reference(SLICES, arguments)
        place.clear()
        status, said, happened = place.run(SLICES, arguments, "read:1+:short", series)
        assert happened and status == 0, said
        assert place.left() == expected
        return
    outcomes = place.sweep(SLICES, arguments, op, what, series, named=[series])
    assert outcomes["failed"]
    if series == "s.mrc":
        assert not outcomes["harmless"]


@pytest.mark.parametrize("op, what", [("read", "EIO"), ("read", "shrink"),
                                      ("open", "EACCES")])
def test_angles(place, op, what):
    outcomes = place.sweep(SLICES, PLAIN, op, what, "s.tlt", named=["s.tlt"])
    assert outcomes["failed"]


@pytest.mark.parametrize("op, what", [("write", "ENOSPC"), ("close", "EIO"),
                                      ("open", "EACCES")])
def test_timeline(place, op, what):
    arguments = [*PLAIN, "--timeline", "t.json"]
    files = dict(place.reference(SLICES, arguments))
    files.pop("t.json")
    outcomes = place.sweep(SLICES, arguments, op, what, "t.json", step=7, named=["t.json"],
                           result=[files])
    assert outcomes["failed"] and not outcomes["harmless"]


# ---- a disk that changes what it is given ----

def meaning(path):
    """What another program finds in a tomogram, by mrcfile or h5py."""
    if path.suffix == ".mrc":
        with mrcfile.open(path) as file:
            h = file.header
            return (np.array(file.data), file.voxel_size.tolist(), h.origin.tolist(),
                    file.get_labels(), [float(h[n]) for n in ("dmin", "dmax", "dmean", "rms")])
    with h5py.File(path) as file:
        group = file["MDF/images/0"]
        return group["image"][...], {n: np.array(v) for n, v in group.attrs.items()}


def same_meaning(path, expected):
    try:
        np.testing.assert_equal(meaning(path), expected)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("program, output, ranks", [
    *((SLICES, name, None) for name in ("mrc", "byte", "packed", "xyz", "kept", "half")),
    (VOLUME, "hdf xyz packed byte", None), (VOLUME, "hdf", None),
    (SLICES, "byte", 2), (VOLUME, "hdf xyz packed byte", 2)])
def test_verify(place, tmp_path, program, output, ranks):
    """With --verify, no flipped bit gets through to a file that has its name."""
    arguments = {"half": [*PLAIN, "--mode", "half"],
                 "hdf xyz packed byte": [*HDF, "--order", "xyz", "--deflate", "1", "--mode",
                                         "byte"], **OUTPUTS}[output]
    name = arguments[arguments.index("-o") + 1]
    (tmp_path / name).write_bytes(place.reference(program, arguments)[name])
    expected = meaning(tmp_path / name)
    outcomes, through = Counter(), 0
    for k in range(1, 200, 3):
        place.clear()
        (place.folder / name).write_bytes(EARLIER)
        how = [f"write:{k}:flip", f"{name}.", ranks, None if ranks is None else 0]
        status, said, happened = place.run(program, [*arguments, "--verify"], *how)
        if not happened:
            assert status == 0 and same_meaning(place.folder / name, expected)
            break
        if status == 0:
            assert same_meaning(place.folder / name, expected), k
            assert place.left().keys() == {name}
            outcomes["harmless"] += 1
            continue
        errors = [line for line in said.splitlines() if "error: " in line]
        assert len(errors) == 1 and name in errors[0], said
        assert place.left() == {name: EARLIER}, (k, place.left().keys())
        outcomes["found"] += 1
        if through == 0 and ranks is None:  # the same without --verify
            place.clear()
            status, said, _ = place.run(program, arguments, *how)
            through += status == 0 and not same_meaning(place.folder / name, expected)
    print(program, output, ranks, dict(outcomes))
    assert outcomes["found"] >= 3
    assert through or ranks


def test_verify_after_going_on(place):
    """Checksums of slices that a run before wrote are in its journal; one without --verify
    took none, and that is said."""
    arguments = OUTPUTS["kept"]
    for before, after in ([], ["--verify"]), (["--verify"], ["--verify"]):
        place.clear()
        status, said, happened = place.run(SLICES, [*arguments, *before], "rename:1:EACCES",
                                           "o.mrc")
        assert happened and status == 1 and ".o.mrc.partial" in place.left(), said
        status, said, _ = place.run(SLICES, [*arguments, *after, "--resume"])
        assert status == 0
        assert ("there are no checksums" in said) == (not before), said
    place.clear()
    place.run(SLICES, [*arguments, "--verify"], "rename:1:EACCES", "o.mrc")
    partial = place.folder / ".o.mrc.partial"
    data = bytearray(partial.read_bytes())
    data[2000] ^= 1
    partial.write_bytes(data)
    status, said, _ = place.run(SLICES, [*arguments, "--verify", "--resume"])
    assert status == 1 and "1 of 12 slices, the first of them 0 (from 0)" in said, said
    assert not place.left()


@pytest.mark.parametrize("ranks", [None, 2])
def test_three_names_or_none(place, ranks):
    """Half sets: a name that cannot be given takes back those that were, and what had them
    before has them again; what is done is kept, and --resume has only the names to give."""
    arguments = [*PLAIN, *SOONEST, "--half-sets", "views"]
    arguments.remove("--quiet")
    names = ["o.mrc", "o_EVN.mrc", "o_ODD.mrc"]
    expected = place.reference(SLICES, arguments)
    assert sorted(expected) == sorted(names)
    earlier = {"o.mrc": EARLIER, "o_ODD.mrc": EARLIER + b"too"}  # and no even one
    for name in names:
        place.clear()
        for path, data in earlier.items():
            (place.folder / path).write_bytes(data)
        status, said, happened = place.run(SLICES, arguments, "rename:1:EACCES",
                                           f".{name}.partial", ranks=ranks)
        assert happened and status == 1 and f"cannot be renamed to {name}" in said, said
        left = place.left()
        assert {n: d for n, d in left.items() if not n.startswith(".")} == earlier
        assert {f".{n}.{kind}" for n in names for kind in ("partial", "journal")} == {
            n for n in left if n.startswith(".")}
        status, said, _ = place.run(SLICES, [*arguments, "--resume"], ranks=ranks)
        assert status == 0 and said.count("going on after all slices of") == 3, said
        assert place.left() == expected


# ---- going on ----

WORK = {
    "slices": (SLICES, [*PLAIN, "-a", "SIRT", "-i", "2", *SOONEST]),
    "volume": (VOLUME, [*PLAIN, "-a", "SIRT", "-i", "4", *SOONEST]),
    "ADMM": (VOLUME, [*PLAIN, "-a", "ADMM", "-i", "3", *SOONEST])}


@pytest.mark.parametrize("op, what, path", [
    ("write", "ENOSPC", "o.mrc"), ("sync", "EIO", "o.mrc"), ("rename", "EACCES", "o.mrc"),
    ("flush", "ENOSPC", "o.mrc"), ("close", "EIO", "o.mrc"), ("read", "EIO", "s.mrc"),
    ("write", "KILL", "o.mrc"), ("read", "KILL", "s.mrc"), ("rename", "KILL", "o.mrc"),
    ("sync", "KILL", "o.mrc"), ("write", "TERM", "o.mrc"), ("read", "TERM", "s.mrc"),
    ("rename", "TERM", "o.mrc"), ("tick", "TERM", ""), ("tick", "KILL", "")])
@pytest.mark.parametrize("work", WORK)
def test_going_on(place, work, op, what, path):
    """After any of it, --resume gives what an undisturbed run would have."""
    program, arguments = WORK[work]
    expected = place.reference(program, arguments)["o.mrc"]
    outcomes = Counter()
    for k in range(1, 200, 1 if op != "tick" else 3):
        place.clear()
        (place.folder / "o.mrc").write_bytes(EARLIER)
        fault = f"{op}:{k}:{what}"
        status, said, happened = place.run(program, arguments, fault, path)
        if not happened:
            break
        print(fault, status, said.strip())
        left = place.left()
        if left["o.mrc"] == expected:
            assert status in (0, -signal.SIGKILL, -signal.SIGTERM) or left.keys() == {"o.mrc"}
            outcomes["complete"] += 1
        else:
            assert left["o.mrc"] == EARLIER and status != 0, (status, said)
            if what not in ("KILL", "TERM"):
                assert sum("error: " in line for line in said.splitlines()) == 1, said
                assert 0 < status < 6, (status, said)
            outcomes["kept" if len(left) > 1 else "nothing kept"] += 1
        status, said, _ = place.run(program, [*arguments, "--resume"])
        assert status == 0, (fault, said)
        assert place.left() == {"o.mrc": expected}, (fault, said)
    print(work, op, what, path, dict(outcomes))


@pytest.mark.parametrize("program, op, step", [
    (SLICES, "rename", 1), (VOLUME, "rename", 2), (VOLUME, "sync", 7)])
def test_half_sets_go_on(place, program, op, step):
    """A process killed at any step, also between two of the three names."""
    arguments = [*PLAIN, "-a", "SIRT", "-i", "2", *SOONEST, "--half-sets", "views"]
    expected = place.reference(program, arguments)
    assert sorted(expected) == ["o.mrc", "o_EVN.mrc", "o_ODD.mrc"]
    outcomes = Counter()
    for k in range(1, 200, step):
        place.clear()
        status, said, happened = place.run(program, arguments, f"{op}:{k}:KILL", ".mrc")
        if not happened:
            break
        assert status == -signal.SIGKILL, said
        outcomes[sum(name in expected for name in place.left())] += 1
        status, said, _ = place.run(program, [*arguments, "--resume"])
        assert status == 0, (k, said)
        assert place.left() == expected, (k, place.left().keys(), said)
    print(program, op, dict(outcomes))
    assert outcomes[0] and (op != "rename" or step > 1 or outcomes[1] and outcomes[2])


# ---- several processes ----

@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("program, more", [
    (SLICES, ["-a", "SIRT", "-i", "2", "--mode", "byte"]),
    (VOLUME, ["-a", "CGLS", "-i", "3", "--pitch", "4"]),
    (VOLUME, ["-a", "CGLS", "-i", "3", *COUPLED])], ids=["slices", "pitched", "volume"])
@pytest.mark.parametrize("op, path, calls", [
    ("open", "s.mrc", [1]), ("read", "s.mrc", [1, 3, 6]), ("tick", "", [1, 6, 12, 16]),
    ("mpi", "", [1, 4, 9, 12]), ("write", "o.mrc", [1, 3, 7]), ("rename", "o.mrc", [1])])
def test_killed_rank(place, program, more, op, path, calls, rank):
    """The others end, and the next run is not disturbed by what is left."""
    arguments = [*PLAIN, *more]
    expected = place.reference(program, arguments, ranks=2)
    for k in calls:
        place.clear()
        (place.folder / "o.mrc").write_bytes(EARLIER)
        status, said, happened = place.run(program, arguments, f"{op}:{k}:KILL", path,
                                           ranks=2, rank=rank)
        print(op, k, happened, status, said.strip()[-200:])
        assert (status != 0) == happened, said
        if happened:
            assert (place.folder / "o.mrc").read_bytes() == EARLIER
            assert place.run(program, arguments, ranks=2)[0] == 0
        assert place.left() == expected


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("program, more, step", [
    (SLICES, ["-a", "SIRT", "-i", "2", "--mode", "byte"], 1),
    (VOLUME, ["-a", "CGLS", "-i", "2", "--pitch", "4"], 1),
    (VOLUME, ["-a", "CGLS", "-i", "2", *COUPLED], 3)], ids=["slices", "pitched", "volume"])
def test_memory_of_one_rank(place, program, more, step, rank):
    """The others neither wait for it nor speak too."""
    outcomes = place.sweep(program, [*PLAIN, *more], "alloc", "ENOMEM", ranks=2, rank=rank,
                           step=step)
    assert outcomes["failed"] > 30 // EVERY


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("op, what, path", [("write", "ENOSPC", "o.mrc"),
                                            ("read", "EIO", "s.mrc")])
@pytest.mark.parametrize("program", [SLICES, VOLUME])
def test_files_of_one_rank(place, program, op, what, path, rank):
    place.sweep(program, [*PLAIN, "-a", "SIRT", "-i", "2"], op, what, path, named=[path],
                ranks=2, rank=rank)


# ---- a real disk ----

@pytest.mark.parametrize("program, arguments", [
    (SLICES, ["s.mrc", "-T", "16", "-o", "out/o.mrc"]),
    (SLICES, ["s.mrc", "-T", "16", "-o", "out/o.mrc", "--mode", "byte"]),
    (SLICES, ["s.mrc", "-T", "16", "-o", "out/o.mrc", "--bin", "2", "--timeline",
              "out/t.json"]),
    (SLICES, ["s.mrc", "-T", "16", "-o", "out/o.hdf", "--deflate", "1"]),
    (VOLUME, ["s.mrc", "-T", "16", "-o", "out/o.mrc", "-a", "ADMM", "-i", "3", *SOONEST])])
def test_disks_of_all_sizes(place, tmp_path, program, arguments):
    """Each a few pages larger than the one before, until one is large enough."""
    out, saved = place.folder / "out", tmp_path / "saved"
    place.clear()
    failed = 0
    try:
        out.mkdir()
        for pages in range(1, 150, 3 if program == VOLUME else 1):
            shutil.rmtree(saved, ignore_errors=True)
            mount = on_small_disk(f"size={4 * pages}k", out)
            keep = f'"$@"; s=$?; cp -r out "{saved}"; exit $s'
            done = subprocess.run(
                [*mount, "sh", "-c", keep, "sh",
                 *program_command(place.build_dir, arguments, program=program)],
                cwd=place.folder, env={**os.environ, **MPI_ENVIRONMENT},
                capture_output=True, text=True, timeout=SECONDS)
            names = sorted(path.name for path in saved.iterdir())
            if done.returncode == 0:
                break
            errors = [line for line in done.stderr.splitlines() if "error: " in line]
            print(pages, done.returncode, errors, names)
            assert done.returncode == 1 and len(errors) == 1, done.stderr
            assert "out/" in errors[0], errors
            kept = [n for n in names if n not in ("o.mrc", "o.hdf")]
            assert not [n for n in kept if "checkpoint" not in n], (names, done.stderr)
            assert "t.json" in errors[0] or kept == names, (names, done.stderr)
            failed += 1
        assert done.returncode == 0 and failed > 1
    finally:
        out.rmdir()
        (place.folder.parent.parent / "left").unlink(missing_ok=True)
