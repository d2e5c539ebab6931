"""Tomograms of a specimen that goes on beyond the field, as every cryo specimen does,
against the truth."""
import re

import numpy as np
import pytest

from conftest import EVERY, read_mrc, write_series, write_xtilts
from specimen import BASE, FOIL, Faces, field_correlation, foil_view, make_slab
from volume_reference import rotations

pytestmark = pytest.mark.unsanitized

# Clean and with noise as strong as the views' deviation: what each should reach, and the
# correlation that WBP has.
LEAST = {"SIRT": (0.78, 0.63), "CGLS": (0.78, 0.63), "ADMM": (0.90, 0.88)}


@pytest.fixture(scope="module", params=[0, 1], ids=["clean", "noisy"])
def slab(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slab")
    views, tilts, truth = make_slab(256, 48, 96, 80, 3, request.param)
    return request.param, write_series(folder, views, tilts), truth


def correlation_of(program, folder, slab, *options):
    _, series, truth = slab
    said = program("-T", 96, "-o", "rec.mrc", *options, series, cwd=folder).stderr
    return field_correlation(read_mrc(folder / "rec.mrc"), truth), said


@pytest.mark.parametrize("algorithm", LEAST)
def test_the_field_is_right(tiltrec, tiltrecz, slab, tmp_path, algorithm):
    program = tiltrecz if algorithm == "ADMM" else tiltrec
    found, said = correlation_of(program, tmp_path, slab, "-a", algorithm)
    filtered, _ = correlation_of(tiltrec, tmp_path, slab, "-a", "WBP")
    assert found > LEAST[algorithm][slab[0]]
    assert found > filtered - 0.03
    assert "goes on beyond the field" in said


def test_zero_outside_is_worse_and_said_to_be(tiltrec, slab, tmp_path):
    options = ["-a", "SIRT", "-i", 30]
    found, said = correlation_of(tiltrec, tmp_path, slab, *options, "--outside", "zero")
    right, _ = correlation_of(tiltrec, tmp_path, slab, *options, "--outside", "continue")
    assert found < right - 0.2
    assert slab[0] or "levels off" in said


@pytest.mark.parametrize("tilt", [-60, -33, 0, 12, 60])
def test_layer_and_foil_are_ray_sums(tilt):
    """Of the specimens below, by steps of 0.01 along the rays."""
    t, u = np.radians(tilt), np.arange(-60, 61, 7.0)
    w = np.arange(-400, 400, 0.01)[:, None]
    x, z = u * np.cos(t) + w * np.sin(t), w * np.cos(t) - u * np.sin(t)
    faces = Faces(40, 0.09, 0.12)
    layer = (z > -20 + 0.03 * x) & (z < 20 + 0.15 * x)
    low, high = faces.along_rays(u, t)
    assert BASE * (high - low) == pytest.approx(BASE * 0.01 * layer.sum(axis=0), abs=0.01)
    foil = (z > -20) & (z < -20 + 40 / 6) & (x > 65)
    assert foil_view(u, t, 40, 65) == pytest.approx(FOIL * 0.01 * foil.sum(axis=0), abs=0.03)
    assert foil.any() == (tilt not in (0, 12))


# Gold beads and a carbon foil just beside the field, and a slab turned by 5 degrees which
# leaves the volume's planes beside it: clean and noisy, 0.03 below what each reached.
SMALL = {"gold": dict(thickness=40, beside=True),
         "tilted": dict(thickness=32, slope=np.tan(np.radians(5)))}
SMALL_LEAST = {"gold": {"SIRT": (0.78, 0.27), "CGLS": (0.78, 0.25), "ADMM": (0.90, 0.71)},
               "tilted": {"SIRT": (0.57, 0.45), "CGLS": (0.58, 0.44), "ADMM": (0.68, 0.67)}}


@pytest.fixture(scope="module", params=[(s, n) for s in SMALL for n in (0, 1)],
                ids=lambda param: f"{param[0]}-{'noisy' if param[1] else 'clean'}")
def beside(request, tmp_path_factory, tiltrec):
    """What lies beside the field, its series, its truth, and WBP's correlation with it."""
    name, noise = request.param
    folder = tmp_path_factory.mktemp(name)
    views, tilts, truth = make_slab(128, 24, 48, seed=3, noise=noise, **SMALL[name])
    series = write_series(folder, views, tilts)

    def reconstruct(program, *options):
        program("-T", 48, "-o", "rec.mrc", *options, series, cwd=folder)
        return field_correlation(read_mrc(folder / "rec.mrc"), truth, edge=20, top=4, rows=4)
    return name, noise, reconstruct, reconstruct(tiltrec, "-a", "WBP")


@pytest.mark.parametrize("algorithm", LEAST)
def test_what_is_beside_the_field_stays_there(tiltrec, tiltrecz, beside, algorithm):
    name, noise, reconstruct, filtered = beside
    program = tiltrecz if algorithm == "ADMM" else tiltrec
    found = reconstruct(program, "-a", algorithm)
    assert found > SMALL_LEAST[name][algorithm][noise]
    assert found > filtered
    if name == "gold" and algorithm != "ADMM":
        assert found > reconstruct(program, "-a", algorithm, "--outside", "zero") + 0.2


def test_noise_is_measured_and_stops_iterations(tiltrec, tiltrecz, tmp_path):
    """That of white noise is known; both programs stop near each other, never late."""
    views, tilts, truth = make_slab(128, 32, 64, 50, 5)
    sigma = views.std(axis=(1, 2)).mean()
    views += np.float32(sigma) * np.random.default_rng(1).normal(size=views.shape)
    series = write_series(tmp_path, views, tilts)
    counts = []
    for program in tiltrec, tiltrecz:
        said = program("-a", "SIRT", "-T", 64, "-o", "rec.mrc", series, cwd=tmp_path).stderr
        measured = float(re.search(r"noise: (\S+) a pixel", said).group(1))
        assert measured == pytest.approx(sigma, rel=0.1)
        counts.append(len(re.findall(r"\d+: \d\.\d{6}", said)))
    assert 2 <= min(counts) and max(counts) <= 15
    said = tiltrec("-a", "SIRT", "-i", 30, "-T", 64, "-o", "rec.mrc", series,
                   cwd=tmp_path).stderr
    would_do = int(re.search(r"iteration (\d+) of 30 would do", said).group(1))
    assert abs(would_do - counts[0]) <= 2


@pytest.mark.parametrize("noise", [0.1, 0.3, 1])
@pytest.mark.parametrize("shift", [0, 0.5], ids=["white", "interpolated"])
def test_weak_noise_is_measured_where_it_is_white(tiltrec, tmp_path, noise, shift):
    """Also where it is much weaker than what detail makes of pixels 3 apart. Interpolated
    noise, as in aligned views, is as strong as its pixels are, and not what neighbours say;
    detail may make it too large."""
    views, tilts, _ = make_slab(96, 32, 40, 30, 5)
    sigma = noise * views.std(axis=(1, 2)).mean()
    drawn = sigma * np.random.default_rng(2).normal(size=(len(views), 33, 97))
    a, b = 1 - shift, shift
    drawn = a * a * drawn[:, 1:, 1:] + a * b * (drawn[:, :-1, 1:] + drawn[:, 1:, :-1]) + (
        b * b * drawn[:, :-1, :-1])
    series = write_series(tmp_path, views + np.float32(drawn), tilts)
    said = tiltrec("-a", "SIRT", "-i", 1, "-T", 40, "--dry-run", series, cwd=tmp_path).stderr
    measured = float(re.search(r"noise: (\S+) a pixel", said)[1])
    if shift == 0:
        assert measured == pytest.approx(sigma, rel=0.1)
    else:
        assert 0.9 * drawn.std() < measured
        assert noise < 1 or measured < 1.3 * drawn.std()


def test_an_isolated_body_is_known(tiltrec, tmp_path):
    x, y = np.arange(64) - 31.5, np.arange(24) - 11.5
    disk = np.exp(-(x ** 2 + y[:, None] ** 2) / 50)
    series = write_series(tmp_path, np.float32([disk] * 9), np.linspace(-60, 60, 9))
    options = ["-a", "SIRT", "-i", 2, "-T", 24, series]
    said = tiltrec("-o", "auto.mrc", *options, cwd=tmp_path).stderr
    assert "is isolated" in said and "outside the field: zero" in said
    tiltrec("-o", "zero.mrc", "--outside", "zero", *options, cwd=tmp_path)
    assert np.array_equal(read_mrc(tmp_path / "auto.mrc"), read_mrc(tmp_path / "zero.mrc"))


@pytest.mark.parametrize("algorithm", ["WBP", "FBP", "BPT"])
def test_backprojections_cover_nothing(tiltrec, tmp_path, algorithm):
    views, tilts, _ = make_slab(32, 16, 16, 12, 1)
    series = write_series(tmp_path, views, tilts)
    done = tiltrec("-a", algorithm, "--outside", "continue", "-T", 16, "-o", "rec.mrc", series,
                   cwd=tmp_path, check=False)
    assert done.returncode == 2 and f"{algorithm} takes no account" in done.stderr
    assert not (tmp_path / "rec.mrc").exists()


@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_continue_is_refused_beyond_80_degrees(request, program, tmp_path):
    views, tilts, _ = make_slab(32, 16, 16, 12, 1, tilts=np.arange(-84, 85, 21.0))
    series = write_series(tmp_path, views, tilts)
    run = request.getfixturevalue(program)
    np.savetxt(tmp_path / "s.xtilt", np.arange(9.0))
    options = ["-a", "SIRT", "-i", 1, "-T", 16, "--xtilts", "s.xtilt", "-o", "rec.mrc"]
    done = run(*options, "--outside", "continue", series, cwd=tmp_path, check=False)
    assert done.returncode == 3 and "--outside continue is not possible" in done.stderr
    assert not (tmp_path / "rec.mrc").exists()
    done = run(*options, series, cwd=tmp_path)
    assert "nothing is taken to be there" in done.stderr


# Coupled rays: how the views are made, and what the program is told of it.
WOBBLE = 3 * np.sin(np.arange(41))
COUPLED = {"plain": (dict(), []),
           "turned": (dict(turn=5), ["--transforms", "s.xf"]),
           "x-tilts": (dict(xtilts=WOBBLE), ["--xtilts", "s.xtilt"]),
           "small x-tilts": (dict(xtilts=WOBBLE / 5), ["--xtilts", "s.xtilt"]),
           "both": (dict(turn=-14, xtilts=WOBBLE),
                    ["--transforms", "s.xf", "--xtilts", "s.xtilt"]),
           "quarter turn": (dict(turn=86), ["--transforms", "s.xf"])}


def make_coupled(folder, name, size=(96, 80, 40, 32), every=1):
    """The series' path, what the program is told, and the truth."""
    how, options = COUPLED[name]
    views, tilts, truth = make_slab(*size, 3, **how)
    np.savetxt(folder / "s.xf", rotations([how.get("turn", 0)] * 41)[::every])
    write_xtilts(folder / "s.xtilt", np.broadcast_to(how.get("xtilts", 0), 41)[::every])
    series = write_series(folder, views[::every], tilts[::every])
    return series, ["-T", size[2], "-o", "rec.mrc", *options], truth


@pytest.mark.parametrize("name", ["both", "quarter turn",
                                  *(["turned", "x-tilts"] if EVERY == 1 else [])])
def test_the_field_is_right_where_rays_leave_their_row(tiltrecz, tmp_path, name):
    """As good as where they do not; what comes in over the first and last rows of turned
    views is not in the volume, so these do not count."""
    size = (96, 96, 40, 32) if name == "quarter turn" else (96, 80, 40, 32)
    found = {}
    for kind, outside in ("plain", "auto"), (name, "auto"), (name, "zero"):
        series, options, truth = make_coupled(tmp_path, kind, size)
        said = tiltrecz(*options, "-a", "SIRT", "-i", 20, "--outside", outside, series,
                        cwd=tmp_path, threads=2).stderr
        found[kind, outside] = field_correlation(read_mrc(tmp_path / "rec.mrc"), truth,
                                                 edge=20, top=5, rows=28)
        assert ("goes on beyond the field" in said) and ("cells 4 to" in said) == (
            outside == "auto")
    assert found[name, "auto"] > found["plain", "auto"] - 0.03
    assert found[name, "auto"] > found[name, "zero"] + 0.2


def test_x_tilts_slice_by_slice(tiltrec, tiltrecz, tmp_path):
    series, options, truth = make_coupled(tmp_path, "small x-tilts", (64, 72, 32, 26))
    found = {}
    for program, outside in (tiltrec, "auto"), (tiltrecz, "auto"), (tiltrec, "zero"):
        program(*options, "-a", "SIRT", "-i", 6, "--outside", outside, series, cwd=tmp_path)
        found[program, outside] = field_correlation(read_mrc(tmp_path / "rec.mrc"), truth,
                                                    edge=16, top=4, rows=16)
    assert found[tiltrec, "auto"] > found[tiltrecz, "auto"] - 0.03
    assert found[tiltrec, "auto"] > found[tiltrec, "zero"] + 0.1


@pytest.mark.parametrize("name", ["both", "quarter turn"])
@pytest.mark.parametrize("algorithm", ["SIRT", "SART", "CGLS", "ADMM"])
def test_coupled_rays_on_processes(tiltrecz, tmp_path, algorithm, name):
    """Of a narrow volume: its cells are seen in more rows than it is itself."""
    series, options, _ = make_coupled(tmp_path, name, (48, 48, 20, 16), every=4)
    found = []
    for ranks, threads in (1, 2), (3, 1):
        tiltrecz(*options, "-a", algorithm, "-i", 3, "--outside", "continue", "-w", 24,
                 series, cwd=tmp_path, ranks=ranks, threads=threads)
        found.append(read_mrc(tmp_path / "rec.mrc"))
    assert np.abs(found[1] - found[0]).max() < 2e-5 * np.ptp(found[0])


def test_x_tilts_give_the_same_bytes(tiltrec, tmp_path):
    """Slice by slice, whatever the processes, threads and memory."""
    series, options, _ = make_coupled(tmp_path, "small x-tilts", (48, 160, 24, 20), every=2)
    found = []
    for ranks, threads, memory in (1, 1, "1G"), (1, 2, "72M"), (3, 1, "1G"):
        tiltrec(*options, "-a", "SIRT", "-i", 2, "--memory", memory, series, cwd=tmp_path,
                ranks=ranks, threads=threads)
        found.append(read_mrc(tmp_path / "rec.mrc"))
    assert all(np.array_equal(one, found[0]) for one in found[1:])


@pytest.mark.parametrize("algorithm", ["SIRT", "CGLS"])
def test_bytes_depend_on_nothing_but_the_data(tiltrec, tmp_path, algorithm):
    views, tilts, _ = make_slab(64, 40, 32, 24, 2, 1)
    series = write_series(tmp_path, views, tilts)
    found = []
    for ranks, threads, memory in (1, 1, "1G"), (1, 2, "70M"), (3, 1, "1G"):
        tiltrec("-a", algorithm, "-T", 32, "--memory", memory, "-o", "rec.mrc", series,
                cwd=tmp_path, ranks=ranks, threads=threads)
        found.append(read_mrc(tmp_path / "rec.mrc"))
    assert all(np.array_equal(one, found[0]) for one in found[1:])


@pytest.mark.parametrize("algorithm", ["SIRT", "SART", "CGLS", "ADMM"])
def test_the_programs_agree(tiltrec, tiltrecz, tmp_path, algorithm):
    """Also on processes; rows are independent, so the answer is one."""
    views, tilts, _ = make_slab(64, 20, 32, 24, 2, 0.3)
    series = write_series(tmp_path, views, tilts)
    options = ["-a", algorithm, "-i", 3, "-T", 32, "-o", "rec.mrc", series]
    found = []
    for program, ranks in (tiltrec, 1), (tiltrecz, 1), (tiltrecz, 3):
        if program is tiltrec and algorithm == "ADMM":
            continue
        program(*options, cwd=tmp_path, ranks=ranks)
        found.append(read_mrc(tmp_path / "rec.mrc"))
    for one in found[1:]:
        assert np.abs(one - found[0]).max() < 2e-4 * np.ptp(found[0])


def test_admm_has_no_bright_corners(tiltrecz, tmp_path):
    """Beads on a background that goes on: nothing is brighter than they."""
    x, y, z = np.random.default_rng(2).uniform(-1, 1, (3, 20)) * [[48], [12], [20]]
    tilts = np.arange(-60, 61, 3.0)
    u, v = np.arange(96) - 47.5, np.arange(24) - 11.5
    views = [100 + 200 * np.exp(-(v - y[:, None]) ** 2 / 4).T
             @ np.exp(-(u - (x * np.cos(t) - z * np.sin(t))[:, None]) ** 2 / 4)
             for t in np.radians(tilts)]
    series = write_series(tmp_path, np.float32(views), tilts)
    tiltrecz("-a", "ADMM", "-i", 10, "-T", 48, "-o", "rec.mrc", series, cwd=tmp_path)
    volume = read_mrc(tmp_path / "rec.mrc")
    corners = volume[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.abs(corners).max() < 0.5 * volume[4:-4, 8:-8, 16:-16].max()
