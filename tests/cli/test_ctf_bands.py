"""The CTF by bands of depth: which image of a view a voxel is seen in, against numpy."""
import json

import numpy as np
import pytest

from conftest import difference, read_mrc, runner, write_series
from test_ctf import OPTICS, ctf, filtered, spot, wavelength

PIXEL, DEFOCUS = 1.03125, 6000.0
TILTS = [-50, -20, 0, 35]
N_V, N_U, BLOCK = 40, 96, 16


def write_defocus(path, defocus=DEFOCUS, first="1 4 -60 60 {} 2"):
    path.write_text(first.format(defocus / 10) + "\n")


@pytest.fixture
def series(tmp_path):
    views = np.array([spot(N_V, N_U, seed) for seed in range(len(TILTS))])
    write_defocus(tmp_path / "a.defocus")
    write_series(tmp_path, views.astype(np.float32), TILTS, pixel=PIXEL)
    return views


CTF = ["--ctf", "a.defocus", *OPTICS]


def band_middles(low, high, off):
    """Of as few bands as need be, of which the worst voxel is `off` from the middle."""
    if max(-low, high) <= off:
        return np.zeros(1)
    n = max(1, int(np.ceil((high - low) / (2 * off) - 1e-9)))
    return low + (high - low) * (np.arange(n) + 0.5) / n


def reference(views, width, thickness, phi, hand=1, offset=0.0, x_shift=0.0, z_shift=0.0):
    """Plain backprojection, and how many bands each view has."""
    off = phi / (np.pi * wavelength(300.0) * (0.5 / PIXEL) ** 2) / PIXEL
    axis_x, axis_z = width // 2 - 0.5 + x_shift, thickness // 2 - 0.5 + z_shift
    x, s = np.arange(width) - axis_x, np.arange(thickness) - axis_z
    middle = [np.minimum(np.arange(n) // BLOCK * BLOCK, 10 ** 6) + (BLOCK - 1) / 2
              for n in (width, thickness)]
    every, deepest = [], 0.0
    for tilt in np.radians(np.array(TILTS) + offset):
        ends = [f * (end - axis) for f, n, axis in ((np.sin(tilt), width, axis_x),
                                                    (np.cos(tilt), thickness, axis_z))
                for end in (-0.5, n - 0.5)]
        low = min(ends[:2]) + min(ends[2:])
        high = max(ends[:2]) + max(ends[2:])
        every.append(band_middles(low, high, off))
        deepest = max(deepest, np.abs(every[-1]).max())
    total = np.zeros((N_V, thickness, width))
    for image, tilt, bands in zip(views, np.radians(np.array(TILTS) + offset), every):
        images = np.array([
            filtered(image, PIXEL, DEFOCUS + PIXEL * deepest,
                     lambda shape, d=depth: np.sign(
                         ctf(shape, PIXEL, DEFOCUS + hand * PIXEL * d)))
            for depth in bands])
        depth = ((middle[0] - axis_x)[None, :] * np.sin(tilt)
                 + (middle[1] - axis_z)[:, None] * np.cos(tilt))
        chosen = np.abs(depth[..., None] - bands).argmin(-1)
        u = N_U / 2 - 0.5 + x[None, :] * np.cos(tilt) - s[:, None] * np.sin(tilt)
        column = np.floor(u).astype(int)
        assert column.min() >= 0 and column.max() < N_U - 1
        right = u - column
        total += ((1 - right) * images[chosen, :, column].transpose(2, 0, 1)
                  + right * images[chosen, :, column + 1].transpose(2, 0, 1))
    return total / len(views), [len(bands) for bands in every]


@pytest.mark.parametrize("size, phi, options, geometry", [
    ((48, 20), 0.1, [], {}),
    ((48, 20), 0.1, ["--defocus-hand", "-1"], {"hand": -1}),
    ((41, 33), 0.05, ["--tilt-offset", 4, "--x-shift", 6, "--z-shift", -9],
     {"offset": 4.0, "x_shift": 6.0, "z_shift": -9.0}),
    ((20, 10), 0.1, ["--x-shift", -30, "--z-shift", 4], {"x_shift": -30.0, "z_shift": 4.0})])
def test_against_numpy(tiltrec, tmp_path, series, size, phi, options, geometry):
    done = tiltrec("-a", "BPT", "-w", size[0], "-T", size[1], *CTF, "--ctf-band", phi, *options,
                   "-o", "rec.mrc", "--json", "r.json", "s_ali.mrc", cwd=tmp_path)
    wanted, bands = reference(series, *size, phi, **geometry)
    got = read_mrc(tmp_path / "rec.mrc")
    assert difference(got, wanted) < 1e-5
    result = json.loads((tmp_path / "r.json").read_text())
    assert [view["depth_bands"] for view in result["views"]["list"]] == bands
    assert result["ctf"]["hand"] == geometry.get("hand", 1)
    assert result["ctf"]["band_phase_radian"] == phi
    assert f"{min(bands)} to {max(bands)} bands of depth a view" in done.stderr
    assert f"{sum(bands)} images of 4 views" in done.stderr
    other, _ = reference(series, *size, phi, **{**geometry, "hand": -geometry.get("hand", 1)})
    assert difference(got, other) > 0.1


def test_the_hand_of_the_file(tiltrec, tmp_path, series):
    """IMOD's flag for inverted angles, and an option against it."""
    options = ["-a", "BPT", "-w", 48, "-T", 20, *CTF, "--ctf-band", 0.1]
    made = {}
    for name, first, more in [("plain", "1 4 -60 60 {} 2", []),
                              ("minus", "1 4 -60 60 {} 2", ["--defocus-hand", "-1"]),
                              ("flag", "16 0 0 0 0 3\n1 4 -60 60 {}", []),
                              ("against", "16 0 0 0 0 3\n1 4 -60 60 {}",
                               ["--defocus-hand", "+1"])]:
        write_defocus(tmp_path / "a.defocus", first=first)
        done = tiltrec(*options, *more, "-o", "rec.mrc", "s_ali.mrc", cwd=tmp_path)
        made[name] = read_mrc(tmp_path / "rec.mrc")
        assert ("says that its tilt angles are inverted" in done.stderr) == (name == "against")
    assert np.array_equal(made["minus"], made["flag"])
    assert np.array_equal(made["plain"], made["against"])
    assert not np.array_equal(made["plain"], made["minus"])


@pytest.mark.parametrize("more", [[], ["--pitch", 5], ["--xtilts", "x.txt"]], ids=str)
def test_neither_memory_threads_nor_ranks_show(build_dir, tiltrec, tmp_path, more):
    rng = np.random.default_rng(3)
    angles = np.linspace(-60, 60, 11)
    views = rng.normal(0, 1, (11, 150, 64)).astype(np.float32)
    write_series(tmp_path, views, angles, pixel=PIXEL)
    write_defocus(tmp_path / "a.defocus", first="1 11 -60 60 {} 2")
    (tmp_path / "x.txt").write_text("\n".join(map(str, rng.normal(0, 1, 11))) + "\n")
    options = ["-T", 40, "-w", 70, *CTF, "--ctf-band", 0.1, *more, "-o", "rec.mrc", "s_ali.mrc"]

    def make(*others, program="tiltrec-mpi", **how):
        done = runner(build_dir, program)(*options, *others, cwd=tmp_path, **how)
        return (tmp_path / "rec.mrc").read_bytes(), done.stderr

    whole, said = make()
    slices = read_mrc(tmp_path / "rec.mrc")
    assert "bands of depth a view" in said
    for ranks in (2, 3) if not more else (3,):
        assert make(ranks=ranks)[0] == whole
    assert make(threads=3)[0] == whole
    few, said = make("--memory", "80M" if not more else "90M")
    assert few == whole
    make("--slices", "37:81")
    assert np.array_equal(read_mrc(tmp_path / "rec.mrc"), slices[37:82])


def test_one_band_is_one_defocus(tiltrec, tmp_path):
    """Where the pixel is large, nothing changes."""
    views = np.array([spot(N_V, N_U, seed) for seed in range(len(TILTS))])
    write_defocus(tmp_path / "a.defocus", 20000)
    write_series(tmp_path, views.astype(np.float32), TILTS, pixel=10.0)
    made = []
    for more in [], ["--ctf-band", "off"], ["--defocus-hand", "-1"]:
        done = tiltrec("-T", 20, *CTF, *more, "-o", "rec.mrc", "s_ali.mrc", cwd=tmp_path)
        made.append((tmp_path / "rec.mrc").read_bytes())
        assert ("one defocus for all of a view will do" in done.stderr) == ("off" not in more)
    assert made[0] == made[1] == made[2]


def test_what_projects_has_one_defocus(tiltrec, tmp_path, series):
    made = []
    for more in [], ["--ctf-band", "off"]:
        done = tiltrec("-a", "SIRT", "-i", 2, "-T", 20, *CTF, *more, "-o", "rec.mrc", "s_ali.mrc",
                       cwd=tmp_path)
        made.append((tmp_path / "rec.mrc").read_bytes())
        assert ("this algorithm projects" in done.stderr) == (not more)
    assert made[0] == made[1]


def test_the_volume_program(build_dir, tmp_path, series):
    """The same slices, but with a pitch one defocus, and it says so."""
    volume, slices = runner(build_dir, "tiltrecz-mpi"), runner(build_dir, "tiltrec-mpi")
    options = ["-T", 20, *CTF, "--ctf-band", 0.1, "-o", "rec.mrc", "s_ali.mrc"]
    made = []
    for program in volume, slices:
        done = program(*options, cwd=tmp_path)
        made.append(read_mrc(tmp_path / "rec.mrc"))
        assert "bands of depth a view" in done.stderr
    assert np.array_equal(*made)
    done = volume(*options, "--pitch", 3, cwd=tmp_path)
    assert "only the slice program knows bands of depth" in done.stderr


def test_halves_trials_and_reports(tiltrec, tmp_path, series):
    options = ["-T", 24, *CTF, "--ctf-band", 0.1, "s_ali.mrc"]
    done = tiltrec(*options, "-o", "rec.mrc", "--half-sets", "views", "--report", "r.html",
                   "--json", "r.json", cwd=tmp_path)
    assert done.stderr.count("bands of depth a view") == 1
    whole, even, odd = (read_mrc(tmp_path / f"rec{name}.mrc") for name in ("", "_EVN", "_ODD"))
    assert not np.array_equal(even, odd)
    assert "bands of depth a view, hand +1" in (tmp_path / "r.html").read_text()
    result = json.loads((tmp_path / "r.json").read_text())
    assert len(result["views"]["list"]) == 4
    for half, views in (even, "2,4"), (odd, "1,3"):
        tiltrec(*options, "-o", "half.mrc", "--include", views, cwd=tmp_path)
        assert np.array_equal(read_mrc(tmp_path / "half.mrc"), half)
    done = tiltrec(*options, "--dry-run", cwd=tmp_path)
    assert "bands of depth a view" in done.stderr
    tiltrec(*options, "--try", "z-shift=-4:4:4", "-o", "sheet.png", cwd=tmp_path)
    assert (tmp_path / "sheet.png").exists()
    assert whole.shape == even.shape


@pytest.mark.parametrize("value", ["0", "-1", "11", "none", "0.5x", "nan"])
def test_what_is_no_phase(tiltrec, tmp_path, series, value):
    done = tiltrec("-T", 20, *CTF, "--ctf-band", value, "-o", "rec.mrc", "s_ali.mrc",
                   cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert f"--ctf-band {value}: a phase from 0.01 to 10 radians, or off" in done.stderr
