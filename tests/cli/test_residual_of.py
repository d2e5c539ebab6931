"""--residual-of: volumes beside views that are known in closed form."""
import csv
import json

import numpy as np
import pytest

from conftest import read_mrc, write_mrc, write_series, write_xtilts

TILTS = np.array([-50.0, -33, -14, 0, 9, 27, 48])
COLUMNS, ROWS, THICK, SIGMA = 80, 56, 40, 3.0
BLOBS = np.array([  # x, y, s about the centre, height
    (-12.0, -9, 4, 1.0), (5.0, 7, -6, 0.8), (11.0, -2, 2, 1.2), (-3.0, 12, 5, 0.7),
    (1.0, 1, -3, 0.9), (-8.0, 5, 0, 1.1)])


def axis(n):
    return np.arange(n) - (n - 1) / 2


def volume(blobs=BLOBS):
    """[y][s][x], in the native order."""
    x, y, s = axis(COLUMNS), axis(ROWS)[:, None, None], axis(THICK)[:, None]
    result = np.zeros((ROWS, THICK, COLUMNS))
    for bx, by, bs, height in blobs:
        result += height * np.exp(-((x - bx) ** 2 + (y - by) ** 2 + (s - bs) ** 2)
                                  / (2 * SIGMA ** 2))
    return result


def views(pitch=0.0, xtilts=None, matrix=np.eye(2), shift=(0.0, 0.0), blobs=BLOBS):
    """Of the blobs, by manual/geometry.md; an alignment's matrix and shift are undone."""
    u, v = axis(COLUMNS), axis(ROWS)[:, None]
    result = []
    for k, tilt in enumerate(np.radians(TILTS)):
        g = np.radians(pitch + (0 if xtilts is None else xtilts[k]))
        image = np.zeros((ROWS, COLUMNS))
        for x, y, s, height in blobs:
            z, row = y * np.sin(g) + s * np.cos(g), y * np.cos(g) - s * np.sin(g)
            at = np.array([x * np.cos(tilt) - z * np.sin(tilt), row])
            at = np.linalg.solve(matrix, at - shift)
            image += height * np.sqrt(2 * np.pi) * SIGMA * np.exp(
                -((u - at[0]) ** 2 + (v - at[1]) ** 2) / (2 * SIGMA ** 2))
        result.append(image)
    return np.array(result)


def table(path):
    with open(path, newline="") as file:
        return {name: [float(row[name]) for row in rows] for rows in [list(csv.DictReader(file))]
                for name in rows[0]}


def compare(program, folder, *options, volume="v.mrc", **keywords):
    program("--residual-of", volume, *options, "s_ali.mrc", cwd=folder, **keywords)
    return table(folder / "s_residual.csv")


TURN = np.radians(7)
ROTATION = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
CASES = {
    "plain": ({}, ()),
    "pitch": ({"pitch": 12.0}, ("--pitch", 12)),
    "x-tilts": ({"xtilts": np.linspace(-11, 10, len(TILTS))}, ("--xtilts", "s.xtilt")),
    "transforms": ({"matrix": ROTATION, "shift": (2.5, -1.5)},
                   ("--transforms", "s.xf", "--hot-pixels", "off")),
    "all": ({"pitch": -5.0, "xtilts": np.linspace(3, -3, len(TILTS)), "matrix": ROTATION,
             "shift": (-2.0, 1.0)},
            ("--pitch", -5, "--xtilts", "s.xtilt", "--transforms", "s.xf",
             "--hot-pixels", "off")),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_the_true_volume_explains_the_views_in_every_geometry(request, tmp_path, program, name):
    run = request.getfixturevalue(program)
    how, options = CASES[name]
    scale, offsets = 3.0, np.arange(len(TILTS)) * 10.0 + 100
    write_series(tmp_path, scale * views(**how) + offsets[:, None, None], TILTS)
    write_xtilts(tmp_path / "s.xtilt", how.get("xtilts", np.zeros(len(TILTS))))
    a, d = how.get("matrix", np.eye(2)), how.get("shift", (0, 0))
    np.savetxt(tmp_path / "s.xf", [[*a.ravel(), *d]] * len(TILTS))
    write_mrc(tmp_path / "v.mrc", volume())
    found = compare(run, tmp_path, *options)
    # Lattices that are turned in the image's plane have ripples at tilt 0, where planes agree.
    turned = "matrix" in how
    assert max(found["residual"]) < (0.11 if turned else 0.05)
    assert np.median(found["residual"]) < (0.08 if turned else 0.02)
    assert min(found["correlation"]) > 0.99
    assert found["scale"][0] == pytest.approx(scale, rel=0.03)
    assert min(found["pixels"]) > 0.2 * ROWS * COLUMNS
    if name == "plain":
        return
    wrong = compare(run, tmp_path, *(("--hot-pixels", "off", "--aligned")
                                     if "transforms" in options[0] else ()))
    assert max(wrong["residual"]) > 0.2, "the geometry does matter"


def test_what_is_missing_in_the_volume_is_in_the_images(tiltrec, tmp_path):
    write_series(tmp_path, views(), TILTS)
    write_mrc(tmp_path / "v.mrc", volume(BLOBS[1:]))
    found = compare(tiltrec, tmp_path, "--json", "r.json")
    images = read_mrc(tmp_path / "s_residual.mrc")
    # Of the missing blob alone, but for the scale, which it moves a little.
    alone = views(blobs=BLOBS[:1])
    for image, blob in zip(images, alone):
        there = image != 0
        assert np.corrcoef(image[there], blob[there])[0, 1] > 0.9
    for k, image in enumerate(images):
        counted = image != 0
        expected = image[counted].std() / views()[k][counted].std()
        assert found["residual"][k] == pytest.approx(expected, rel=0.02)
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["residual_of"]["volume"] == "v.mrc" and result["output"] is None
    assert [v["residual"] for v in result["views"]["list"]] == pytest.approx(found["residual"])
    deviations = np.array(found["deviation"]), np.array(found["residual_deviation"])
    n = np.array(found["pixels"])
    assert result["residual_of"]["residual"] == pytest.approx(
        np.sqrt((n * deviations[1] ** 2).sum() / (n * deviations[0] ** 2).sum()), rel=1e-5)


def test_orders_levels_and_parts(tiltrec, tmp_path):
    write_series(tmp_path, views(), TILTS)
    native = volume()
    write_mrc(tmp_path / "v.mrc", native)
    plain = compare(tiltrec, tmp_path)
    # xyz: rotated about x, sections from the last plane to the first
    write_mrc(tmp_path / "xyz.mrc", native.transpose(1, 0, 2)[::-1])
    assert compare(tiltrec, tmp_path, "--order", "xyz", volume="xyz.mrc") == plain
    write_mrc(tmp_path / "level.mrc", -2 * native + 7)
    turned = tiltrec("--residual-of", "level.mrc", "s_ali.mrc", cwd=tmp_path)
    assert "contrast of level.mrc is that of the views turned round" in turned.stderr
    found = table(tmp_path / "s_residual.csv")
    assert found["residual"] == pytest.approx(plain["residual"], abs=1e-3)
    assert found["scale"][0] == pytest.approx(-plain["scale"][0] / 2, rel=1e-3)
    write_mrc(tmp_path / "part.mrc", native[10:46])
    part = compare(tiltrec, tmp_path, "--slices", "10:45", volume="part.mrc")
    assert max(part["residual"]) < 0.05 and max(part["pixels"]) <= 36 * COLUMNS
    many = compare(tiltrec, tmp_path, ranks=2)
    assert many == plain
    small = compare(tiltrec, tmp_path, "--memory", "70M")
    assert small == plain


def test_a_reconstruction_explains_what_it_was_made_from(tiltrec, tmp_path):
    rng = np.random.default_rng(3)
    write_series(tmp_path, views() + rng.normal(0, 0.3, (len(TILTS), ROWS, COLUMNS)), TILTS)
    options = ("-a", "SIRT", "-T", THICK, "--outside", "zero", "-o", "v.mrc")
    tiltrec(*options, "-i", 40, "s_ali.mrc", cwd=tmp_path)
    good = compare(tiltrec, tmp_path)
    tiltrec(*options, "-i", 2, "s_ali.mrc", cwd=tmp_path)
    poor = compare(tiltrec, tmp_path)
    assert all(a < b for a, b in zip(good["residual"], poor["residual"]))


@pytest.mark.parametrize("words, said", [
    (["-i", "3", "-a", "SIRT"], "leave out --algorithm"),
    (["--half-sets", "views"], "leave out --half-sets"),
    (["--order", "xyz"], "40 slices along the tilt axis in order xyz"),
    (["--slices", "3:9"], "56 slices along the tilt axis in order xzy"),
    (["-o", "v.mrc"], "v.mrc"),
])
def test_what_is_refused(tiltrec, tmp_path, words, said):
    write_series(tmp_path, views(), TILTS)
    write_mrc(tmp_path / "v.mrc", volume())
    before = (tmp_path / "v.mrc").read_bytes()
    done = tiltrec("--residual-of", "v.mrc", *words, "s_ali.mrc", cwd=tmp_path, check=False)
    assert done.returncode in (1, 2) and said in done.stderr
    assert (tmp_path / "v.mrc").read_bytes() == before


def test_a_constant_volume(tiltrec, tmp_path):
    write_series(tmp_path, views(), TILTS)
    write_mrc(tmp_path / "v.mrc", np.full((ROWS, THICK, COLUMNS), 4.0))
    done = tiltrec("--residual-of", "v.mrc", "s_ali.mrc", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "are of one value" in done.stderr
    assert not list(tmp_path.glob("*residual*")) and not list(tmp_path.glob(".*"))
