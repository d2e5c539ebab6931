"""--write-alignment: the CryoET Data Portal's JSON. Read here by its own definition: a point
of the aligned image is seen in the raw one at in_plane_rotation (x, y) + offset, in
angstroms from the centres; made into IMOD's .xf, .tlt and .xtilt, it gives the tomogram
again."""
import json

import numpy as np
import pytest

from conftest import correlation, difference, read_mrc, write_mrc
from test_alignment_files import (N_U, N_V, PIXEL, SHIFT, TILTS, TURN, aln, misaligned, star,
                                  star_rows)
from volume_reference import Blobs

DEPTH = 24
NAMES = [f"f{k:02d}.mrc" for k in range(len(TILTS))]


@pytest.fixture(scope="module")
def raw():
    return misaligned(Blobs(N_U - 16, N_V - 16, DEPTH, finest=2, seed=3))


@pytest.fixture
def run(tiltrec, tmp_path, raw):
    write_mrc(tmp_path / "ts.mrc", raw, pixel=PIXEL)

    def run(*options, check=True):
        return tiltrec("ts.mrc", "-T", DEPTH, "-o", "o.mrc", *options, cwd=tmp_path, check=check)
    return run


def as_imod(folder, name, text, n):
    """Files of IMOD: an .xf is the inverse, in pixels."""
    rows = json.loads(text)["per_section_alignment_parameters"]
    back = [np.linalg.inv(row["in_plane_rotation"]) for row in rows]
    shifts = [-b @ [row["x_offset"], row["y_offset"]] / PIXEL for b, row in zip(back, rows)]
    np.savetxt(folder / f"{name}.xf", [[*b.ravel(), *s] for b, s in zip(back, shifts)], "%.9f")
    np.savetxt(folder / f"{name}.tlt", [row["tilt_angle"] for row in rows], "%.6f")
    np.savetxt(folder / f"{name}.xtilt", [row["volume_x_rotation"] for row in rows], "%.6f")
    assert [row["z_index"] for row in rows] == list(range(n))


SOURCES = {
    "aln": aln(range(1, len(TILTS) + 1), (N_U, N_V, len(TILTS))),
    "star": star(star_rows(NAMES, xtilt=4.0)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_the_alignment(run, tmp_path, source):
    """What AreTomo and RELION have in their files, in angstroms; and back."""
    (tmp_path / f"a.{source}").write_text(SOURCES[source])
    done = run("-t", f"a.{source}", "--write-alignment", "ali.json", "--tilt-offset", 1.5)
    ours = read_mrc(tmp_path / "o.mrc")
    assert f"wrote ali.json: the alignment of {len(TILTS)} views" in done.stderr
    text = (tmp_path / "ali.json").read_text()
    rows = json.loads(text)["per_section_alignment_parameters"]
    for row, tilt, turn, shift in zip(rows, TILTS, TURN, SHIFT):
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        assert row["in_plane_rotation"] == pytest.approx(np.array([[c, -s], [s, c]]), abs=1e-5)
        assert [row["x_offset"], row["y_offset"]] == pytest.approx(PIXEL * shift, abs=3e-3)
        assert row["tilt_angle"] == pytest.approx(tilt + 1.5, abs=1e-4)
    as_imod(tmp_path, "again", text, len(TILTS))
    run("-t", "again.tlt", "--transforms", "again.xf", "--xtilts", "again.xtilt")
    assert difference(read_mrc(tmp_path / "o.mrc"), ours) < 1e-3
    (tmp_path / "again.xf").write_text("1 0 0 1 0 0\n" * len(TILTS))
    run("-t", "again.tlt", "--transforms", "again.xf", "--xtilts", "again.xtilt")
    assert correlation(read_mrc(tmp_path / "o.mrc"), ours, 2) < 0.9


def test_what_there_is_beside_the_views(run, tmp_path):
    """Sizes in angstroms, of a binned tomogram as well; views left out are; a pitch is in the
    rotation about x, with the sign of IMOD's XTILTFILE; nothing aligned is the identity."""
    np.savetxt(tmp_path / "a.tlt", TILTS)
    run("-t", "a.tlt", "--aligned", "--bin", 2, "--exclude", 1, "--pitch", 3, "--hand", -1,
        "--write-alignment", "ali.json")
    found = json.loads((tmp_path / "ali.json").read_text())
    rows = found.pop("per_section_alignment_parameters")
    assert found == {
        "affine_transformation_matrix": np.eye(4).tolist(), "alignment_type": "GLOBAL",
        "format": "IMOD", "is_portal_standard": False, "tilt_offset": 0, "x_rotation_offset": 0,
        "volume_offset": {"x": 0, "y": 0, "z": 0},
        "volume_dimension": {"x": PIXEL * N_U, "y": PIXEL * N_V, "z": PIXEL * DEPTH}}
    assert [row["z_index"] for row in rows] == list(range(1, len(TILTS)))
    for row, tilt in zip(rows, TILTS[1:]):
        assert row["tilt_angle"] == pytest.approx(-tilt) and row["volume_x_rotation"] == -3
        assert row["in_plane_rotation"] == [[1, 0], [0, 1]]
        assert row["x_offset"] == row["y_offset"] == 0


def test_transforms_of_a_binned_run(run, tmp_path):
    """In angstroms the binning is not seen."""
    (tmp_path / "ts.aln").write_text(SOURCES["aln"])
    texts = []
    for binning in (1, 2):
        run("--bin", binning, "--write-alignment", "ali.json")
        texts.append(json.loads((tmp_path / "ali.json").read_text()))
    for one, two in zip(*(text["per_section_alignment_parameters"] for text in texts)):
        assert [two["x_offset"], two["y_offset"]] == pytest.approx(
            [one["x_offset"], one["y_offset"]], abs=1e-6)


@pytest.mark.parametrize("options, status, said", [
    (["--x-shift", 2], 2, "--write-alignment has no place for what --x-shift moves"),
    (["--slices", "1:3"], 2, "no place for what --slices moves"),
    (["--write-alignment", "ts.mrc"], 2, "is also an input and would be lost"),
    (["--write-alignment", "no/a.json"], 1, "the folder of the alignment, no/, does not exist"),
])
def test_what_it_cannot_say(run, tmp_path, options, status, said):
    (tmp_path / "ts.aln").write_text(SOURCES["aln"])
    if "--write-alignment" not in options:
        options = options + ["--write-alignment", "ali.json"]
    done = run(*options, check=False)
    assert done.returncode == status and said in done.stderr
    assert not (tmp_path / "ali.json").exists() and not (tmp_path / "o.mrc").exists()


def test_it_needs_a_pixel(run, tmp_path, raw):
    write_mrc(tmp_path / "ts.mrc", raw, pixel=0)
    (tmp_path / "ts.aln").write_text(SOURCES["aln"])
    done = run("--write-alignment", "ali.json", check=False)
    assert done.returncode == 1 and "--write-alignment needs the size of the pixels" in done.stderr
