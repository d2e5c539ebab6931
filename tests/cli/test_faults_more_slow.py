"""What the programs do when a call fails: disks that flip bits, going on afterwards, several
processes, full disks; see faults.py."""
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
from conftest import MPI_ENVIRONMENT, program_command
from faults import (  # noqa: F401: a fixture
    COUPLED, EARLIER, EVERY, HDF, OUTPUTS, PLAIN, SECONDS, SLICES, SOONEST, VOLUME, place,
    sampled)


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


@pytest.mark.parametrize("before", [[], ["--verify"]], ids=["plain", "verified"])
def test_verify_after_going_on(place, before):
    """Checksums of slices that a run before wrote are in its journal, and --resume compares
    what it finds with them before it goes on."""
    arguments = OUTPUTS["kept"]
    expected = place.reference(SLICES, arguments)
    for damaged in False, True:
        place.clear()
        status, said, happened = place.run(SLICES, [*arguments, *before], "rename:1:EACCES",
                                           "o.mrc")
        assert happened and status == 1 and ".o.mrc.partial" in place.left(), said
        if damaged:
            partial = place.folder / ".o.mrc.partial"
            data = bytearray(partial.read_bytes())
            data[2000] ^= 1
            partial.write_bytes(data)
        status, said, _ = place.run(SLICES, [*arguments, "--verify", "--resume"])
        assert status == 0, said
        assert ("1 of the 12 slices that an earlier run wrote, the first of them 0 (from 0)"
                in said) == damaged, said
        assert place.left() == expected


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
    for k in sampled(200, 1 if op != "tick" else 3 if EVERY == 1 else 11):
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
    for k in calls if EVERY == 1 else calls[rank::2] or calls:
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
        for pages in range(1, 150, 3 if program == VOLUME or EVERY > 1 else 1):
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
            assert "out/" in errors[0] or "the prepared series" in errors[0], errors
            kept = [n for n in names if n not in ("o.mrc", "o.hdf")]
            assert not [n for n in kept if "checkpoint" not in n], (names, done.stderr)
            assert "t.json" in errors[0] or kept == names, (names, done.stderr)
            failed += 1
        assert done.returncode == 0 and failed > 1
    finally:
        out.rmdir()
        (place.folder.parent.parent / "left").unlink(missing_ok=True)
