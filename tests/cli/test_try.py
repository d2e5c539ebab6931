"""--try: thin slabs, swept over one parameter of the geometry. What is suggested is
compared with what was planted, and in one case numpy measures that it lays the specimen
flat."""
import re
import struct
import zlib

import numpy as np
import pytest
from conftest import read_mrc, runner, write_series
from slab import ANGLES, Slab, with_noise
from specimen import make_slab
from volume_reference import direct_matrix

SIZE, THICK, VOLUME = 128, 28, 60


@pytest.fixture(scope="module")
def specimen():
    return Slab(SIZE, SIZE, THICK)


@pytest.fixture(scope="module")
def planted(specimen, tmp_path_factory):
    """planted(snr, offset=3) -> the folder of such a series; made once."""
    clean, made = {}, {}

    def make(snr=None, **geometry):
        key = (*geometry.items(),)
        if key not in clean:
            clean[key] = specimen.series(**geometry)
        if (snr, key) not in made:
            made[snr, key] = tmp_path_factory.mktemp("planted")
            write_series(made[snr, key], with_noise(clean[key], snr), ANGLES)
        return made[snr, key]
    return make


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    views = np.random.default_rng(5).standard_normal((len(ANGLES), 64, 96))
    write_series(folder, views, ANGLES)
    return folder


def suggestion(said, option):
    """The value suggested for an option, or None."""
    found = re.search(rf"^suggested: .*--{option} (-?[\d.]+)", said, re.M)
    return float(found[1]) if found else None


def table(said):
    """{value: figure} as printed."""
    rows = re.findall(r"^ +(-?[\d.]+) +([-+]?[\d.]+)", said, re.M)
    return {float(value): float(figure) for value, figure in rows}


def read_png(path):
    """An 8-bit RGB picture's [height][width][3], unfiltered by hand."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 2)
        packed += body if kind == b"IDAT" else b""
        at += 12 + n
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 3 * width)
    picture = np.zeros((height + 1, width + 1, 3), np.int64)
    for y, line in enumerate(lines, 1):
        add_line(picture, y, line[0], line[1:].reshape(width, 3).astype(np.int64))
    return picture[1:, 1:]


def add_line(picture, y, kind, line):
    """One of PNG's five line filters undone, into row y of the picture with a margin."""
    if kind in (0, 2):
        picture[y, 1:] = (line + (picture[y - 1, 1:] if kind else 0)) % 256
        return
    if kind == 1:
        picture[y, 1:] = np.cumsum(line, axis=0) % 256
        return
    for x in range(1, len(line) + 1):
        a, b, c = picture[y, x - 1], picture[y - 1, x], picture[y - 1, x - 1]
        p, q, r = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        paeth = np.where((p <= q) & (p <= r), a, np.where(q <= r, b, c))
        picture[y, x] = (line[x - 1] + ((a + b) // 2 if kind == 3 else paeth)) % 256


# ---- what was planted is found ----

@pytest.mark.unsanitized
@pytest.mark.parametrize("snr", [None, 1])
def test_a_tilt_offset_is_found(tiltrec, planted, snr):
    folder = planted(snr, offset=3)
    done = tiltrec("--try", "tilt-offset=-6:6:1", "-T", VOLUME, cwd=folder)
    assert abs(suggestion(done.stderr, "tilt-offset") - 3) < 0.5
    assert sorted(table(done.stderr)) == list(range(-6, 7))
    assert "  best" in done.stderr and (folder / "s_rec_try.png").exists()
    assert [p.name for p in folder.iterdir() if "rec" in p.name] == ["s_rec_try.png"]


def slope(volume):
    """Rise of the specimen per column: the middle, along the thickness, of the density's
    variance in the columns of the left and the right half."""
    energy = volume[8:-8, :, 12:-12] - volume[8:-8, :, 12:-12].mean(axis=2, keepdims=True)
    profile = (energy ** 2).mean(axis=0)  # [thickness][column]
    profile = np.clip(profile - np.median(profile), 0, 20 * np.median(profile))
    height = (profile * np.arange(profile.shape[0])[:, None]).sum(0) / profile.sum(0)
    return np.polyfit(np.arange(height.size), height, 1)[0]


@pytest.mark.unsanitized
def test_the_suggested_tilt_offset_lays_the_specimen_flat(tiltrec, planted):
    folder = planted(offset=3)
    done = tiltrec("--try=tilt-offset=-6:6:2", "-T", VOLUME, cwd=folder)
    offset = suggestion(done.stderr, "tilt-offset")
    for name, value in (("as_is.mrc", 0), ("flat.mrc", offset)):
        tiltrec("--tilt-offset", value, "-T", VOLUME, "-o", name, cwd=folder)
    assert abs(np.degrees(slope(read_mrc(folder / "as_is.mrc")))) > 2
    assert abs(np.degrees(slope(read_mrc(folder / "flat.mrc")))) < 0.7


@pytest.mark.unsanitized
@pytest.mark.parametrize("snr", [None, 1])
def test_an_axis_shift_is_found(tiltrec, planted, snr):
    done = tiltrec("--try", "axis-shift=-8:8:1", "-T", VOLUME, cwd=planted(snr, shift=4))
    assert abs(suggestion(done.stderr, "axis-shift") - 4) < 0.5


@pytest.mark.unsanitized
@pytest.mark.parametrize("snr", [None, 1])
def test_a_pitch_is_found(tiltrec, planted, snr):
    done = tiltrec("--try", "pitch=-8:8:2", "-T", VOLUME, cwd=planted(snr, pitch=4))
    assert abs(suggestion(done.stderr, "pitch") - 4) < 1


def test_the_thickness_is_found(tiltrec, planted):
    done = tiltrec("--try", "thickness=20:60:8", cwd=planted(1))
    thick = float(re.search(r"specimen is (\d+) pixels thick", done.stderr)[1])
    assert abs(thick / THICK - 1) < 0.15
    assert THICK <= suggestion(done.stderr, "thickness") <= 1.3 * THICK
    assert "no thickness given" not in done.stderr


def test_a_specimen_off_the_middle_is_moved_there(tiltrec, tmp_path):
    high = Slab(96, 96, 20, centre=8)
    write_series(tmp_path, with_noise(high.series(), 1), ANGLES)
    done = tiltrec("--try", "z-shift=-10:10:5", "-T", 52, cwd=tmp_path)
    assert abs(suggestion(done.stderr, "z-shift") + 8) < 1.5
    done = tiltrec("--try", "thickness=16:64:16", cwd=tmp_path)
    assert suggestion(done.stderr, "thickness") > 2 * (8 + 20 / 2)
    both = re.search(r"or: --thickness (\d+) --z-shift (-\d+)", done.stderr)
    assert 20 <= int(both[1]) <= 28 and abs(int(both[2]) + 8) <= 1.5


def test_samples_say_where_the_specimen_lies(tiltrec, planted):
    folder = planted(1, offset=3)
    done = tiltrec("--try", "-T", VOLUME, "s_ali.mrc", cwd=folder)
    rise = re.search(r"rises by (\S+) degrees to the right and by (\S+) degrees from bottom",
                     done.stderr)
    assert abs(float(rise[1]) - 3) < 1 and abs(float(rise[2])) < 1
    assert done.stderr.count("slab: specimen from") == 3


# ---- what the data do not show is not said ----

@pytest.mark.unsanitized
@pytest.mark.parametrize("what", ["tilt-offset=-6:6:2", "axis-shift=-8:8:2", "pitch=-6:6:3",
                                  "thickness=24:48:8", "z-shift=-8:8:8", "samples"])
def test_noise_is_inconclusive(tiltrec, noise, what):
    done = tiltrec("--try", what, "-T", 48, "-o", "noise.png", cwd=noise)
    assert "warning: inconclusive: " in done.stderr and "suggested" not in done.stderr


def test_a_best_value_at_the_end_is_inconclusive(tiltrec, planted):
    done = tiltrec("--try", "axis-shift=-8:2:1", "-T", VOLUME, cwd=planted(1, shift=4))
    assert "at the end of the range; go on with --try axis-shift=1:12:1" in done.stderr
    assert "suggested" not in done.stderr


@pytest.mark.unsanitized
def test_one_large_body_is_inconclusive(tiltrec, shared_data, tmp_path):
    """Its left and its right side draw together at opposite shifts. Views that go half round
    say it all the same: the series is aligned."""
    options = ["--try", "axis-shift=-16:16:2", "-T", 64, "-o", tmp_path / "needle.png",
               shared_data / "needle" / "needle.ali"]
    done = tiltrec("--exclude", "1-2", *options, cwd=tmp_path)
    assert "warning: inconclusive: " in done.stderr and "suggested" not in done.stderr
    assert abs(suggestion(tiltrec(*options, cwd=tmp_path).stderr, "axis-shift")) < 1.5


# ---- the sheet, the programs, the ranks ----

def test_the_sheet_has_a_framed_panel_per_value(tiltrec, planted):
    folder = planted(1, shift=4)
    tiltrec("--try", "axis-shift=2:6:2", "-T", VOLUME, "-o", "sheet.png", cwd=folder)
    picture = read_png(folder / "sheet.png")
    red, green, blue = np.moveaxis(picture, 2, 0)
    rows, columns = np.nonzero((red > 220) & (blue < 100))  # the frame and its label
    assert len(rows) > 500
    grey = (red == green) & (green == blue)
    inside = grey[rows.min() + 30:rows.max() - 4, columns.min() + 4:columns.max() - 4]
    assert inside.mean() > 0.99
    # All panels have the aspect of the slab.
    high, wide = rows.max() - rows.min(), columns.max() - columns.min()
    assert abs((high - 30) / wide - VOLUME / SIZE) < 0.1
    # Three panels of the same size: grey but for paper and ink.
    assert grey.sum() > 2.8 * inside.size


@pytest.mark.parametrize("what", ["tilt-offset=1:5:1", "samples"])
def test_ranks_and_programs_agree(tiltrec, tiltrecz, planted, what):
    folder = planted(1, offset=3)
    said, sheets = [], []
    for run, ranks in ((tiltrec, None), (tiltrec, 2), (tiltrecz, None), (tiltrecz, 2)):
        done = run("--try", what, "-T", VOLUME, "-o", "r.png", cwd=folder, ranks=ranks)
        said.append([line for line in done.stderr.splitlines()
                     if re.match(r" +-?\d|suggested|it rises|\w+ +slab", line)])
        sheets.append((folder / "r.png").read_bytes())
    assert said[0] and all(s == said[0] for s in said)
    assert all(s == sheets[0] for s in sheets)


@pytest.mark.slow
def test_gpu_programs_by_emulation(build_dir, tiltrec, planted):
    folder = planted(1, offset=3)
    arguments = ("--try", "tilt-offset=1:5:2", "-T", VOLUME)
    figures = table(tiltrec(*arguments, cwd=folder).stderr)
    for name in ("tiltrec-cudaemu", "tiltrecz-cudaemu"):
        emulated = runner(build_dir, f"tests/cudaemu/{name}")(*arguments, cwd=folder)
        said = table(emulated.stderr)
        assert said.keys() == figures.keys()
        assert all(abs(said[v] - figures[v]) < 2e-3 for v in said)


def test_an_algorithm_of_whole_volumes(tiltrecz, planted):
    folder = planted(1, pitch=4)
    done = tiltrecz("--try", "pitch=0:8:4", "-a", "CGLS", "-i", 1, "-T", VOLUME,
                    "--exclude", "2-20,22-40", cwd=folder, ranks=2)
    assert sorted(table(done.stderr)) == [0, 4, 8]


@pytest.mark.unsanitized
@pytest.mark.slow
def test_weights_of_admm(tiltrecz, tmp_path):
    """At multiples of the weight that a tomogram of the slab has, with the residual that
    numpy finds for its tomogram; the program's own weight is framed."""
    rows, planes = 12, 36  # one row for each part of the slabs: all of them are looked at
    views, tilts, _ = make_slab(64, rows, planes, 26, 3, 1, tilts=np.arange(-60.0, 61, 5))
    path = write_series(tmp_path, views, tilts)
    options = ["-a", "ADMM", "-T", planes, "-i", 8, path]
    said = tiltrecz("--try", "lambda", "-o", "sheet.png", *options, cwd=tmp_path).stderr
    table = np.array([[float(x) for x in line.split()[:4]] for line in said.splitlines()
                      if re.match(r" +[\d.e-]+ +[\d.]+ +[\d.]+ +[\d.]+", line)])
    weights, times, residuals, shares = table.T
    np.testing.assert_allclose(times, 2.0 ** np.arange(-3, 4))
    np.testing.assert_allclose(weights, times * weights[3], rtol=2e-3)
    assert np.all(np.diff(residuals) > 0) and shares[0] < 0.8 < 1.0 < shares[-1]
    assert re.search(r"^ +\S+ +1 .*as chosen$", said, re.M)
    red, green, blue = np.moveaxis(read_png(tmp_path / "sheet.png"), 2, 0)
    frame_rows, _ = np.nonzero((red > 220) & (blue < 100))
    assert len(frame_rows) > 500
    # The middle slab by itself: rows 4 to 7.
    full = tiltrecz(*options[:-1], "--slices", "4:7", "--lambda-times", 2, "-o", "two.mrc", path,
                    cwd=tmp_path).stderr
    used = float(re.search(r"lambda (\S+) \(chosen\)", full)[1])
    assert used == pytest.approx(weights[4], rel=2e-3)
    clean, _, _ = make_slab(64, rows, planes, 26, 3, tilts=np.arange(-60.0, 61, 5))
    assert residuals / shares == pytest.approx(clean.std(axis=(1, 2)).mean(), rel=0.1)
    own = float(re.search(r"without --lambda-times it would be (\S+)", said)[1])
    assert own == pytest.approx(weights[3], rel=2e-3)
    # What is left of the untilted view, in which all columns see the field only; the table
    # is of the iteration before.
    matrix = direct_matrix(tilts, 64, 4, planes)
    tomogram = read_mrc(tmp_path / "two.mrc").astype(float)
    left = views[:, 4:8] - (matrix @ tomogram.ravel()).reshape(len(tilts), 4, 64)
    inside = left[len(tilts) // 2]
    assert np.sqrt((inside ** 2).mean()) == pytest.approx(residuals[4], rel=0.15)


def test_binned(tiltrec, planted):
    """Values and suggestions count unbinned pixels."""
    done = tiltrec("--try", "axis-shift=-4:12:2", "-T", VOLUME, "--bin", 2,
                   cwd=planted(shift=4))
    assert abs(suggestion(done.stderr, "axis-shift") - 4) < 1


def test_a_dry_run_writes_nothing(tiltrec, planted):
    folder = planted(1, shift=4)
    done = tiltrec("--try", "--dry-run", "-o", "none.png", cwd=folder)
    assert "nothing is written" in done.stderr and not (folder / "none.png").exists()


# ---- one clear sentence ----

@pytest.mark.parametrize("arguments, said", [
    ("--try tiltoffset=1:2:1", "no tiltoffset to try; did you mean tilt-offset; there are"),
    ("--try x-shift=1:2:1", "there are tilt-offset, axis-shift, pitch"),
    ("--try tilt-offset=1:2", "must be PARAMETER=FROM:TO:STEP"),
    ("--try tilt-offset=1:2:x", "must be PARAMETER=FROM:TO:STEP"),
    ("--try=tilt-offset", "must be PARAMETER=FROM:TO:STEP"),
    ("--try tilt-offset=1:9:0", "must be 3 to 99 values"),
    ("--try tilt-offset=9:1:1", "must be 3 to 99 values"),
    ("--try tilt-offset=0:1:1", "must be 3 to 99 values"),
    ("--try tilt-offset=0:100:0.1", "must be 3 to 99 values"),
    ("--try pitch=-90:90:30", "--pitch must be from -60 to 60 degrees"),
    ("--try thickness=10:20:2.5", "a whole number of pixels"),
    ("--try lambda", "--try lambda is for algorithms with a regularizer, and WBP has none"),
    ("--try lambda=1:2", "must be lambda=FROM:TO:FACTOR, from above 0 by a factor above 1"),
    ("--try lambda=0:2:2", "must be lambda=FROM:TO:FACTOR"),
    ("--try lambda=1:8:1", "must be lambda=FROM:TO:FACTOR"),
    ("--try lambda=1:2:2", "must be 3 to 99 values"),
    ("--try --resume", "leave out --resume"),
    ("--try --slices 2:9", "at least 12 slices"),
    ("--try -o s.png.mrc/x", "s.png.mrc"),
])
def test_wrong_wishes(bench, arguments, said):
    bench.stack("s.mrc", np.tile(np.arange(16, dtype=np.float32), (7, 16, 1)))
    done = bench.run(f"{arguments} s.mrc", check=False)
    assert done.returncode in (1, 2) and said in done.stderr
    assert done.stderr.count("error: ") == 1 and not list(bench.folder.glob("*.png"))


def test_a_sheet_that_cannot_be_written(tiltrec, planted):
    folder = planted(1, shift=4)
    (folder / "taken.png").mkdir()
    done = tiltrec("--try", "-T", VOLUME, "-o", "taken.png", cwd=folder, check=False, ranks=2)
    assert done.returncode == 2 and "the contact sheet taken.png is a folder" in done.stderr
