"""Every real angle, transform, mdoc and command file is read as an independent reading in
Python has it, or refused with the right sentence."""
import math
import re
import subprocess

import numpy as np
import pytest

# Each file of the shared folder `sidecars`, with what it is.
ANGLES = {
    "cryoet_alignment/tilt_1.tlt": 59,
    "cryoet_alignment/tilt_1.xtilt": 59,
    "imod_BB/BBb.tlt": 61,
    "imod_BB/BBb.xtilt": 61,
    "imod_BB/BBb.zfac": 61,  # a table as any other: column 1
    "mdoc/L4_ts_03_sort.tlt": 41,
    "multi_column/test_angles.rawtlt": 35,
    "multi_column/test_angles_multi_column.rawtlt": 35,
}
TRANSFORMS = {
    "cryoet_alignment/tilt_1.xf": 59,
    "imod_BB/BBb.tltxf": 61,
    "imod_BB/BBb.xf": 61,
}
MDOCS = {
    "mdoc/L4_ts_03_sort.mrc.mdoc": dict(views=41, pixel=1.64, axis=math.nan),
    "mdoc/frame_set_single.mdoc": dict(views=1, pixel=1.2827, axis=math.nan),
    "mdoc/tilt_series.mdoc": dict(views=41, pixel=5.4, axis=85.3),
}
COMS = {
    "cryoet_alignment/tilt.com": None,
    "imod_BB/tilt-002.com": None,
    "imod_BB/tilt.com": None,
    "imod_BB/tilta.com": None,
    "imod_BB/tiltb.com": None,
}
# Not for us: how each is asked for, and what the refusal says.
REFUSED = {
    "cryoet_alignment/TiltSeries_Metrics.csv": (
        ["angles", 3], 'line 1: "Tilt_Series" is not a number'),
    "cryoet_alignment/newst.com": (["com"], "has no tilt command"),
    # A part of a file, whose dark views have no section.
    "cryoet_alignment/test.aln": (
        ["alignment", 2032, 2032, 90],
        "counted from 0 or from 1: it lists 4 aligned and 4 dark views of 90"),
    "cryoet_alignment/test_CTF.txt": (
        ["angles", 4],
        "has 3 rows of 7 columns (21 numbers), but the series has 4 views"),
    "imod_BB/BBblocal.xf": (["xf", 357], "line 1: a transform needs 6 numbers, not 9"),
    "mdoc/LICENSE": (["angles", 3], 'line 1: "Copyright" is not a number'),
}


@pytest.fixture(scope="session")
def sidecars(shared_data):
    folder = shared_data / "sidecars"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def read(build_dir):
    def run(kind, path, *count, refused=False):
        done = subprocess.run(
            [build_dir / "tests" / "anglesinfo", kind, path, *map(str, count)],
            text=True, capture_output=True, timeout=60)
        said = done.stdout + done.stderr
        assert "Sanitizer" not in said and "runtime error:" not in said, said
        assert done.returncode == (1 if refused else 0), said
        return done.stderr if refused else done.stdout
    return run


def read_rows(text):
    return np.array([[float(word) for word in line.split()]
                     for line in text.splitlines()])


def test_no_file_forgotten(sidecars):
    found = {str(file.relative_to(sidecars)) for file in sidecars.rglob("*")
             if file.is_file()}
    assert found == {*ANGLES, *TRANSFORMS, *MDOCS, *COMS, *REFUSED}


@pytest.mark.parametrize("name", ANGLES)
def test_angles(read, sidecars, name):
    path, n_views = sidecars / name, ANGLES[name]
    expected = np.loadtxt(path, ndmin=2)
    assert len(expected) == n_views
    assert np.array_equal(read_rows(read("angles", path, n_views))[:, 0], expected[:, 0])
    refusal = read("angles", path, n_views + 1, refused=True)
    rows = f"{n_views} angles" if expected.shape[1] == 1 else f"{n_views} rows of 2 columns"
    assert re.search(rf"{re.escape(str(path))} has {rows}.* {n_views + 1} views", refusal)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(read, sidecars, name):
    path, n_views = sidecars / name, TRANSFORMS[name]
    expected = np.loadtxt(path)
    assert expected.shape == (n_views, 6)
    assert np.array_equal(read_rows(read("xf", path, n_views)), expected)
    refusal = read("xf", path, n_views - 1, refused=True)
    assert f"has {n_views} transforms, but the series has {n_views - 1} views" in refusal


@pytest.mark.parametrize("name", MDOCS)
def test_mdoc(read, sidecars, name):
    path, expected = sidecars / name, MDOCS[name]
    sections = re.split(r"^\[(?:ZValue|FrameSet) = (\d+)\]$", path.read_text(),
                        flags=re.M)[1:]
    views = sorted(zip(map(int, sections[::2]), sections[1::2]))
    assert len(views) == expected["views"]

    def column(key):
        values = [re.search(rf"^{key} = (\S+)$", text, flags=re.M) for _, text in views]
        return [float(value[1]) if value else math.nan for value in values]

    lines = read("mdoc", path).splitlines()
    assert float(lines[0].removeprefix("pixel ")) == expected["pixel"]
    axis = float(lines[1].removeprefix("axis "))
    assert axis == expected["axis"] or math.isnan(axis) and math.isnan(expected["axis"])
    rows = read_rows("\n".join(line.removeprefix("view ") for line in lines[2:]))
    wanted = np.column_stack([column("TiltAngle"), column("ExposureDose"),
                              column("PriorRecordDose")])
    assert not np.isnan(wanted[:, :2]).any()
    assert np.array_equal(rows, wanted, equal_nan=True)

    angles = read("angles", path, len(views))
    assert np.array_equal(read_rows(angles)[:, 0], wanted[:, 0])
    assert "but the series has 100" in read("angles", path, 100, refused=True)


def test_mdoc_agrees_with_tlt(read, sidecars):
    mdoc = read("angles", sidecars / "mdoc/L4_ts_03_sort.mrc.mdoc", 41)
    assert np.array_equal(read_rows(mdoc)[:, 0],
                          np.loadtxt(sidecars / "mdoc/L4_ts_03_sort.tlt"))


NUMBERS = {"THICKNESS": "thickness", "XAXISTILT": "xaxistilt", "MODE": "mode",
           "LOG": "log", "IMAGEBINNED": "binning", "SCALE": "scale", "SHIFT": "shift",
           "FULLIMAGE": "full_image", "SUBSETSTART": "subset_start", "SLICE": "slice"}
PATHS = {"InputProjections": "input", "OutputFile": "output", "TILTFILE": "tilt_file",
         "XTILTFILE": "xtilt_file", "LOCALFILE": "local_file", "ZFACTORFILE": "zfactor_file"}


@pytest.mark.parametrize("name", COMS)
def test_com(read, sidecars, name):
    path = sidecars / name
    block = path.read_text().split("$tilt -StandardInput\n")[1].split("$")[0]
    entries = dict((line.split(None, 1) + [""])[:2] for line in block.splitlines()
                   if not line.startswith("#"))
    found = dict((line.split(None, 1) + [""])[:2]
                 for line in read("com", path).splitlines())

    for key, ours in PATHS.items():
        assert found.pop(ours, None) == (
            str(path.parent / entries[key]) if key in entries else None)
    for key, ours in NUMBERS.items():
        assert (ours in found) == (key in entries)
        if key in entries:
            assert (list(map(float, found.pop(ours).split()))
                    == list(map(float, entries[key].split())))
    assert found.pop("offset").split() == [str(int(float(entries["OFFSET"]))), "0"]
    cutoff, sigma = map(float, entries["RADIAL"].split())
    if "FalloffIsTrueSigma" not in entries:
        sigma /= math.sqrt(2)
    assert np.allclose(list(map(float, found.pop("radial").split())), [cutoff, sigma],
                       rtol=1e-15, atol=0)
    assert found.pop("exclude", None) == entries.get("EXCLUDELIST")
    assert found.pop("not_honoured", None) == COMS[name]
    assert not found


@pytest.mark.parametrize("name", REFUSED)
def test_refused(read, sidecars, name):
    (kind, *count), sentence = REFUSED[name]
    refusal = read(kind, sidecars / name, *count, refused=True)
    assert refusal.startswith(str(sidecars / name)) and sentence in refusal
