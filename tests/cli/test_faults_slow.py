"""What the programs do when a call fails: memory and files; see faults.py."""
import pytest

from faults import (  # noqa: F401: a fixture
    COPIES, COUPLED, EVERY, HDF, OUTPUTS, PLAIN, SLICES, VOLUME, Place, place)


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
    """Every allocation (or of so many one) of the program, not those of the libraries of MPI
    and HDF5. Harmless are the copies of what is printed, for --json, which says how many it
    lacks."""
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

@pytest.mark.parametrize("op, what", [
    ("write", "ENOSPC"), ("write", "EIO"), ("read", "EIO"), ("truncate", "ENOSPC"),
    ("rename", "EACCES"), ("close", "EIO"), ("open", "EACCES"), ("sync", "EIO")])
@pytest.mark.parametrize("output", [n for n in OUTPUTS if n != "kept"])
def test_output(place, output, op, what):
    arguments = OUTPUTS[output]
    name = arguments[arguments.index("-o") + 1]
    outcomes = place.sweep(SLICES, arguments, op, what, name,
                           named=[name, "the prepared series"])
    if op in ("write", "truncate", "rename"):
        assert outcomes["failed"] and not outcomes["harmless"]


@pytest.mark.parametrize("output", [n for n in OUTPUTS if n != "kept"])
def test_disk_that_stays_full(place, output):
    arguments = OUTPUTS[output]
    name = arguments[arguments.index("-o") + 1]
    outcomes = place.sweep(SLICES, arguments, "write", "ENOSPC", name, onwards=True,
                           named=[name, "the prepared series"])
    # of a series that is binned, the prepared views are in a file without a name
    fewest = 3 if EVERY > 1 else 7 if output == "binned" else 10
    assert outcomes["failed"] > fewest and not outcomes["harmless"]


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
    outcomes = place.sweep(SLICES, PLAIN, op, what, "s.tlt", named=["s.tlt"], every=1)
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
