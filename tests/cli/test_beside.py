"""The files beside a series, weighed together: which alignment and angles are taken, what is
said of the others, how large aligned views and their pixels are. Blobs of which every view
is known exactly: only the right alignment gives their tomogram."""
import json

import numpy as np
import pytest

from conftest import correlation, read_mrc, write_mrc
from test_alignment_files import aln, star, star_rows
from volume_reference import Blobs, rotations

N_U, N_V, DEPTH, PIXEL = 48, 40, 24, 5.0
TILTS = np.arange(-60.0, 61, 6)
TURNS = 8 + 0.1 * TILTS / 6
SHIFTS = np.column_stack([4 * np.cos(TILTS), 4 * np.sin(2 * TILTS) - 2])
OTHER = "1 0 0 1 9 9\n" * len(TILTS)
XF = rotations(-TURNS, -SHIFTS)  # raw = R aligned + t, backwards
XF[:, 4:] = [-row[:4].reshape(2, 2) @ shift for row, shift in zip(XF, SHIFTS)]
AS_TLT = "".join(f"{tilt:.2f}\n" for tilt in TILTS)
AS_XF = "".join(" ".join(f"{v:.8f}" for v in row) + "\n" for row in XF)
AS_ALN = aln(range(len(TILTS)), (N_U, N_V, len(TILTS)), TURNS, SHIFTS)
AS_STAR = star(star_rows([f"f_{k}.mrc" for k in range(len(TILTS))], turn=TURNS,
                         shift=SHIFTS * PIXEL))


def mdoc(axis=-8.0, pixel=PIXEL, tilts=TILTS):
    return f"PixelSpacing = {pixel}\n[T = Tilt axis angle = {axis}, binning = 1]\n" + "".join(
        f"[ZValue = {k}]\nTiltAngle = {tilt}\n" for k, tilt in enumerate(tilts))


@pytest.fixture(scope="module")
def blobs():
    return Blobs(N_U - 16, N_V - 16, DEPTH, finest=2, seed=3)


@pytest.fixture(scope="module")
def raw(blobs):
    return blobs.views(TILTS, N_U, N_V, transforms=XF)


@pytest.fixture(scope="module")
def aligned(blobs):
    return blobs.views(TILTS, N_U, N_V)


@pytest.fixture
def run(tiltrec, tmp_path):
    def run(data, files, *options, name="ts.st", pixel=PIXEL, code=0):
        write_mrc(tmp_path / name, data, pixel=pixel)
        for file, text in files.items():
            (tmp_path / file).write_text(text)
        done = tiltrec(name, "-T", DEPTH, "-o", "o.mrc", "--json", "o.json", *options,
                       cwd=tmp_path, check=False)
        assert done.returncode == code, done.stderr
        return (read_mrc(tmp_path / "o.mrc") if code == 0 else None), done.stderr
    return run


@pytest.fixture
def truth(run, aligned):
    return run(aligned, {"true_ali.tlt": AS_TLT}, name="true_ali.mrc")[0]


@pytest.mark.parametrize("files, unused", [
    ({"ts.tlt": AS_TLT, "ts.xf": AS_XF}, {}),
    ({"ts.rawtlt": AS_TLT, "ts.xf": AS_XF, "ts.tlt": AS_TLT}, {"ts.rawtlt": ""}),
    ({"ts.mdoc": mdoc(), "ts.aln": AS_ALN}, {"ts.mdoc": ""}),
    ({"ts.mdoc": mdoc(), "ts.xf": AS_XF}, {}),
    ({"ts.rawtlt": AS_TLT, "ts.star": AS_STAR}, {"ts.rawtlt": ""}),
    ({"ts.st.aln": AS_ALN}, {}),  # AreTomo 1 puts its ending behind the whole name
    ({"ts.TLT": AS_TLT, "ts.XF": AS_XF}, {}),
    ({"ts.tlt": AS_TLT, "ts.xf": OTHER, "ts.aln": AS_ALN},
     {"ts.tlt": "", "ts.xf": "--transforms ts.xf"}),
    ({"ts.tlt": AS_TLT, "ts.xf": AS_XF, "ts.star": star(star_rows(["a"] * len(TILTS)))},
     {"ts.star": "--transforms ts.star"}),
])
def test_a_raw_series_is_aligned(run, raw, truth, files, unused):
    ours, said = run(raw, files)
    assert correlation(ours, truth, 6) > 0.999
    for file, option in unused.items():
        line, = (line for line in said.splitlines() if f"{file} is not used" in line)
        assert option in line and ("warning" in line) == bool(option)
    assert said.count("is not used") == len(unused)
    assert said.count("warning") == sum(map(bool, unused.values()))


@pytest.mark.parametrize("name", [
    "ts_ali.mrc", "ts.ali", "ts_aln.mrc", "ts_aligned.mrc", "ts_tiltaligned.mrc",
    "ts_Aligned.mrc", "ts_ali_bin4.mrc", "ts.preali"])
def test_an_aligned_one_is_not(run, aligned, truth, name):
    ours, said = run(aligned, {"ts.tlt": AS_TLT, "ts.xf": OTHER, "ts.aln": AS_ALN}, name=name)
    assert np.array_equal(ours, truth) and "warning" not in said
    assert said.count("is not used") == 2 and "is aligned already" in said


def test_aligned_says_so(run, aligned, truth):
    files = {"ts.tlt": AS_TLT, "ts.xf": OTHER, "ts.mdoc": mdoc(axis=85)}
    ours, said = run(aligned, files, "--aligned")
    assert np.array_equal(ours, truth) and "warning" not in said
    _, said = run(aligned, files, "--aligned", "--transforms", "ts.xf", code=2)
    assert "--aligned says that the views are not to be aligned" in said


def test_a_com_file_that_is_not_used(run, raw, aligned, tmp_path):
    com = "$tilt -StandardInput\nInputProjections ts_ali.mrc\nTHICKNESS 20\n"
    files = {"ts.tlt": AS_TLT, "ts.xf": AS_XF, "tilt.com": com}
    _, said = run(raw, files)
    assert "warning: tilt.com is about ts_ali.mrc, which is not there" in said
    assert "--imod-com tilt.com --transforms ts.xf ts.st" in said
    _, said = run(aligned, files, name="ts_ali.mrc")  # now it is there, and named
    assert "warning: tilt.com is about ts_ali.mrc, and is not used" in said
    _, said = run(aligned, {"o.tlt": AS_TLT}, name="o.st")  # another one's
    assert "tilt.com" not in said
    (tmp_path / "ts_ali.mrc").unlink()
    (tmp_path / "o.mrc").unlink()


def test_a_com_file_without_its_series(tiltrec, tmp_path):
    (tmp_path / "t.com").write_text("$tilt -StandardInput\nInputProjections gone.mrc\n")
    done = tiltrec("--imod-com", "t.com", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "t.com is about gone.mrc, which is not there" in done.stderr


# ---- the size of the aligned views ----

@pytest.fixture(scope="module")
def tall():
    """Specimen and aligned views are taller than wide; raw views lie across."""
    return Blobs(N_V - 16, N_U - 16, DEPTH, finest=2, seed=5)


LYING = rotations(-84.8)
LYING_XF = "".join(" ".join(f"{v:.8f}" for v in row) + "\n" for row in
                   np.broadcast_to(LYING, (len(TILTS), 6)))


@pytest.mark.parametrize("file, text", [
    ("ts.xf", LYING_XF),
    ("ts.aln", aln(range(len(TILTS)), (N_U, N_V, len(TILTS)), [84.8] * len(TILTS),
                   0 * SHIFTS)),
    ("ts.star", star(star_rows(["a"] * len(TILTS), turn=[84.8] * len(TILTS),
                               shift=0 * SHIFTS)))])
def test_nothing_is_lost_of_landscape_views(run, tall, file, text):
    right = run(tall.views(TILTS, N_V, N_U), {"true_ali.tlt": AS_TLT}, name="true_ali.mrc")[0]
    lying = tall.views(TILTS, N_U, N_V, transforms=np.broadcast_to(LYING, (len(TILTS), 6)))
    ours, said = run(lying, {"ts.tlt": AS_TLT, file: text})
    assert ours.shape == right.shape == (N_U, DEPTH, N_V)
    assert correlation(ours, right, 4) > 0.999
    assert "aligned, the views lie across: they get 40 x 48 pixels" in said
    smaller, _ = run(lying, {}, "--size", "32,42")
    assert smaller.shape == (42, DEPTH, 32)
    assert correlation(smaller, right[3:-3, :, 4:-4], 4) > 0.99
    _, said = run(lying, {}, "--size", "0,42", code=2)
    assert "columns and rows are needed" in said


def test_landscape_views_in_the_volume_programs(tiltrecz, tiltrec, run, tall, tmp_path):
    lying = tall.views(TILTS, N_U, N_V, transforms=np.broadcast_to(LYING, (len(TILTS), 6)))
    sirt = ["-a", "SIRT", "-i", 5, "--outside", "zero"]
    one, _ = run(lying, {"ts.tlt": AS_TLT, "ts.xf": LYING_XF}, *sirt)
    tiltrecz("ts.st", "-T", DEPTH, *sirt, "-o", "z.mrc", cwd=tmp_path)
    other = read_mrc(tmp_path / "z.mrc")
    assert one.shape == other.shape and np.allclose(one, other, atol=1e-4 * abs(one).max())


def test_size_without_alignment(run, aligned):
    _, said = run(aligned, {"s_ali.tlt": AS_TLT}, "--size", "32,42", name="s_ali.mrc", code=2)
    assert "--size is about views that are aligned while they are read" in said


# ---- the size of a pixel ----

@pytest.mark.parametrize("header, beside, options, voxel, warned", [
    (PIXEL, PIXEL, [], PIXEL, ""),
    (4 * PIXEL, PIXEL, [], 4 * PIXEL, ""),  # binned
    (0, PIXEL, [], PIXEL, ""),
    (1, PIXEL, [], PIXEL, "its header says 1 angstrom a pixel"),
    (1, 1, [], 1, ""),
    (PIXEL, 1.02 * PIXEL, [], PIXEL, "its header says 5 angstroms a pixel"),
    (PIXEL, 1.005 * PIXEL, [], PIXEL, ""),
    (PIXEL, 3.0, [], PIXEL, "its header says 5 angstroms a pixel"),
    (PIXEL, PIXEL, ["--pixel", 2.5], 2.5, "--pixel says 2.5 angstroms a pixel"),
    (1, PIXEL, ["--pixel", 10], 10, ""),
])
def test_pixel_size(run, aligned, tmp_path, header, beside, options, voxel, warned):
    _, said = run(aligned, {"ts.tlt": AS_TLT, "ts.mdoc": mdoc(0, beside)}, *options,
                  name="ts_ali.mrc", pixel=header)
    assert said.count("warning") == bool(warned) and warned in said
    assert f"{voxel:g} angstroms a pixel" in said and f"{voxel:g} angstroms a voxel" in said
    import mrcfile
    with mrcfile.open(tmp_path / "o.mrc", header_only=True) as file:
        assert float(file.voxel_size.x) == pytest.approx(voxel, rel=1e-6)
    assert json.loads((tmp_path / "o.json").read_text())["series"][
        "pixel_angstrom"] == pytest.approx(voxel, rel=1e-6)


@pytest.mark.parametrize("header, shift_pixel, options", [
    (1, PIXEL, []), (0, PIXEL, []), (PIXEL, PIXEL, []),
    (PIXEL, PIXEL / 2, []),  # the images are binned by 2: shifts are in angstroms still
    (1, None, ["--pixel", PIXEL])])
def test_shifts_of_relion_are_in_its_pixels(run, raw, truth, tmp_path, header, shift_pixel,
                                            options):
    labels = ["rlnTomoName", "rlnTomoTiltSeriesStarFile"]
    row = ["ts", "one.star"]
    if shift_pixel:
        labels.append("rlnTomoTiltSeriesPixelSize")
        row.append(float(shift_pixel))
    files = {"all.star": star([row], labels, "global"), "one.star": AS_STAR}
    ours, said = run(raw, files, "-t", "all.star", *options, pixel=header)
    assert correlation(ours, truth, 6) > 0.999
    assert ("header says 1 angstrom" in said) == (header == 1 and not options)


def test_shifts_without_a_pixel_size(run, raw):
    _, said = run(raw, {"one.star": AS_STAR}, "-t", "one.star", pixel=1, code=1)
    assert "neither it nor ts.st gives a pixel size; give the one of the series with --pixel" in said


# ---- X-ray scans ----

@pytest.mark.parametrize("span, thickness", [(180, N_U), (170, N_U), (160, 16)])
def test_thickness_of_what_is_seen_from_all_sides(tiltrec, tmp_path, span, thickness):
    tilts = np.linspace(0, span, 21)
    write_mrc(tmp_path / "s_ali.mrc", np.random.default_rng(1).normal(size=(21, 8, N_U)))
    np.savetxt(tmp_path / "s_ali.tlt", tilts)
    said = tiltrec("s_ali.mrc", "-o", "o.mrc", cwd=tmp_path).stderr
    assert read_mrc(tmp_path / "o.mrc").shape == (8, thickness, N_U)
    assert ("taking the images' width" in said) == (span >= 170)


@pytest.mark.parametrize("name, warned", [("data_dark", True), ("other", False)])
def test_dark_fields_that_are_not_used(tiltrec, tmp_path, name, warned):
    import h5py
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["exchange/data"] = np.random.default_rng(1).normal(size=(21, 8, N_U))
        file["exchange/theta"] = TILTS
        file["exchange/" + name] = np.ones((3, 8, N_U))
    said = tiltrec("s.h5", "-T", 8, "-o", "o.mrc", cwd=tmp_path).stderr
    assert ("has dark fields but no flat fields" in said) == warned
