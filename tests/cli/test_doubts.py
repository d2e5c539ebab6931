"""What can be read of the inputs but hardly be meant is said; and with --slices only what is
read is looked at, for the same bytes."""
import re

import mrcfile
import numpy as np
import pytest

from conftest import read_mrc, write_mrc, write_series
from test_alignment_files import aln

N, ROWS, COLUMNS = 7, 40, 64
TILTS = np.linspace(-60, 60, N)


@pytest.fixture
def series(tmp_path):
    rng = np.random.default_rng(1)
    return write_series(tmp_path, 100 + 20 * rng.normal(size=(N, ROWS, COLUMNS)), TILTS)


def run_with(tiltrec, folder, series, lines, *more, check=True):
    np.savetxt(folder / "s.xf", lines, "%.9g")
    return tiltrec("-T", 9, "--transforms", "s.xf", "-o", "o.mrc", *more, series, cwd=folder,
                   check=check)


def identities():
    return np.tile([1.0, 0, 0, 1, 0.5, 0], (N, 1))


def warnings_of(done):
    return [line for line in done.stderr.splitlines() if "warning: " in line]


@pytest.mark.parametrize("dx, dy", [(1e6, 0), (-64, 0), (0, 41), (1e308, 0), (65, -41)])
def test_a_view_moved_out_of_its_image(tiltrec, series, tmp_path, dx, dy):
    lines = identities()
    lines[3, 4:] = dx, dy
    said = warnings_of(run_with(tiltrec, tmp_path, series, lines))
    assert len(said) == 1 and "moves 1 of 7 views out of their images" in said[0]
    assert "view 4 by" in said[0] and "--exclude 4" in said[0]
    assert not warnings_of(run_with(tiltrec, tmp_path, series, lines, "--exclude", 4))


def test_all_views_moved_out(tiltrec, series, tmp_path):
    lines = identities()
    lines[:, 4] = 500
    done = run_with(tiltrec, tmp_path, series, lines, check=False)
    assert done.returncode == 1 and "moves every view out of its image" in done.stderr
    assert not (tmp_path / "o.mrc").exists()


@pytest.mark.parametrize("line, word", [
    ([1, 0, 0, 1, 50, 0], "leaves little of 1 of 7 views, the least, 22 %, of view 4"),
    ([1, 0, 0, 1, 40, 25], "leaves little of 1 of 7 views, the least, 14 %, of view 4"),
    ([0.01, 0, 0, 0.01, 0, 0], "magnifies 1 of 7 views by much, view 4 0.01 times"),
    ([20, 0, 0, 20, 0, 0], "magnifies 1 of 7 views by much, view 4 20 times"),
    ([3, 0, 0, 1.5, 0, 0], "magnifies 1 of 7 views by much")])
def test_little_left_of_a_view(tiltrec, series, tmp_path, line, word):
    lines = identities()
    lines[3] = line
    said = warnings_of(run_with(tiltrec, tmp_path, series, lines))
    assert any(word in s for s in said), said


def test_usual_transforms_are_silent(tiltrec, series, tmp_path):
    """Shifts of a third, turns by any angle, a magnification of a few percent."""
    for angle in np.radians([0, 3, 85, 90, -176]):
        c, s = 1.02 * np.cos(angle), 1.02 * np.sin(angle)
        lines = np.tile([c, -s, s, c, COLUMNS / 4, -ROWS / 5], (N, 1))
        assert not warnings_of(run_with(tiltrec, tmp_path, series, lines)), angle


@pytest.mark.parametrize("option", ["--tilts", "--transforms"])
def test_gmag(tiltrec, series, tmp_path, option):
    text = aln(range(N), (COLUMNS, ROWS, N), np.zeros(N), np.zeros((N, 2)), tilts=TILTS)
    (tmp_path / "s.aln").write_text(text)
    options = ["-T", 9, "-o", "o.mrc", option, "s.aln", series]
    assert "GMAG" not in tiltrec(*options, cwd=tmp_path).stderr
    parts = text.splitlines()
    at = next(k for k, line in enumerate(parts) if not line.startswith("#")) + 2
    parts[at] = parts[at].replace("1.00000", "1.02500", 1)
    (tmp_path / "s.aln").write_text("\n".join(parts) + "\n")
    said = warnings_of(tiltrec(*options, cwd=tmp_path))
    assert any("one of them 1.025 times (GMAG), which is not applied" in s for s in said), said


@pytest.mark.parametrize("pixel, doubted", [(1e-9, True), (1.35e-10, True), (0.13, False),
                                            (6.5e4, False), (1e9, True)])
def test_a_pixel_size_in_another_unit(tiltrec, series, tmp_path, pixel, doubted):
    with mrcfile.open(series, "r+") as file:
        file.voxel_size = pixel
    said = "\n".join(warnings_of(tiltrec("-T", 9, "-o", "o.mrc", series, cwd=tmp_path)))
    assert (re.search(r"angstroms a pixel, which cannot be right", said) is not None) == doubted


# ---- only what is read is looked at ----

SLICES = [["-a", "WBP"], ["-a", "WBP", "--pitch", 8], ["-a", "SIRT", "-i", 5], ["-a", "SIRT"],
          ["-a", "WBP", "--log", 10], ["-a", "FBP", "--bin", 2]]


@pytest.mark.parametrize("options", SLICES, ids=lambda o: " ".join(map(str, o)))
@pytest.mark.parametrize("bad", [False, True], ids=["", "NaN"])
def test_slices_are_those_of_the_whole(tiltrec, tiltrecz, tmp_path, options, bad):
    """Also where a pixel is bad, in a row that is read or in one that is not."""
    views = 100 + 20 * np.random.default_rng(2).normal(size=(N, 300, 48))
    if bad:
        views[2, 100, 7] = views[3, 20, 9] = views[4, 103, 11] = np.nan
    series = write_series(tmp_path, views, TILTS)
    first, last = (50, 54) if "--bin" in options else (100, 107)
    for run in tiltrec, tiltrecz:
        run(*options, "-T", 12, "-o", "all.mrc", series, cwd=tmp_path)
        run(*options, "-T", 12, "-o", "few.mrc", "--slices", f"{first}:{last}", series,
            cwd=tmp_path)
        whole = read_mrc(tmp_path / "all.mrc")[first:last + 1]
        np.testing.assert_array_equal(read_mrc(tmp_path / "few.mrc"), whole)


def test_a_few_slices_need_not_all_of_the_file(tiltrec, tmp_path):
    """The bytes that a run reads of its series, as the kernel counts them."""
    views = np.random.default_rng(3).normal(size=(11, 2000, 200)).astype(np.float32)
    series = write_series(tmp_path, views, np.linspace(-60, 60, 11))
    read = {}
    for name, more in ("few", ["--slices", "900:903"]), ("all", []):
        log = tmp_path / name
        done = tiltrec("-T", 20, "-o", "o.mrc", *more, series, cwd=tmp_path, wrapper=(
            "sh", "-c", f'"$@"; cat /proc/$$/io > {log}', "sh"))
        assert done.returncode == 0
        read[name] = int(re.search(r"rchar: (\d+)", log.read_text())[1])
    size = series.stat().st_size
    assert read["all"] > size and read["few"] < 0.2 * size, (read, size)


def test_a_view_constant_in_the_rows_that_are_read(tiltrec, tmp_path):
    """It is none: nothing is said, and nothing refused."""
    views = np.random.default_rng(4).normal(size=(N, 200, 40))
    views[2, 90:140] = 5.0
    series = write_series(tmp_path, views, TILTS)
    done = tiltrec("-T", 12, "-o", "o.mrc", "--slices", "100:104", series, cwd=tmp_path)
    assert not [line for line in warnings_of(done) if "is constant" in line]
    views[:, :20] = 0.0
    write_mrc(series, views)
    done = tiltrec("-T", 12, "-o", "o.mrc", "--slices", "5:6", series, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "every voxel is 0" in done.stderr
