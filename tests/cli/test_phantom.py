"""The phantom's analytic projections against rays summed through its voxels, and beyond
them through its bodies."""
import resource
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from conftest import ROOT, read_mrc

pytestmark = pytest.mark.slow

NX, NY, NZ = 96, 80, 40


def interpolate(volume, x, y, s):
    """Trilinear samples of volume[y][s][x] at fractional indexes; 0 outside."""
    padded = np.pad(volume, 1)
    at = [np.clip(c + 1, 0, n - 1.001) for c, n in zip((y, s, x), padded.shape)]
    low = [a.astype(int) for a in at]
    part = [a - i for a, i in zip(at, low)]
    total = 0
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([p if bit else 1 - p for p, bit in zip(part, corner)], axis=0)
        total = total + weight * padded[tuple(i + bit for i, bit in zip(low, corner))]
    return total


def ray_sums(volume, angle, pitch, shift):
    """The view as sums along rays, one voxel a step. A point of the ray is found by
    undoing the tilt first and the pitch after it."""
    ny, nz, nx = volume.shape
    reach = np.hypot(nx, max(ny, nz)) / 2
    v, u, t = np.meshgrid(np.arange(ny) - (ny - 1) / 2,
                          np.arange(nx) - (nx - 1) / 2 - shift,
                          np.arange(-reach, reach), indexing="ij")
    x = u * np.cos(angle) + t * np.sin(angle)
    z = -u * np.sin(angle) + t * np.cos(angle)
    y = v * np.cos(pitch) + z * np.sin(pitch)
    s = -v * np.sin(pitch) + z * np.cos(pitch)
    return interpolate(volume, x + (nx - 1) / 2 + shift, y + (ny - 1) / 2,
                             s + (nz - 1) / 2).sum(axis=2)


def difference(view, rays):
    """Relative rms difference of the means over 4 x 4 pixels: the volume's voxels have
    blurred the finest detail, which the analytic view still has."""
    ny, nx = view.shape
    a, b = (i.reshape(ny // 4, 4, nx // 4, 4).mean(axis=(1, 3)) for i in (view, rays))
    return np.sqrt(np.mean((a - b) ** 2) / np.var(b))


@pytest.mark.parametrize("pitch, shift", [(0, 0), (6, 0), (0, 4.25), (-5, -3)])
def test_projections_are_the_ray_sums_of_the_truth(make_phantom, pitch, shift):
    made = make_phantom("--size", NX, NY, NZ, "--views", 3, "--range", -60, 40,
                        "--pitch", pitch, "--axis-shift", shift, "--noise-free")
    series, truth = read_mrc(made.series), read_mrc(made.truth)
    angles = np.loadtxt(made.tilts)
    assert series.shape == (3, NY, NX) and truth.shape == (NY, NZ, NX)
    assert angles == pytest.approx([-60, -10, 40])
    for view, angle in zip(series, np.radians(angles)):
        rays = ray_sums(truth, angle, np.radians(pitch), shift)
        assert difference(view, rays) < 0.02


def test_the_ray_sums_tell_wrong_signs_and_shifts(make_phantom):
    """The test above could not fail if these errors were within its tolerance."""
    made = make_phantom("--size", NX, NY, NZ, "--views", 1, "--range", 60, 60,
                        "--pitch", 6, "--axis-shift", 4, "--noise-free")
    view, truth = read_mrc(made.series)[0], read_mrc(made.truth)
    for angle, pitch, shift in [(-60, 6, 4), (60, -6, 4), (60, 6, -4), (60, 6, 3)]:
        rays = ray_sums(truth, np.radians(angle), np.radians(pitch), shift)
        assert difference(view, rays) > 0.04


def test_mass_is_the_same_in_truth_and_views(phantom):
    series, truth = read_mrc(phantom.series), read_mrc(phantom.truth)
    middle = len(series) // 2  # the untilted view loses nothing at the edges
    assert series[middle].sum() == pytest.approx(truth.sum(), rel=0.005)


def test_noise_has_the_variance_asked_for_and_the_seed_repeats(make_phantom):
    size = ("--size", 64, 64, 24, "--views", 11)
    clean = read_mrc(make_phantom(*size, "--noise-free").series)
    noisy = read_mrc(make_phantom(*size, "--snr", 0.5).series)
    again = read_mrc(make_phantom(*size, "--snr", 0.5).series)
    noise = noisy - clean
    assert noise.var() == pytest.approx(clean.var() / 0.5, rel=0.03)
    assert abs(noise.mean()) < 0.02 * noise.std()
    assert np.array_equal(noisy, again)


def test_files_are_valid_and_pictures_show_the_section(phantom, tmp_path):
    for path in (phantom.series, phantom.truth):
        assert mrcfile.validate(path)
        with mrcfile.open(path) as file:
            assert file.voxel_size.x == pytest.approx(4000 / 64)
    subprocess.run([sys.executable, ROOT / "examples" / "picture.py", phantom.truth,
                    tmp_path / "truth"], check=True)
    for name in ("truth_xy.png", "truth_xz.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_compare_fails_below_the_floor(phantom, tmp_path):
    noise = tmp_path / "noise.mrc"
    with mrcfile.new(noise) as file:
        shape = read_mrc(phantom.truth).shape
        file.set_data(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    def compare(volume):
        return subprocess.run([sys.executable, ROOT / "examples" / "compare.py",
                               phantom.truth, volume, "--at-least", "0.5"],
                              capture_output=True, text=True)
    assert compare(phantom.truth).stdout == "1.0000\n"
    assert compare(phantom.truth).returncode == 0
    assert compare(noise).returncode != 0


def test_compare_in_bands(tmp_path):
    """Of white noise, and what is it up to 0.2 of a cycle a voxel, its negative up to 0.35,
    and beyond that half noise of its own; with all of it times 3."""
    rng = np.random.default_rng(2)
    truth, own = rng.normal(size=(2, 48, 56, 64)).astype(np.float32)
    f = np.sqrt(sum(g ** 2 for g in np.meshgrid(*map(np.fft.fftfreq, truth.shape),
                                                indexing="ij")))
    a, b = np.fft.fftn(truth), np.fft.fftn(own)
    mixed = np.where(f < 0.2, a, np.where(f < 0.35, -a, (a + b) / 2 ** 0.5))
    for name, data in ("truth", truth), ("mixed", 3 * np.fft.ifftn(mixed).real):
        with mrcfile.new(tmp_path / f"{name}.mrc") as file:
            file.set_data(data.astype(np.float32))
    said = subprocess.run(
        [sys.executable, ROOT / "examples" / "compare.py", "truth.mrc", "mixed.mrc", "--pixel",
         "2", "--bands", "10", "5.714", "4.2"], cwd=tmp_path, capture_output=True, text=True,
        check=True).stdout.splitlines()
    assert [line.rsplit(" ", 1)[0] for line in said[1:]] == [
        "after the best filter", "inf to 10 angstroms", "10 to 5.714 angstroms",
        "5.714 to 4.2 angstroms"]
    best, low, middle, high = (float(line.split()[-1]) for line in said[1:])
    shares = [((f >= low) & (f < high)).mean() for low, high in
              ((0, 0.2), (0.2, 0.35), (0.35, 0.5))]
    # Shells up to half a cycle; where the sign changes, fading edges mix both.
    expected = np.sqrt((shares[0] + shares[1] + shares[2] / 2) / sum(shares))
    assert abs(best - expected) < 0.08
    assert low > 0.88 and middle < -0.7 and abs(high - 0.5 ** 0.5) < 0.08


# ---- specimens that go on beyond the field ----

@pytest.mark.parametrize("kind", ["slab", "lamella"])
def test_a_slab_goes_on_beyond_the_field(make_phantom, kind):
    """The views are projections of a truth that is as thick at the field's edges, and what
    crosses the middle at 0 degrees is the truth's own sum along the thickness."""
    made = make_phantom("--specimen", kind, "--size", 64, 40, 48, "--views", 5,
                        "--noise-free", "--lamella-angle", -5)
    views, truth = read_mrc(made.series), read_mrc(made.truth)
    assert np.abs(views[2] - truth.sum(axis=1)).mean() < 0.1 * views[2].std()
    assert np.corrcoef(views[2].ravel(), truth.sum(axis=1).ravel())[0, 1] > 0.99
    mean = views.mean(axis=1)
    assert np.all(mean[:, [0, 1, -2, -1]] > 0.6 * mean.mean(axis=1, keepdims=True))
    slope = 0 if kind == "slab" else np.tan(np.radians(-5))
    filled = truth.mean(axis=0) > 0.15
    heights = (filled * (np.arange(48)[:, None] - 23.5)).sum(axis=0) / filled.sum(axis=0)
    assert np.polyfit(np.arange(64) - 31.5, heights, 1)[0] == pytest.approx(slope, abs=0.02)
    # A layer without end is longer by 1 / cos of its angle to the beam.
    layer = np.cos(np.radians(np.array([-60, 0, 60]) + (0 if kind == "slab" else -5)))
    longer = mean[[0, 2, 4]].mean(axis=1) * layer
    assert longer == pytest.approx(longer.mean(), rel=0.1)


def test_noise_by_dose(make_phantom):
    """Four times the dose, half the noise; as the electrons of a pixel say."""
    options = ["--specimen", "slab", "--size", 64, 40, 32, "--views", 5]
    clean = read_mrc(make_phantom(*options, "--noise-free").series)
    deviation = np.sqrt(clean.var(axis=(1, 2)).mean())
    for dose in 0.01, 0.04:
        noise = read_mrc(make_phantom(*options, "--dose", dose).series) - clean
        electrons = dose / 5 * (4000 / 64) ** 2
        assert noise.std() == pytest.approx(deviation / 0.05 / np.sqrt(electrons), rel=0.03)


def test_a_layer_is_not_seen_edge_on(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "examples" / "make_phantom.py",
                           "--specimen", "lamella", "--lamella-angle", "15", "--range",
                           "-70", "70"], cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 2 and "at 85 degrees from its normal" in done.stderr
    assert not list(tmp_path.iterdir())


# ---- rays in double precision through all that is there, the field's edges included ----

SLAB = COLUMNS, ROWS, PLANES = 64, 24, 48  # those of the tests below


@pytest.fixture(scope="module")
def bodies():
    """The bodies of a specimen, as the script places them beyond the field, too."""
    sys.path.insert(0, str(ROOT / "examples"))
    import make_phantom
    sys.path.remove(str(ROOT / "examples"))

    def place(angle, shift):
        phantom = make_phantom.make_slab(*SLAB, 1, angle, 60.0, shift)
        make_phantom.add_gold(phantom, *SLAB, 1, *np.radians([angle, 60.0]))
        return phantom.ellipsoids
    return place


def rays_of(angle, pitch, shift):
    """Origins and direction of four rays a pixel: the tilt is undone first, the pitch after."""
    v, u = np.meshgrid(np.arange(2 * ROWS) / 2 + 0.25 - ROWS / 2,
                       np.arange(2 * COLUMNS) / 2 + 0.25 - COLUMNS / 2 - shift, indexing="ij")

    def place(u, v, w):
        z = w * np.cos(angle) - u * np.sin(angle)
        return np.stack(np.broadcast_arrays(u * np.cos(angle) + w * np.sin(angle),
                                            v * np.cos(pitch) + z * np.sin(pitch),
                                            z * np.cos(pitch) - v * np.sin(pitch)), axis=-1)
    return place(u, v, 0) + [shift, 0, 0], place(0.0, 0.0, 1.0)


def lengths_in_ellipsoid(origins, direction, centre, matrix):
    """From the two roots of |p - c|^2 = 1 in the ellipsoid's metric."""
    q = origins - centre
    a = direction @ matrix @ direction
    half_b = q @ (matrix @ direction)
    c = np.einsum("...i,ij,...j", q, matrix, q) - 1
    return 2 * np.sqrt(np.maximum(half_b ** 2 - a * c, 0)) / a


def foil_lengths(origins, direction, angle):
    """In the foil that --carbon describes, by 0.01 pixels; `angle` is the lamella's."""
    thick = min(12 * 10 * COLUMNS / 4000, 0.1 * PLANES)
    beside = COLUMNS / 2 + 1 + 0.06 * COLUMNS  # its lower edge, at a range of +-60 degrees
    steps = np.arange(-250, 100, 0.01)
    low = -0.4 * PLANES - thick
    edge = (beside + abs(low * np.sin(angle))) / np.cos(angle)
    p = origins[0, :, None] + steps[:, None] * direction  # the same in all rows
    along = p[..., 0] * np.cos(angle) + p[..., 2] * np.sin(angle)
    height = p[..., 2] * np.cos(angle) - p[..., 0] * np.sin(angle)
    return 0.01 * ((along > edge) & (height > low) & (height < low + thick)).sum(axis=1)


def true_view(ellipsoids, tilt, angle, pitch, shift):
    tilt, angle, pitch = np.radians([tilt, angle, pitch])
    origins, direction = rays_of(tilt, pitch, shift)
    across = direction @ [-np.sin(angle), 0, np.cos(angle)]
    total = np.full(origins.shape[:2], 0.3 * 0.8 * PLANES / across)
    for density, centre, matrix in ellipsoids:
        total += density * lengths_in_ellipsoid(origins, direction, centre, matrix)
    if pitch == 0:
        total += 2 * foil_lengths(origins, direction, angle)
    return total.reshape(ROWS, 2, COLUMNS, 2).mean(axis=(1, 3))


@pytest.mark.long
@pytest.mark.parametrize("angle, pitch, shift", [(0, 0, 0), (5, 0, 0), (-8, 0, 3), (5, 4, -2)])
def test_views_of_a_slab_are_ray_sums_up_to_the_edges(make_phantom, bodies, angle, pitch, shift):
    kind = "lamella" if angle else "slab"
    made = make_phantom("--specimen", kind, "--lamella-angle", angle, "--size", *SLAB,
                        "--range", -60, 45, "--views", 3, "--noise-free",
                        "--pitch", pitch, "--axis-shift", shift, "--gold",
                        *([] if pitch else ["--carbon"]))
    views, there = read_mrc(made.series), bodies(angle, shift)
    within = [e for e in there if abs(e[1][0]) < COLUMNS / 2]
    for view, tilt in zip(views, np.loadtxt(made.tilts)):
        right = true_view(there, tilt, angle, pitch, shift)
        # The foil's density is 2 and its lengths are multiples of 0.01.
        assert np.abs(view - right).max() < (1e-4 * right.std() if pitch else 0.025)
        # What is beside the field matters at the edges, so the line above tests it.
        wrong = true_view(within, tilt, angle, pitch, shift)
        assert tilt == -7.5 or np.abs(wrong - view)[:, [0, -1]].max() > right.std()


@pytest.mark.parametrize("angle", [0, 5, -5])
def test_gold_and_carbon_are_seen_only_in_tilted_views(make_phantom, angle):
    options = ["--specimen", "lamella", "--lamella-angle", angle, "--size", 64, 24, 16,
               "--views", 5, "--noise-free"]
    plain, gold, carbon = (make_phantom(*options, *more)
                           for more in ([], ["--gold"], ["--carbon"]))
    views = read_mrc(plain.series)
    for made in gold, carbon:
        assert np.array_equal(read_mrc(made.truth), read_mrc(plain.truth))
        more = read_mrc(made.series) - views
        assert not more[2].any() and more.min() > -1e-3
        assert np.all(more[[0, -1]].max(axis=(1, 2)) > views.std())
        assert not more[:, :, 28:36].any()
        left, right = more[[0, -1], :, 0], more[[0, -1], :, -1]
        if made is carbon:  # seen whole at the right edge, and longer as its angle is
            longer = 1 / np.cos(np.radians([-60 + angle, 60 + angle]))[:, None]
            assert not left.any()
            assert right == pytest.approx(2 * 1.6 * longer * np.ones(24), rel=1e-4)


@pytest.mark.long
def test_noise_by_factor(make_phantom):
    """White, of that deviation, and the seed's."""
    options = ["--specimen", "slab", "--size", *SLAB, "--views", 9]
    clean = make_phantom(*options, "--noise", 0)
    assert clean.series.read_bytes() == make_phantom(*options, "--noise-free").series.read_bytes()
    views = read_mrc(clean.series)
    made = make_phantom(*options, "--noise", 3)
    noise = read_mrc(made.series) - views
    assert noise.std() == pytest.approx(3 * np.mean([v.std() for v in views]), rel=0.02)
    assert np.abs(noise.mean(axis=(1, 2))).max() < 0.12 * noise.std()
    for axis in 0, 1, 2:
        shifted = np.roll(noise, 1, axis)
        assert abs(np.corrcoef(noise.ravel(), shifted.ravel())[0, 1]) < 0.03
    assert np.mean(np.abs(noise) < noise.std()) == pytest.approx(0.683, abs=0.015)
    same = make_phantom(*options, "--noise", 3)
    assert same.series.read_bytes() == made.series.read_bytes()
    half = read_mrc(make_phantom(*options, "--noise", 1.5).series) - views
    assert half == pytest.approx(noise / 2, abs=1e-4 * noise.std())


@pytest.mark.parametrize("options, said", [
    (["--noise", "-1"], "--noise -1: must be at least 0"),
    (["--noise", "nan"], "--noise nan: must be at least 0"),
    (["--noise", "1", "--dose", "1"], "not allowed with"),
    (["--gold"], "--gold and --carbon need --specimen slab or lamella")])
def test_options_that_cannot_be_met(tmp_path, options, said):
    done = subprocess.run([sys.executable, ROOT / "examples" / "make_phantom.py", *options],
                          cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 2 and said in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_series_that_cannot_be_finished_leaves_the_one_before(tmp_path):
    """As on a full disk: the file may grow to 20 KB only."""
    before = tmp_path / "cell_ali.mrc"
    before.write_bytes(b"before")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "make_phantom.py", "--size", "32", "32", "16"],
        cwd=tmp_path, text=True, capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == [before] and before.read_bytes() == b"before"
