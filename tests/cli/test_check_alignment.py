"""--check-alignment against planted errors: views of a slab of points, made in numpy without
any of the program's projectors."""
import csv
import json

import numpy as np
import pytest

from conftest import read_mrc, write_series

TILTS = np.arange(-54.0, 55.0, 6.0)
SIZE, DEPTH = 192, 32
SPOTS = 900  # in the field


def views(snr, seed=1, shifts=None, axis=0.0, tilts=TILTS, size=SIZE):
    """Points in a slab that goes on beyond the field; shifts[view] = (right, up); the tilt
    axis is turned by so many degrees, counterclockwise, from the images' y."""
    rng = np.random.default_rng([seed, 7])
    wide, high = 2.4 * size, 1.6 * size
    n = int(SPOTS * wide * high / size ** 2)
    x, y, z = rng.uniform(-0.5, 0.5, (3, n)) * np.array([[wide], [high], [DEPTH]])
    weight = rng.normal(size=n)
    fx, fy = np.fft.rfftfreq(size), np.fft.fftfreq(size)
    blur = np.exp(-2 * (np.pi * 1.5) ** 2 * (fx ** 2 + fy[:, None] ** 2))
    turn, made = np.radians(axis), []
    for k, t in enumerate(np.radians(tilts)):
        u, v = x * np.cos(t) - z * np.sin(t), y
        u, v = np.cos(turn) * u - np.sin(turn) * v, np.sin(turn) * u + np.cos(turn) * v
        dx, dy = (0, 0) if shifts is None else shifts[k]
        u, v = u + dx + (size - 1) / 2, v + dy + (size - 1) / 2
        # Points beyond the field would come in at the other side.
        inside = (np.abs(u - size / 2) < size / 2 + 6) & (np.abs(v - size / 2) < size / 2 + 6)
        big = size + 16
        at = np.floor(np.stack([v, u])[:, inside]).astype(int) + 8
        part = np.stack([v, u])[:, inside] + 8 - at
        image = np.zeros((big, big))
        for j in 0, 1:  # bilinear, then blurred: the blur is wide against the pixel
            for i in 0, 1:
                by = np.abs(1 - j - part[0]) * np.abs(1 - i - part[1]) * weight[inside]
                np.add.at(image, (at[0] + j, at[1] + i), by)
        cut = image[8:-8, 8:-8]
        made.append(np.fft.irfft2(np.fft.rfft2(cut) * blur, (size, size)))
    made = np.array(made)
    noise = rng.normal(size=made.shape) * made[len(tilts) // 2].std() / np.sqrt(snr)
    return (made + noise).astype(np.float32)


def planted(which, tilts=TILTS):
    shifts = np.zeros((len(tilts), 2))
    for k, shift in which.items():
        shifts[k] = shift
    return shifts


@pytest.fixture
def check(tiltrec, tmp_path):
    def run(data, *options, tilts=TILTS, **more):
        write_series(tmp_path, data, tilts, "s_ali.mrc")
        done = tiltrec("-a", "BPT", "-T", DEPTH, "--slices", "0:2", "--check-alignment=r.csv",
                       "--json", "r.json", "-o", "rec.mrc", *options, "s_ali.mrc", cwd=tmp_path,
                       **more)
        run.said = done.stderr
        return json.loads((tmp_path / "r.json").read_text())["alignment_check"]
    return run


PLANTED = {3: (6.0, 0.0), 9: (0.0, -2.0), 14: (12.0, 16.0)}


@pytest.mark.parametrize("snr", [1.0, pytest.param(0.1, marks=pytest.mark.slow)])
def test_views_that_are_off(check, snr, tmp_path):
    """Named, with shifts right to a tenth; and nobody else."""
    found = check(views(snr, shifts=planted(PLANTED)))
    assert [v["view"] - 1 for v in found["views"] if v["off"]] == list(PLANTED)
    for k, shift in PLANTED.items():
        view = found["views"][k]
        error = np.hypot(view["across"] - shift[0], view["along"] - shift[1])
        assert error < 0.1 * np.hypot(*shift), (k, view)
    assert "view 4 (-36.0 degrees) is off by 6." in check.said or "off by 5.9" in check.said
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert [int(row["off"]) for row in rows] == [int(v["off"]) for v in found["views"]]
    assert float(rows[14]["along"]) == pytest.approx(found["views"][14]["along"], abs=1e-3)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_good_series(check, seed):
    found = check(views(0.3, seed=seed))
    assert found["views_off"] == 0 and not found["axis_off"]
    assert found["views_known"] == len(TILTS)
    assert found["spread"] < 0.3
    assert "no view is off" in check.said


@pytest.mark.parametrize("axis", [1.0, pytest.param(-1.5, marks=pytest.mark.slow)])
def test_axis(check, axis):
    """Turning the views back by as much as the axis is off."""
    found = check(views(1.0, axis=axis))
    assert found["axis_off"]
    assert found["axis_turn"] == pytest.approx(-axis, abs=0.3)
    assert found["views_off"] == 0


def test_alignment_is_applied(check, tmp_path):
    """Raw views that an .xf aligns are good; the same views without it are not."""
    rng = np.random.default_rng(4)
    shifts = np.round(rng.normal(size=(len(TILTS), 2)) * 4)
    data = views(1.0, shifts=shifts, axis=0.0)
    (tmp_path / "s.xf").write_text("".join(f"1 0 0 1 {-x:g} {-y:g}\n" for x, y in shifts))
    assert check(data, "--transforms", "s.xf")["views_off"] == 0
    raw = check(data)
    assert raw["views_off"] > 9 and raw["spread"] > 2
    assert "they are not aligned" in check.said and "no view is off" not in check.said


@pytest.mark.slow
def test_a_translation_is_no_error(check):
    """X cos t - Z sin t and Y: where the specimen is."""
    t = np.radians(TILTS)
    shifts = np.stack([5 * np.cos(t) - 4 * np.sin(t), np.full(len(t), 3.0)], axis=1)
    found = check(views(1.0, shifts=shifts))
    assert found["views_off"] == 0 and found["spread"] < 0.3


def test_nothing_to_see(check):
    """Noise alone: not an error, not a good alignment."""
    data = np.random.default_rng(1).normal(size=(len(TILTS), SIZE, SIZE)).astype(np.float32)
    found = check(data)
    assert found["views_off"] == 0 and 2 * found["views_known"] < len(TILTS)
    assert found["axis_turn"] is None
    assert "cannot be told from these data" in check.said
    assert "no view is off" not in check.said


@pytest.mark.slow
def test_smaller_working_size_and_binning(check):
    """Shifts are in the file's pixels, whatever --bin does."""
    found = check(views(1.0, shifts=planted(PLANTED)), "--bin", 2)
    assert found["views"][14]["across"] == pytest.approx(12.0, abs=0.3)
    assert found["views"][14]["along"] == pytest.approx(16.0, abs=0.3)


def test_ranks_and_threads(check):
    data = views(0.5)
    alone = check(data)
    assert check(data, threads=3) == alone
    assert check(data, ranks=2) == alone


@pytest.mark.slow
def test_nothing_is_changed(check, tiltrec, tmp_path):
    check(views(1.0))
    checked = read_mrc(tmp_path / "rec.mrc")
    tiltrec("-a", "BPT", "-T", DEPTH, "--slices", "0:2", "-o", "rec.mrc", "s_ali.mrc",
            cwd=tmp_path)
    assert np.array_equal(read_mrc(tmp_path / "rec.mrc"), checked)


def test_dry_run_and_no_file(tiltrec, tmp_path):
    write_series(tmp_path, views(1.0), TILTS, "s_ali.mrc")
    done = tiltrec("-T", DEPTH, "--dry-run", "--check-alignment", "s_ali.mrc", cwd=tmp_path)
    assert "no view is off" in done.stderr
    tiltrec("-T", DEPTH, "--dry-run", "--check-alignment=x.csv", "s_ali.mrc", cwd=tmp_path)
    assert not (tmp_path / "x.csv").exists()


def test_report(check, tmp_path):
    check(views(1.0, shifts=planted(PLANTED)), "--report", "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<section class='card' id='alignment'>" in page
    assert "view 15 (30.0 degrees) is off by" in page


def test_refused(tiltrec, tmp_path):
    tilts = np.arange(-85.0, 86.0, 10.0)
    write_series(tmp_path, 
                 np.random.default_rng(1).normal(size=(len(tilts), 64, 64)).astype(np.float32), tilts, "s_ali.mrc")
    done = tiltrec("-T", 8, "--dry-run", "--check-alignment", "s_ali.mrc", cwd=tmp_path,
                   check=False)
    assert done.returncode == 3
    assert "seen at up to 80 degrees" in done.stderr
