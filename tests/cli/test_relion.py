"""RELION's STAR files in the place of the series: each view's image by its name, angles,
alignment, exposures and halves by the same rows; and RELION 4's projection matrices. What
is right is taken from RELION's formulas (tomogram.cpp): a voxel p of the bin-1 tomogram,
counted from 0, is seen at
    Rz(ZRot) Ry(YTilt) Rx(XTilt) (p - centre) + shift + the image's centre."""
import numpy as np
import pytest
import tifffile

from conftest import correlation, read_mrc, write_mrc
from test_alignment_files import (LABELS, N_U, N_V, PIXEL, SHIFT, TILTS, TURN, relion_views,
                                  rotation, star, star_rows)
from volume_reference import Blobs

DEEP = 32
JOB = "Tomograms/job010/"
N = len(TILTS)
SINGLE = [f"MotionCorr/job002/frames/TS_01_{k:03d}.mrc" for k in range(N)]
STACK = [f"{k + 1}@stacks/TS_01.mrcs" for k in range(N)]


@pytest.fixture(scope="module")
def blobs():
    return Blobs(N_U - 16, N_V - 16, DEEP, finest=1.5, seed=4)


@pytest.fixture(scope="module")
def truth(blobs):
    volume = np.zeros((DEEP, N_V, N_U))
    volume[:, 8:-8, 8:-8] = blobs.volume().transpose(1, 0, 2)
    return volume


@pytest.fixture(scope="module")
def views(blobs):
    return relion_views(blobs, 0.0)


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def tomograms(names, sizes=(N_U, N_V, DEEP), pixel=PIXEL, more=()):
    """As RELION 5 writes its table of series; the STAR files are in JOB."""
    labels = ["rlnTomoName", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast",
              "rlnTomoHand", "rlnTomoTiltSeriesPixelSize", "rlnTomoTiltSeriesStarFile",
              "rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ"] + [label for label, _ in more]
    rows = [(name, 300.0, 2.7, 0.1, -1.0, pixel, f"{JOB}tilt_series/{name}.star",
             *map(str, sizes), *(value for _, value in more)) for name in names]
    return star(rows, labels, "global")


@pytest.fixture
def project(tmp_path, views):
    """RELION's project folder with the images of a series, one file a view."""
    for name, image in zip(SINGLE, views):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_mrc(tmp_path / name, image, pixel=PIXEL)
    put(tmp_path / JOB / "tilt_series/TS_01.star", star(star_rows(SINGLE)))
    put(tmp_path / JOB / "tilt_series/TS_02.star", star(star_rows(SINGLE)[:-1], block="TS_02"))
    put(tmp_path / JOB / "tomograms.star", tomograms(["TS_01", "TS_02"]))
    return tmp_path


OPTIONS = ["-T", DEEP, "--order", "xyz", "-a", "SIRT", "-i", 15]


def test_a_series_is_its_star_file(project, views, truth, tiltrec):
    """The voxels are those of a stack beside which the file lies; they are where RELION's
    formula has the specimen."""
    stack = write_mrc(project / "TS_01.mrc", views, pixel=PIXEL)
    ts = JOB + "tilt_series/TS_01.star"
    tiltrec(stack, "-t", ts, *OPTIONS, "-o", "stack.mrc", cwd=project, check=True)
    expected = read_mrc(project / "stack.mrc")
    assert correlation(expected, truth, 2) > 0.9
    done = tiltrec(ts, *OPTIONS, cwd=project, check=True)
    assert "aligned while they are read" in done.stderr and "warning" not in done.stderr
    assert np.array_equal(read_mrc(project / "TS_01_rec.mrc"), expected)
    # from elsewhere: paths begin in a folder above the file
    other = project / "elsewhere"
    other.mkdir()
    tiltrec(project / ts, *OPTIONS, "-o", "o.mrc", cwd=other, ranks=2, check=True)
    assert np.array_equal(read_mrc(other / "o.mrc"), expected)


@pytest.mark.parametrize("kind", ["sections", "tiff"])
def test_kinds_of_images(project, views, tiltrec, kind):
    ts = JOB + "tilt_series/TS_01.star"
    tiltrec(ts, *OPTIONS, "-o", "single.mrc", cwd=project, check=True)
    order = np.random.default_rng(3).permutation(N)
    names = STACK
    if kind == "sections":  # rows are views, whichever sections they name
        (project / "stacks").mkdir()
        write_mrc(project / "stacks/TS_01.mrcs", views[order], pixel=PIXEL)
        names = [f"{k + 1}@stacks/TS_01.mrcs" for k in np.argsort(order)]
    else:
        names = [name.replace(".mrc", ".tif") for name in SINGLE]
        for name, image in zip(names, views):  # their first row is on top
            tifffile.imwrite(project / name, image[::-1].astype(np.float32))
    put(project / ts, star(star_rows(names)))
    tiltrec(ts, *OPTIONS, "--pixel", PIXEL, "-o", "o.mrc", cwd=project, check=True)
    assert np.array_equal(read_mrc(project / "o.mrc"), read_mrc(project / "single.mrc"))


def test_a_row_of_tomograms(project, tiltrec):
    """Thickness and pixel are the table's; of several rows one is named."""
    ts = JOB + "tilt_series/TS_01.star"
    tiltrec(ts, *OPTIONS, "-o", "one.mrc", cwd=project, check=True)
    done = tiltrec(JOB + "tomograms.star", "--tomo-name", "TS_01", *OPTIONS[2:], "-o", "o.mrc",
                   cwd=project, check=True)
    assert f"taking {DEEP} pixels, the tomogram's in {JOB}tomograms.star" in done.stderr
    assert np.array_equal(read_mrc(project / "o.mrc"), read_mrc(project / "one.mrc"))
    done = tiltrec(JOB + "tomograms.star", "--tomo-name", "TS_02", *OPTIONS, "-o", "two.mrc",
                   cwd=project, check=True)
    assert f"{N - 1} of {N - 1} views" in done.stderr
    done = tiltrec(JOB + "tomograms.star", *OPTIONS, cwd=project, check=False)
    assert done.returncode == 1 and ("tomograms.star has 2 series, from TS_01 to TS_02; say "
                                     "which with --tomo-name") in done.stderr
    done = tiltrec(JOB + "tomograms.star", "--tomo-name", "TS_0", *OPTIONS, cwd=project, check=False)
    assert done.returncode == 1 and "has no series TS_0; it has 2, from" in done.stderr
    done = tiltrec(ts, "--tomo-name", "TS_01", *OPTIONS, cwd=project, check=False)
    assert done.returncode == 2 and "--tomo-name TS_01 is for a series that" in done.stderr


def test_even_and_odd_frames(project, views, tiltrec):
    """rlnMicrographNameEven and Odd are the halves' images."""
    labels = LABELS + ["rlnMicrographNameEven", "rlnMicrographNameOdd"]
    noise = np.random.default_rng(1).normal(size=views.shape)
    halves = {"EVN": views + noise, "ODD": views - noise}
    for half, images in halves.items():
        write_mrc(project / f"TS_01_{half}.mrc", images, pixel=PIXEL)
        for name, image in zip(SINGLE, images):
            write_mrc(project / name.replace(".mrc", f"_{half}.mrc"), image, pixel=PIXEL)
    rows = [(*row, *(row[0].replace(".mrc", f"_{half}.mrc") for half in halves))
            for row in star_rows(SINGLE)]
    ts = JOB + "tilt_series/TS_01.star"
    done = tiltrec(ts, *OPTIONS, "--half-sets", "star", cwd=project, check=False)
    assert done.returncode == 1 and "TS_01.star names no images of the even and" in done.stderr
    put(project / ts, star(rows, labels))
    tiltrec(ts, *OPTIONS, "--half-sets", "frames", "TS_01_EVN.mrc", "TS_01_ODD.mrc", "-o",
            "frames.mrc", cwd=project, check=True)
    tiltrec(ts, *OPTIONS, "--half-sets", "star", "-o", "star.mrc", cwd=project, check=True)
    for half in ("", "_EVN", "_ODD"):
        assert np.array_equal(read_mrc(project / f"star{half}.mrc"),
                              read_mrc(project / f"frames{half}.mrc")), half
    write_mrc(project / "TS_01.mrc", views, pixel=PIXEL)
    done = tiltrec("TS_01.mrc", "-t", ts, *OPTIONS, "--half-sets", "star", cwd=project, check=False)
    assert done.returncode == 1 and "TS_01.mrc is no STAR file of RELION's" in done.stderr


@pytest.mark.parametrize("names, said", [
    (SINGLE[:-1] + ["gone.mrc"], "names the file gone.mrc, which is neither"),
    ([f"{k + 1}@{name}" for k, name in enumerate(SINGLE)],
     "TS_01.star names image 2 of MotionCorr/job002/frames/TS_01_001.mrc, which has 1"),
    (["both.mrc"] * N, "both.mrc holds 2 images, and Tomograms/job010/tilt_series/TS_01.star "
                       "does not say which of them is the view (as in 1@both.mrc)"),
    (SINGLE[:-1] + ["wide.mrc"], "all images of a series must be alike"),
    ([JOB + "tilt_series/TS_01.star"] * N, "TS_01.star is a STAR file"),
    (["MotionCorr"] * N, "MotionCorr is a folder, not an image"),
])
def test_images_that_cannot_be_read(project, tiltrec, names, said):
    write_mrc(project / "both.mrc", np.zeros((2, N_V, N_U)))
    write_mrc(project / "wide.mrc", np.zeros((N_V, N_U + 2)))
    put(project / JOB / "tilt_series/TS_01.star", star(star_rows(names)))
    done = tiltrec(JOB + "tilt_series/TS_01.star", *OPTIONS, cwd=project,
                   ranks=2, check=False)
    assert done.returncode == 1 and said in done.stderr
    assert not list(project.glob("*_rec*"))


def test_an_image_that_changes_is_another(project, tiltrec):
    """A tomogram that is begun with other images is not gone on with."""
    ts = JOB + "tilt_series/TS_01.star"
    tiltrec(ts, *OPTIONS, "-o", "a.mrc", cwd=project, check=True)
    write_mrc(project / SINGLE[3], np.ones((N_V, N_U)), pixel=PIXEL)
    tiltrec(ts, *OPTIONS, "-o", "b.mrc", cwd=project, check=True)
    assert not np.array_equal(read_mrc(project / "a.mrc"), read_mrc(project / "b.mrc"))


# ---- RELION 4 ----

def matrices(xtilt, linear):
    """The first two rows of P for each view, in voxels and pixels from 0, where after the
    projection a view is deformed by `linear` beside its turn and shift."""
    centre = (np.array([N_U, N_V, DEEP]) - 1) / 2
    for t, turn, shift in zip(TILTS, TURN, SHIFT):
        m = linear @ rotation(turn)[:2, :2] @ (rotation(t, "y") @ rotation(xtilt, "x"))[:2]
        yield np.column_stack([m, shift + (np.array([N_U, N_V]) - 1) / 2 - m @ centre])


def relion4(xtilt, linear, sizes=(N_U, N_V, DEEP), name="TS_01"):
    def text(row):
        return "[" + ",".join(f"{v:.9f}" for v in row) + "]"
    rows = [(text(p[0]), text(p[1]), "[0,0,1,0]", "[0,0,0,1]", 2.0 * k)
            for k, p in enumerate(matrices(xtilt, linear))]
    labels = ["rlnTomoName", "rlnTomoTiltSeriesName", "rlnTomoFrameCount", "rlnTomoHand",
              "rlnTomoTiltSeriesPixelSize"] + ["rlnTomoSize" + c for c in "XYZ"] * bool(sizes)
    line = (name, "stacks/01.mrc", str(N), -1.0, PIXEL, *map(str, sizes or ()))
    return star([("TS_00", "no.mrc", *line[2:]), line], labels, "global") + star(
        rows, ["rlnTomoProj" + c for c in "XYZW"] + ["rlnMicrographPreExposure"], name)


@pytest.mark.parametrize("xtilt, linear", [
    (0.0, np.eye(2)), (7.0, np.eye(2)), (0.0, np.array([[1.02, 0.03], [-0.01, 0.99]]))],
    ids=["rigid", "x-tilt", "stretched"])
def test_matrices_of_relion_4(tmp_path, blobs, truth, tiltrec, xtilt, linear):
    centre = np.array([N_U, N_V])[:, None, None] / 2 - 0.5
    grid = np.stack(np.broadcast_arrays(np.arange(N_U), np.arange(N_V)[:, None])) - centre
    images = []
    for t, turn, shift in zip(TILTS, TURN, SHIFT):
        back = np.linalg.inv(linear @ rotation(turn)[:2, :2])
        aligned = np.tensordot(back, grid - shift[:, None, None], 1)
        turned = rotation(t, "y") @ rotation(xtilt, "x")
        images.append(sum(blobs.chord(part, turned, aligned) for part in blobs.parts))
    (tmp_path / "stacks").mkdir()
    write_mrc(tmp_path / "stacks/01.mrc", np.stack(images), pixel=PIXEL)

    def agreement(text):
        (tmp_path / "tomograms.star").write_text(text)
        tiltrec("tomograms.star", "--tomo-name", "TS_01", *OPTIONS[2:], "-o", "o.mrc",
                cwd=tmp_path, check=True)
        return correlation(read_mrc(tmp_path / "o.mrc"), truth, 2)

    right = agreement(relion4(xtilt, linear))
    assert right > 0.9
    assert agreement(relion4(xtilt, rotation(8)[:2, :2] @ linear)) < right - 0.02
    if linear[0, 1] == 0:  # no slice is seen without its neighbours else
        assert agreement(relion4(xtilt + 4, linear)) < right - 0.01
    assert agreement(relion4(xtilt, linear, (N_U + 4, N_V, DEEP))) < right - 0.02


@pytest.mark.parametrize("text, said", [
    (relion4(0, np.eye(2), None), "tomograms.star has projection matrices, but not the size"),
    (relion4(0, np.eye(2) * 9), "line 30: its matrix is no projection"),
    (relion4(0, np.eye(2)).replace(",", ";"), 'line 30: "'),
    (relion4(0, np.eye(2)).replace("data_TS_01", "data_TS_02"), "tomograms.star has 1 series, and none has the name of TS_01"),
])
def test_bad_matrices(tmp_path, tiltrec, text, said):
    (tmp_path / "stacks").mkdir()
    write_mrc(tmp_path / "stacks/01.mrc", np.zeros((N, N_V, N_U)), pixel=PIXEL)
    (tmp_path / "tomograms.star").write_text(text)
    done = tiltrec("tomograms.star", "--tomo-name", "TS_01", *OPTIONS, cwd=tmp_path,
                   check=False)
    assert done.returncode == 1 and said in done.stderr


# ---- what RELION is told of the tomogram ----

def read_table(path):
    """The only table of a STAR file as {rlnTomoName: {label: cell}}."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and line[0] != "#"]
    assert [line.strip() for line in lines[:2]] == ["data_global", "loop_"]
    labels = [line.split()[0][1:] for line in lines if line[0] == "_"]
    rows = [[cell.strip('"') for cell in line.split()] for line in lines[2 + len(labels):]]
    assert all(len(row) == len(labels) for row in rows)
    return {row[labels.index("rlnTomoName")]: dict(zip(labels, row)) for row in rows}


ONE = ["-a", "BPT", "--order", "xyz"]


def test_the_tomogram_in_relion_s_table(project, tiltrec):
    """Sizes in unbinned pixels, other columns of the series as they are in its table; a second
    series is added, and a series that is there already is replaced."""
    more = [("rlnOpticsGroupName", "optics1"), ("rlnEtomoThing", "a/b.edf")]
    put(project / JOB / "tomograms.star", tomograms(["TS_01", "TS_02"], more=more))
    (project / "out").mkdir()

    def run(name, *options):
        return tiltrec(JOB + "tomograms.star", "--tomo-name", name, *ONE, "--relion-star",
                       "out/tomograms.star", "-o", f"out/rec_{name}.mrc", *options,
                       cwd=project, check=True)
    run("TS_01", "--bin", 2, "--half-sets", "views")
    done = run("TS_02", "-T", 20, "-w", 44)
    assert ("wrote out/tomograms.star: the series TS_02, binning 1, hand of the defocus "
            "-1.000000, among 2") in done.stderr
    table = read_table(project / "out/tomograms.star")
    assert list(table) == ["TS_01", "TS_02"]
    one, two = table.values()
    for row in table.values():
        assert row["rlnEtomoThing"] == "a/b.edf" and row["rlnOpticsGroupName"] == "optics1"
        assert float(row["rlnVoltage"]) == 300 and float(row["rlnTomoHand"]) == -1
        assert float(row["rlnTomoTiltSeriesPixelSize"]) == PIXEL
    assert one["rlnTomoTiltSeriesStarFile"] == JOB + "tilt_series/TS_01.star"
    sizes = ["rlnTomoTomogramBinning"] + ["rlnTomoSize" + c for c in "XYZ"]
    assert [float(one[label]) for label in sizes] == [2, N_U, N_V, DEEP]
    assert [float(two[label]) for label in sizes] == [1, 44, N_V, 20]
    tomogram = "rlnTomoReconstructedTomogram"
    assert [one[tomogram + k] for k in ("", "Half1", "Half2")] == [
        f"out/rec_TS_01{half}.mrc" for half in ("", "_EVN", "_ODD")]
    assert [two[tomogram + k] for k in ("", "Half1", "Half2")] == ["out/rec_TS_02.mrc", "", ""]
    assert read_mrc(project / one[tomogram]).shape == (DEEP // 2, N_V // 2, N_U // 2)
    run("TS_01")
    again = read_table(project / "out/tomograms.star")
    assert list(again) == ["TS_01", "TS_02"] and again["TS_02"] == two
    assert [float(again["TS_01"][label]) for label in sizes] == [1, N_U, N_V, DEEP]
    assert again["TS_01"][tomogram + "Half1"] == ""
    assert not list((project / "out").glob(".*"))


def test_runs_wait_for_each_other(project, tiltrec):
    """Six at once: every row is there."""
    from concurrent.futures import ThreadPoolExecutor
    names = [f"TS_{k:02d}" for k in range(1, 7)]
    for name in names:
        put(project / JOB / f"tilt_series/{name}.star", star(star_rows(SINGLE), block=name))
    put(project / JOB / "tomograms.star", tomograms(names))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: tiltrec(
            JOB + "tomograms.star", "--tomo-name", name, *ONE, "--relion-star", "t.star", "-o",
            f"{name}.mrc", cwd=project, check=True), names))
    assert sorted(read_table(project / "t.star")) == names


def test_a_stack_and_its_star_file(project, views, tiltrec):
    """Optics and hand are those of the correction, where the table of series does not say."""
    labels = LABELS + ["rlnDefocusU"]
    put(project / "TS_01.star", star([(*row, 20000.0) for row in star_rows(SINGLE)], labels))
    write_mrc(project / "TS_01.mrc", views, pixel=PIXEL)
    options = ["TS_01.mrc", "-T", DEEP, *ONE, "--relion-star", "t.star"]
    done = tiltrec(*options, cwd=project, check=False)
    assert done.returncode == 1 and ("nothing says rlnVoltage of the series; give RELION's "
                                     "table of series") in done.stderr
    ctf = ["--ctf", "TS_01.star", "--voltage", 200, "--cs", 2.7, "--amplitude-contrast", 0.07]
    tiltrec(*options, *ctf, "--defocus-hand", -1, cwd=project, check=True)
    row = read_table(project / "t.star")["TS_01"]
    assert row["rlnTomoTiltSeriesStarFile"] == "TS_01.star"
    assert [float(row["rln" + label]) for label in (
        "Voltage", "SphericalAberration", "AmplitudeContrast", "TomoHand")] == [
            200, 2.7, 0.07, 1]
    tiltrec(*options, *ctf, cwd=project, check=True)  # the row has a hand by now
    assert float(read_table(project / "t.star")["TS_01"]["rlnTomoHand"]) == 1


@pytest.mark.parametrize("options, status, said", [
    (["--order", "xzy"], 2, "--relion-star is for MRC files with sections along z; give"),
    (["-o", "o.tif"], 2, "RELION reads a tomogram as .mrc, and o.tif is none"),
    (["--pitch", 3], 2, "with --pitch the tomogram is not where RELION takes it to be"),
    (["--slices", "3:9"], 2, "with --slices the tomogram is not where"),
    (["--relion-star", "other.star"], 1, "other.star is no table with the column _rlnTomoName"),
    (["--relion-star", "two.star"], 1, "two.star has more tables than that of series"),
    (["--relion-star", "odd.star"], 1, "odd.star: nothing says rlnOdd of the series TS_01"),
    (["--relion-star", JOB + "tomograms.star"], 2, "is also an input and would be lost"),
])
def test_rows_that_would_be_wrong(project, tiltrec, options, status, said):
    """Said before anything is computed."""
    put(project / "other.star", star([("a", 1.0)], ["rlnX", "rlnY"]))
    put(project / "two.star", tomograms(["TS_09"]) + tomograms(["TS_09"]))
    put(project / "odd.star", tomograms(["TS_09"], more=[("rlnOdd", "5")]))
    before = sorted(project.rglob("*"))
    for default in (["--order", "xyz"], ["--relion-star", "t.star"]):
        options = options if default[0] in options else options + default
    done = tiltrec(JOB + "tomograms.star", "--tomo-name", "TS_01", "-a", "BPT", *options,
                   cwd=project, check=False)
    assert done.returncode == status and said in done.stderr
    assert sorted(project.rglob("*")) == before


def test_the_series_must_be_relion_s(project, views, tiltrec):
    write_mrc(project / "s.mrc", views, pixel=PIXEL)
    np.savetxt(project / "s.tlt", TILTS)
    done = tiltrec("s.mrc", "-T", DEEP, *ONE, "--relion-star", "t.star", cwd=project, check=False)
    assert done.returncode == 2 and "--relion-star is for series that are aligned by" in done.stderr


def test_the_hand_of_relion(project, tiltrec):
    """rlnTomoHand is the sign of the defocus along z, ours is that along s: the other one."""
    labels = LABELS + ["rlnDefocusU"]
    put(project / JOB / "tilt_series/TS_01.star",
        star([(*row, 20000.0) for row in star_rows(SINGLE)], labels))
    for relion, ours in ((-1.0, "+1"), (1.0, "-1")):
        text = tomograms(["TS_01"]).replace("-1.000000", f"{relion:f}")
        put(project / JOB / "tomograms.star", text)
        done = tiltrec(JOB + "tomograms.star", *ONE, "--ctf", JOB + "tomograms.star",
                       "--ctf-band", 0.01, "-o", "o.mrc", "-v", "--report", "r.html",
                       cwd=project, check=True)
        assert f"hand {ours}" in (project / "r.html").read_text() + done.stderr
