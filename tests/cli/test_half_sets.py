"""Even and odd tomograms in one run, and their Fourier ring correlation."""
import json
import re
import subprocess

import numpy as np
import pytest

from bad_input import on_small_disk
from conftest import read_mrc, runner, write_mrc, write_series

TILTS = np.linspace(-57, 57, 20)
DOSE_SYMMETRIC = np.array([0, 3, -3, -6, 6, 9, -9, -12, 12, 15, -15, -18, 18, 21, -21, -24,
                           24, 27, -27, -30], float)
LABELS = slice(220, 1024)  # of an MRC file, their number first
USAGE, DATA = 2, 1


def noisy(shape, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(5, 1, shape) + np.sin(np.arange(shape[2]) / 3)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("halves"), noisy((20, 37, 32), 1), TILTS)


def but_labels(path):
    data = bytearray(path.read_bytes())
    data[LABELS] = bytes(len(data[LABELS]))
    return bytes(data)


def same_but_labels(folder, pairs):
    for a, b in pairs:
        assert but_labels(folder / a) == but_labels(folder / b), (a, b)


def odd_and_even(tilts, used):
    """The views of each half as lists for --include, from the rule in the manual."""
    descending = tilts[used[0]] > tilts[used[-1]]
    order = sorted(used, key=lambda k: (-tilts[k] if descending else tilts[k], k))
    return [",".join(str(k + 1) for k in sorted(order[first::2])) for first in (0, 1)]


def list_of(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- the halves are what separate runs make ----

@pytest.mark.parametrize("program, options", [
    ("tiltrec-mpi", []), ("tiltrec-mpi", ["--order", "xyz", "--pitch", 4, "--bin", 2]),
    ("tiltrec-mpi", ["-a", "SART", "-i", 2, "--slices", "5:30"]),
    ("tiltrecz-mpi", ["-a", "CGLS", "-i", 2]), ("tiltrecz-mpi", ["-a", "WBP"])])
def test_views(build_dir, series, tmp_path, program, options):
    run = runner(build_dir, program)
    options = ["-T", 16, *options, series]
    said = run("-o", "rec.mrc", "--half-sets", "views", *options, cwd=tmp_path).stderr
    assert "every second view by angle, 10 even and 10 odd" in said
    odd, even = odd_and_even(TILTS, range(20))
    assert odd == "1,3,5,7,9,11,13,15,17,19"
    run("-o", "full.mrc", *options, cwd=tmp_path)
    run("-o", "odd.mrc", "--include", odd, *options, cwd=tmp_path)
    run("-o", "even.mrc", "--include", even, *options, cwd=tmp_path)
    assert (tmp_path / "rec.mrc").read_bytes() == (tmp_path / "full.mrc").read_bytes()
    same_but_labels(tmp_path, [("rec_ODD.mrc", "odd.mrc"), ("rec_EVN.mrc", "even.mrc")])
    assert b"odd half, 10 views" in (tmp_path / "rec_ODD.mrc").read_bytes()[224:1024]
    assert list_of(tmp_path) == ["even.mrc", "full.mrc", "odd.mrc", "rec.mrc",
                                 "rec_EVN.mrc", "rec_ODD.mrc"]


@pytest.mark.parametrize("tilts", [TILTS[::-1], DOSE_SYMMETRIC], ids=["descending", "dose"])
def test_views_in_another_order(tiltrec, tmp_path, tilts):
    """Both halves cover the range evenly; what is left out does not count."""
    series = write_series(tmp_path, noisy((20, 16, 24), 2), tilts)
    used = [k for k in range(20) if k not in (4, 5, 11)]
    odd, even = odd_and_even(tilts, used)
    tiltrec("-T", 8, "-o", "rec.mrc", "--half-sets", "views", "--exclude", "5-6,12", series,
            cwd=tmp_path)
    for name, views in ("ODD", odd), ("EVN", even):
        chosen = tilts[[int(k) - 1 for k in views.split(",")]]
        assert np.diff(np.sort(chosen)).max() <= 4 * np.abs(np.diff(np.sort(tilts))).min()
        tiltrec("-T", 8, "-o", "one.mrc", "--include", views, series, cwd=tmp_path)
        same_but_labels(tmp_path, [(f"rec_{name}.mrc", "one.mrc")])


@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_frames(build_dir, series, tmp_path, program):
    """The geometry, angles, exclusions and transforms are those of the full series."""
    run = runner(build_dir, program)
    for seed, name in (3, "e.mrc"), (4, "o.mrc"):
        write_mrc(tmp_path / name, noisy((20, 37, 32), seed))
    turn = np.radians(np.linspace(2, 5, 20))
    np.savetxt(tmp_path / "s.xf", np.column_stack(
        [np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn), turn, -turn]), "%.7f")
    options = ["-T", 16, "-a", "SIRT", "-i", 3, "--transforms", "s.xf", "--exclude", "3,9",
               "--pitch", 3]
    said = run("-o", "rec.mrc", "--half-sets", "frames", "e.mrc", "o.mrc", *options, series,
               cwd=tmp_path).stderr
    assert "of the even frames e.mrc, of the odd frames o.mrc" in said
    tilts = ["-t", series.with_suffix(".tlt")]
    run("-o", "full.mrc", *options, series, cwd=tmp_path)
    run("-o", "even.mrc", *options, *tilts, "e.mrc", cwd=tmp_path)
    run("-o", "odd.mrc", *options, *tilts, "o.mrc", cwd=tmp_path)
    same_but_labels(tmp_path, [("rec.mrc", "full.mrc"), ("rec_EVN.mrc", "even.mrc"),
                               ("rec_ODD.mrc", "odd.mrc")])


def test_many_processes(tiltrec, tiltrecz, series, tmp_path):
    """The same bytes, and nothing beside them; the programs agree on the halves."""
    for run, name in (tiltrec, "s"), (tiltrecz, "z"):
        for ranks in None, 2:
            run("-T", 16, "-a", "SIRT", "-i", 2, "--mode", "int16", "-o",
                f"{name}{ranks}.mrc", "--half-sets", "views", series, cwd=tmp_path,
                ranks=ranks)
        for half in "", "_EVN", "_ODD":
            a, b = (tmp_path / f"{name}{n}{half}.mrc" for n in (None, 2))
            assert a.read_bytes() == b.read_bytes()
    assert len(list_of(tmp_path)) == 12
    for half in "", "_EVN", "_ODD":
        a, b = (read_mrc(tmp_path / f"{name}None{half}.mrc") for name in "sz")
        assert np.abs(a - b).max() <= 1


def test_one_scaling_for_all(tiltrec, series, tmp_path):
    options = ["-T", 16, "--half-sets", "views", series]
    tiltrec("-o", "float.mrc", *options, cwd=tmp_path)
    said = tiltrec("-o", "int.mrc", "--mode", "uint16", *options, cwd=tmp_path).stderr
    scaling = re.findall(r"scaling: density = (\S+) \* stored (\S+)", said)
    assert len(scaling) == 1
    step, offset = map(float, scaling[0])
    floats = [read_mrc(tmp_path / f"float{half}.mrc") for half in ("", "_EVN", "_ODD")]
    low = min(max(v.min(), v.mean() - 6 * v.std()) for v in floats)
    high = max(min(v.max(), v.mean() + 6 * v.std()) for v in floats)
    assert step == pytest.approx((high - low) / 65535, rel=1e-6)
    for volume, half in zip(floats, ("", "_EVN", "_ODD")):
        path = tmp_path / f"int{half}.mrc"
        assert scaling[0][0].encode() in path.read_bytes()[224:1024]
        restored = step * read_mrc(path) + offset
        assert np.abs(restored - np.clip(volume, low, high)).max() < 0.51 * step


def test_compressed_files(tiltrec, series, tmp_path):
    h5py = pytest.importorskip("h5py")
    for name, more in ("a.hdf", ["--deflate", 1]), ("b.mrc", []):
        tiltrec("-T", 16, "-o", name, "--half-sets", "views", "--mode", "int16", *more,
                series, cwd=tmp_path)
    for half in "", "_EVN", "_ODD":
        with h5py.File(tmp_path / f"a{half}.hdf") as file:
            data = file["/MDF/images/0/image"]
            assert data.compression == "gzip"
            assert np.array_equal(data[:], read_mrc(tmp_path / f"b{half}.mrc"))


def test_on_a_device(build_dir, series, tmp_path):
    """The emulated device; the whole volume reserves its memory three times."""
    for program, options in ("tiltrec", ["-a", "WBP"]), ("tiltrecz", ["-a", "SIRT", "-i", 2]):
        path = build_dir / "tests" / "cudaemu" / f"{program}-cudaemu"
        if not path.exists():
            pytest.skip("the emulation is not built")
        run = runner(build_dir, f"tests/cudaemu/{program}-cudaemu")
        options = ["-T", 16, *options, "--kernel", "tile", series]
        run("-o", f"{program}.mrc", "--half-sets", "views", *options, cwd=tmp_path)
        odd, _ = odd_and_even(TILTS, range(20))
        run("-o", "odd.mrc", "--include", odd, *options, cwd=tmp_path)
        same_but_labels(tmp_path, [(f"{program}_ODD.mrc", "odd.mrc")])


# ---- more parts than two ----

@pytest.mark.parametrize("program, splits, options", [
    ("tiltrec-mpi", 4, []), ("tiltrec-mpi", 3, ["-a", "SIRT", "-i", 2, "--mode", "int16"]),
    ("tiltrecz-mpi", 8, ["-a", "WBP"])])
def test_splits(build_dir, tmp_path, program, splits, options):
    """Each is what the run with its views makes, whatever order they were taken in."""
    run = runner(build_dir, program)
    series = write_series(tmp_path, noisy((20, 16, 24), 2), DOSE_SYMMETRIC)
    options = ["-T", 8, *options, series]
    said = run("-o", "rec.mrc", "--half-sets", "views", "--splits", splits, "--exclude", "7",
               *options, cwd=tmp_path).stderr
    assert f"every view of {splits} by angle" in said
    assert f"plan: {splits + 1} tomograms" in said
    assert f"Fourier ring correlation of splits 1 and {1 + splits // 2} of {splits}," in said
    used = [k for k in range(20) if k != 6]
    order = sorted(used, key=lambda k: -DOSE_SYMMETRIC[k])
    names = [f"rec_{k + 1}of{splits}.mrc" for k in range(splits)]
    assert [n for n in list_of(tmp_path) if n.startswith("rec")] == ["rec.mrc", *names]
    for k, name in enumerate(names):
        views = sorted(order[k::splits])
        label = (tmp_path / name).read_bytes()[224:1024]
        assert f"split {k + 1} of {splits}, {len(views)} views".encode() in label
        if "int16" not in options:
            run("-o", "one.mrc", "--include", ",".join(str(v + 1) for v in views), *options,
                cwd=tmp_path)
            same_but_labels(tmp_path, [(name, "one.mrc")])


def test_two_splits_are_the_halves(tiltrec, series, tmp_path):
    """--splits 2 is what there is without it, byte for byte."""
    for name, more in ("a.mrc", []), ("b.mrc", ["--splits", 2]):
        tiltrec("-T", 16, "-o", name, "--half-sets", "views", *more, series, cwd=tmp_path)
    for half in "", "_EVN", "_ODD":
        assert ((tmp_path / f"a{half}.mrc").read_bytes() ==
                (tmp_path / f"b{half}.mrc").read_bytes())


def test_splits_in_the_result(tiltrec, series, tmp_path):
    """JSON, page and the plan know of all, and the disk is asked for all."""
    options = ["-T", 16, "-o", "rec.mrc", "--half-sets", "views", series]
    needs = [float(re.search(r"([0-9.]+) GB on the disk", tiltrec(
        *options, "--dry-run", "-w", 3200, *more, cwd=tmp_path).stderr)[1])
        for more in ([], ["--splits", 5])]
    assert needs[1] == pytest.approx(2 * needs[0], abs=0.0016)
    tiltrec(*options, "--splits", 5, "--json", "r.json", "--report", "r.html", cwd=tmp_path)
    halves = json.loads((tmp_path / "r.json").read_text())["half_sets"]
    assert halves == [{"half": f"{k} of 5", "path": f"rec_{k}of5.mrc"} for k in range(1, 6)]
    assert "correlation of splits 1 and 3 of 5" in (tmp_path / "r.html").read_text()


# ---- what is refused ----

HALVES = "-t s.tlt -T 8 --half-sets"


@pytest.mark.parametrize("arguments, status, said", [
    ("view s.mrc", USAGE, ["one of views, frames EVEN ODD", "did you mean views?"]),
    ("frames e.mrc", USAGE, ["--half-sets frames must be followed by EVEN ODD"]),
    ("frames e.mrc --quiet s.mrc", USAGE, ["must be followed by EVEN ODD"]),
    ("frames e.mrc none.mrc s.mrc", DATA, ["none.mrc"]),
    ("frames e.mrc s.tlt s.mrc", DATA, ["s.tlt"]),
    ("frames e.mrc wide.mrc s.mrc", DATA, ["wide.mrc has 7 views of 18 x 12 pixels",
                                            "s.mrc has 7 of 16 x 12"]),
    ("frames few.mrc e.mrc s.mrc", DATA, ["few.mrc has 6 views", "s.mrc has 7"]),
    ("frames e.mrc flat.mrc s.mrc", DATA, ["flat.mrc: every view is constant"]),
    ("frames e.mrc ./e.mrc s.mrc", USAGE, ["both are one file"]),
    ("frames e.mrc s.mrc s.mrc", USAGE, ["s.mrc is the series itself"]),
    ("frames e.mrc o.mrc -o e.mrc s.mrc", USAGE, ["output e.mrc is also an input"]),
    ("frames e.mrc x_ODD.mrc -o x.mrc s.mrc", USAGE, ["x_ODD.mrc is also an input"]),
    ("views --include 2,4,6 s.mrc", USAGE, ["at least 4 views, and 3 are used"]),
    ("views --splits 4 s.mrc", USAGE, ["at least 8 views, and 7 are used"]),
    ("views --splits 9 s.mrc", USAGE, ["--splits", "2 to 8"]),
    ("frames e.mrc o.mrc --splits 3 s.mrc", USAGE, ["--splits divides the views of --half-sets"]),
    ("views --splits 3 -o s_1of3.mrc s_1of3_2of3.mrc", USAGE,
     ["s_1of3_2of3.mrc is also an input"]),
    ("views --initial e.mrc -a SIRT s.mrc", USAGE, ["--half-sets", "--initial"]),
    ("views --timeline s_rec_EVN.mrc s.mrc", USAGE, ["timeline are both s_rec_EVN.mrc"]),
    ("views --half-sets frames e.mrc o.mrc s.mrc", USAGE, ["--half-sets is given twice"]),
    ("frames e.mrc o.mrc --half-sets frames o.mrc e.mrc s.mrc", USAGE, ["twice, with e.mrc"]),
    ("views -o d.mrc s.mrc", USAGE, ["output d_EVN.mrc is a folder"]),
])
def test_refused(bench, arguments, status, said):
    for name in "e.mrc", "o.mrc", "x_ODD.mrc":
        bench.stack(name, bench.data + 1)
    bench.stack("wide.mrc", np.ones((7, 12, 18), np.float32))
    bench.stack("s_1of3_2of3.mrc", bench.data)
    bench.stack("few.mrc", bench.data[:6])
    bench.stack("flat.mrc", 0 * bench.data)
    (bench.folder / "d_EVN.mrc").mkdir()
    bench.refused(f"{HALVES} {arguments}", status, *said)


def test_frames_that_one_of_two_processes_cannot_use(bench):
    bench.stack("e.mrc", bench.data + 1)
    bench.stack("wide.mrc", np.ones((7, 12, 18), np.float32))
    bench.refused(f"{HALVES} frames e.mrc wide.mrc s.mrc", DATA, "18 x 12", ranks=2)


def test_a_dry_run_tells_of_three(bench):
    before = bench.contents()
    said = bench.run(f"{HALVES} views --dry-run s.mrc").stderr
    assert "3 tomograms one after another, also s_rec_EVN.mrc and s_rec_ODD.mrc" in said
    assert bench.contents() == before


def test_a_disk_that_holds_one_but_not_three(bench):
    (bench.folder / "out").mkdir()
    bench.run("-t s.tlt -T 150 -w 500 -o out/o.mrc s.mrc",  # 3.6 MB
              wrapper=on_small_disk("size=8m", bench.folder / "out"))
    bench.refused("-t s.tlt -T 150 -w 500 -o out/o.mrc --half-sets views s.mrc", DATA,
                  "too full", "10.800 MB",
                  wrapper=on_small_disk("size=8m", bench.folder / "out"))


# ---- the correlation ----

def taper(n):
    edge = n // 10
    weight = np.ones(n)
    ramp = np.sin(np.pi / 2 * (np.arange(edge) + 0.5) / edge) ** 2 if edge else []
    weight[:edge] = ramp
    weight[n - edge:] = ramp[::-1] if edge else []
    return weight


def frc(even, odd, most=64):
    """Ring sums of sections [section][row][column], by full complex transforms."""
    n_planes, ny, nx = even.shape
    rings = min(max(nx, ny) // 2, 512)
    window = taper(ny)[:, None] * taper(nx)
    radius = np.sqrt(np.fft.fftfreq(ny)[:, None] ** 2 + np.fft.fftfreq(nx) ** 2)
    ring = np.floor(radius * 2 * rings + 0.5).astype(int)
    count = min(n_planes, most)
    sums = np.zeros((4, rings + 1))
    for k in range(count):
        plane = (2 * k + 1) * n_planes // (2 * count)
        a, b = (np.fft.fft2((v[plane] - np.average(v[plane], weights=window)) * window)
                for v in (even, odd))
        keep = ring <= rings
        for total, values in zip(sums, ((a * b.conj()).real, abs(a) ** 2, abs(b) ** 2,
                                        np.ones_like(radius))):
            total += np.bincount(ring[keep], values[keep], rings + 1)
    cross, first, second, samples = sums[:, 1:]
    return cross / np.sqrt(first * second), samples


@pytest.fixture(scope="session")
def frc_program(build_dir):
    def run(*arguments, cwd):
        done = subprocess.run([build_dir / "tests" / "frc", *arguments], cwd=cwd, text=True,
                              capture_output=True, check=True)
        curves, crossings = {}, {}
        for line in done.stdout.splitlines():
            plane, *rest = line.split()
            if rest[0] == "crossing":
                crossings[plane, rest[1]] = float(rest[2]), " ".join(rest[3:])
            else:
                curves.setdefault(plane, []).append([float(x) for x in rest])
        return {plane: np.array(rows).T for plane, rows in curves.items()}, crossings
    return run


@pytest.mark.parametrize("shape", [(70, 24, 51), (9, 40, 64), (3, 12, 33), (1, 20, 20)])
@pytest.mark.parametrize("xyz", [[], ["xyz"]], ids=["xzy", "xyz"])
def test_the_correlation_is_numpy_s(frc_program, tmp_path, shape, xyz):
    rng = np.random.default_rng(sum(shape))
    common = np.cumsum(rng.normal(size=shape), axis=2)  # strong at low frequencies
    volumes = [common + rng.normal(3, 2, shape) for _ in range(2)]
    for name, volume in zip(("e.mrc", "o.mrc"), volumes):
        write_mrc(tmp_path / name, volume)
    volumes = [v.astype(np.float32).astype(float) for v in volumes]
    curves, _ = frc_program("e.mrc", "o.mrc", *xyz, cwd=tmp_path)
    sections, rows = ("x-y", "x-z") if xyz else ("x-z", "x-y")
    for plane, axes in (sections, (0, 1, 2)), (rows, (1, 0, 2)):
        wanted, samples = frc(*(v.transpose(axes) for v in volumes))
        frequency, found, count = curves[plane]
        assert np.allclose(frequency, np.arange(1, len(wanted) + 1) / (2 * len(wanted)))
        assert np.array_equal(count, samples)
        assert np.abs(found - wanted).max() < 2e-6


def test_crossings(frc_program, tmp_path):
    """Noise of a known share at each frequency: white noise against a signal cut off."""
    rng = np.random.default_rng(8)
    shape = (32, 64, 64)
    signal = np.fft.fftn(rng.normal(size=shape))
    radius = np.sqrt(sum(np.square(np.fft.fftfreq(n)).reshape(s) for n, s in
                         zip(shape, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)))))
    signal = np.fft.ifftn(signal / (1 + (radius / 0.15) ** 6)).real
    names = ["e.mrc", "o.mrc"]
    for name in names:
        write_mrc(tmp_path / name, signal + rng.normal(0, 0.3, shape))
    curves, crossings = frc_program(*names, cwd=tmp_path)
    for plane, (frequency, correlation, _) in curves.items():
        correlation[0] = 1  # few samples, but both thresholds are crossed later
        for text, level in ("0.5", 0.5), ("0.143", 0.143):
            k = np.flatnonzero(correlation < level)[0] - 1
            wanted = np.interp(level, correlation[[k + 1, k]], frequency[[k + 1, k]])
            found, words = crossings[plane, text]
            assert found == pytest.approx(wanted, rel=1e-9)
            assert words == f"{4 / wanted:.4g} A"
    # Alike up to the end; without anything in common; without anything.
    _, crossings = frc_program("e.mrc", "e.mrc", cwd=tmp_path)
    assert {words for _, words in crossings.values()} == {"finer than 8 A"}
    write_mrc(tmp_path / "n.mrc", -read_mrc(tmp_path / "e.mrc"))
    _, crossings = frc_program("e.mrc", "n.mrc", cwd=tmp_path)
    assert {words for _, words in crossings.values()} == {"not reached"}
    write_mrc(tmp_path / "z.mrc", np.zeros(shape))
    curves, _ = frc_program("e.mrc", "z.mrc", cwd=tmp_path)
    assert all(not rows[1].any() for rows in curves.values())


def log_table(said):
    rows = re.findall(r"^ +(0\.\d{3}) +(\S+) +(-?\d\.\d{3}) +(-?\d\.\d{3})$", said, re.M)
    return np.array(rows, float).T


@pytest.mark.parametrize("order", ["xzy", "xyz"])
def test_the_log_tells_the_correlation_of_the_files(tiltrec, tiltrecz, series, tmp_path,
                                                    order):
    for run, ranks in (tiltrec, None), (tiltrecz, 2):
        said = run("-T", 16, "-o", "rec.mrc", "--order", order, "--half-sets", "views", series,
                   cwd=tmp_path, ranks=ranks).stderr
        frequency, length, xy, xz = log_table(said)
        assert np.allclose(length, 4 / frequency, rtol=1e-3) and len(frequency) == 10
        volumes = [read_mrc(tmp_path / f"rec_{h}.mrc") for h in ("EVN", "ODD")]
        planes = {"xz": (0, 1, 2), "xy": (1, 0, 2)}
        if order == "xyz":
            planes = {"xy": (0, 1, 2), "xz": (1, 0, 2)}
        for found, name in (xy, "xy"), (xz, "xz"):
            wanted, _ = frc(*(v.transpose(planes[name]) for v in volumes))
            rings = np.arange(1, len(wanted) + 1) / (2 * len(wanted))
            assert np.abs(found - np.interp(frequency, rings, wanted)).max() < 1.1e-3


def test_without_a_pixel_size_in_voxels(tiltrec, tmp_path):
    series = write_series(tmp_path, noisy((20, 16, 24), 2), TILTS, pixel=0)
    said = tiltrec("-T", 8, "--half-sets", "views", "-o", "rec.mrc", series,
                   cwd=tmp_path).stderr
    assert re.search(r"1/voxel +voxels", said)
    assert not re.search(r"FRC of .* A\b", said)


@pytest.mark.slow
@pytest.mark.unsanitized
def test_the_truth(make_phantom, build_dir, tmp_path):
    """Two independent noises on the same projections, as even and odd frames have them:
    the correlation C of the full tomogram with one free of noise is what theory makes of
    that of the halves, F: C = sqrt(2 F / (1 + F)), or F = C^2 / (2 - C^2). The first is
    for rings that show something, where F is not lost in its own noise; the second holds
    for all."""
    clean = make_phantom("--size", 192, 192, 64, "--views", 41, "--noise-free")
    data = read_mrc(clean.series)
    rng = np.random.default_rng(11)
    sigma = np.sqrt(2 * data.var() / 2)  # of a half
    even, odd = (data + rng.normal(0, sigma, data.shape) for _ in range(2))
    for name, values in ("e", even), ("o", odd), ("s", (even + odd) / 2):
        write_mrc(tmp_path / f"{name}.mrc", values, pixel=4000 / 192)
    run = runner(build_dir, "tiltrec-mpi")
    for algorithm in ["WBP"], ["SIRT", "-i", 8]:
        options = ["-a", *algorithm, "-T", 64, "-t", clean.tilts]
        run(*options, "-o", "rec.mrc", "--half-sets", "frames", "e.mrc", "o.mrc", "s.mrc",
            cwd=tmp_path)
        run(*options, "-o", "true.mrc", clean.series, cwd=tmp_path)
        full, half1, half2, true = (read_mrc(tmp_path / f"{n}.mrc")
                                    for n in ("rec", "rec_EVN", "rec_ODD", "true"))
        for axes in (0, 1, 2), (1, 0, 2):
            F, samples = frc(half1.transpose(axes), half2.transpose(axes), 192)
            C, _ = frc(full.transpose(axes), true.transpose(axes), 192)
            C2 = np.sqrt(np.maximum(2 * F / (1 + F), 1e-9))
            # Of F: five deviations, because noise of neighbouring sections is alike.
            error = 5 * (1 - F ** 2) / np.sqrt(samples / 2)
            enough = error < 0.05
            shows = (error / (1 + F) ** 2 / C2 < 0.05) & (F > 0)
            direct = np.abs(C - C2)[shows].max()
            inverse = np.abs(F - C * np.abs(C) / (2 - C ** 2))[enough].max()
            print(algorithm, axes, shows.sum(), direct, enough.sum(), inverse, F[shows].min())
            assert shows.sum() >= 15 and enough.sum() >= 50
            assert F[shows].max() > 0.9 and F[shows].min() < 0.5
            assert direct < 0.05 and inverse < 0.05
