"""Every algorithm with every option of its own against the double-precision reference,
voxel by voxel."""
import re

import numpy as np
import pytest

import reference
from conftest import difference, read_mrc, write_mrc, write_series
from reference import Geometry

CLOSE = 1e-5  # of the volume's range

# Uneven, unsorted, one angle twice.
TILTS = [12.5, -61, 3.2, 55.5, -40.1, -8, 31, 44.4, -25.75, 3.2, -52, 61.5, 20]


def make_views(n_v, n_u, seed=0, offset=2.0):
    """Images with coarse and fine detail and with grey edges, none two rows alike."""
    rng = np.random.default_rng(seed)
    x, y = np.arange(n_u), np.arange(n_v)[:, None]
    views = [offset + np.sin(0.2 * x + 0.15 * y + k) + 0.3 * rng.normal(size=(n_v, n_u))
             for k in range(len(TILTS))]
    return np.float32(views).astype(float)


class Case:
    def __init__(self, tiltrec, folder, n_u=40, n_v=24, thickness=14, seed=0):
        self.tiltrec, self.folder, self.thickness = tiltrec, folder, thickness
        self.views = make_views(n_v, n_u, seed)
        self.series = write_series(folder, self.views, TILTS)

    def run(self, *options, **how):
        self.said = self.tiltrec("-T", self.thickness, "-o", "rec.mrc", "--outside", "zero", *options,
                                 self.series, cwd=self.folder, **how).stderr
        return read_mrc(self.folder / "rec.mrc")

    def geometry(self, **options):
        return Geometry(TILTS, self.views.shape[2], self.thickness, **options)

    def expected(self, method, geometry=None, **options):
        """The slices by the reference; of iterations the volume only."""
        geometry = geometry or self.geometry()
        done = method(geometry, self.views.swapaxes(0, 1), **options)
        if isinstance(done, list):
            done, self.squares = zip(*done)
            self.stopped_at = [len(s) for s in self.squares]
        return np.stack(done)


@pytest.fixture
def case(tiltrec, tmp_path):
    return Case(tiltrec, tmp_path)


METHODS = {"BPT": reference.bpt, "WBP": reference.wbp, "FBP": reference.fbp,
           "SIRT": lambda g, b: reference.sirt(g, b, 4),
           "SART": lambda g, b: reference.sart(g, b, 2)}
ITERATIONS = {"SIRT": ["-i", 4], "SART": ["-i", 2]}


@pytest.mark.parametrize("shape", [(40, 24, 14), (41, 19, 13), (33, 70, 8), (3, 2, 5)],
                         ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("algorithm", METHODS)
def test_algorithms(tiltrec, tmp_path, algorithm, shape):
    n_u, n_v, thickness = shape
    case = Case(tiltrec, tmp_path, n_u, n_v, thickness)
    volume = case.run("-a", algorithm, *ITERATIONS.get(algorithm, []))
    assert difference(volume, case.expected(METHODS[algorithm])) < CLOSE


@pytest.mark.parametrize("algorithm", METHODS)
@pytest.mark.parametrize("options", [
    {"tilt_offset": 7.5}, {"axis_shift": 3.3}, {"x_shift": -4.25}, {"z_shift": 2.6},
    {"width": 27}, {"width": 56},
    {"tilt_offset": -11, "axis_shift": -5.5, "x_shift": 6, "z_shift": -3, "width": 35},
    {"tilt_offset": 28.5},  # the steepest view to exactly 90 degrees
], ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items()))
def test_geometry_options(case, algorithm, options):
    given = [text for name, value in options.items()
             for text in ("--" + name.replace("_", "-"), value)]
    volume = case.run("-a", algorithm, *ITERATIONS.get(algorithm, []), *given)
    geometry = case.geometry(**options)
    at_edge = np.isclose(np.degrees(geometry.tilt), 90)
    geometry.tilt[at_edge] = np.radians(89.95)
    if "tilt_offset" in options and options["tilt_offset"] == 28.5:
        assert at_edge.any()
    assert difference(volume, case.expected(METHODS[algorithm], geometry)) < CLOSE
    # The options do something, so that leaving one out would be seen.
    plain = case.geometry(width=options.get("width"))
    if set(options) != {"width"}:
        assert difference(case.expected(METHODS[algorithm], plain),
                          case.expected(METHODS[algorithm], geometry)) > 0.01


@pytest.mark.parametrize("window", ["ramlak", "shepp-logan", "cosine", "hamming", "hann",
                                    "parzen", "chesler"])
def test_windows_of_fbp(case, window):
    volume = case.run("-a", "FBP", "--filter", window)
    assert difference(volume, case.expected(reference.fbp, window=window)) < CLOSE


@pytest.mark.parametrize("options, design", [
    (["--radial", "0.2,0.05"], {"radial": (0.2, 0.05)}),
    (["--radial", "0.3,0"], {"radial": (0.3, 0)}),
    (["--radial", "0.5,0"], {"radial": (0.5, 0)}),
    (["--hamming-like", 0.15], {"hamming_like": 0.15}),
    (["--sirt-like", 5], {"sirt_like": 5}),
    (["--sirt-like", 22, "--hamming-like", 0.2], {"sirt_like": 22, "hamming_like": 0.2}),
    (["--sirt-like", 60, "--radial", "0.4,0.1"], {"sirt_like": 60, "radial": (0.4, 0.1)}),
    (["--uniform-weights"], {"uniform": True}),
], ids=lambda o: " ".join(map(str, o)) if isinstance(o, list) else "")
def test_filters_of_wbp(case, options, design):
    expected = case.expected(reference.wbp, **design)
    assert difference(case.run("-a", "WBP", *options), expected) < CLOSE
    assert difference(case.expected(reference.wbp), expected) > 0.003


def test_wbp_is_the_default(case):
    assert difference(case.run(), case.expected(reference.wbp)) < CLOSE


def test_long_rows_are_padded_for_wbp_as_for_imod(tiltrec, tmp_path):
    """600 columns: the padding is limited to 50, where a twentieth would be more."""
    case = Case(tiltrec, tmp_path, n_u=600, n_v=2, thickness=4)
    assert difference(case.run("-a", "WBP"), case.expected(reference.wbp)) < CLOSE


@pytest.mark.parametrize("algorithm, method", [("SIRT", reference.sirt),
                                               ("SART", reference.sart)])
class TestIterations:
    def test_one(self, case, algorithm, method):
        volume = case.run("-a", algorithm, "-i", 1)
        assert difference(volume, case.expected(method, iterations=1)) < CLOSE

    def test_many(self, case, algorithm, method):
        volume = case.run("-a", algorithm, "-i", 12)
        assert difference(volume, case.expected(method, iterations=12)) < CLOSE

    @pytest.mark.parametrize("relaxation", [0.05, 1.6])
    def test_relaxation(self, case, algorithm, method, relaxation):
        volume = case.run("-a", algorithm, "-i", 3, "-r", relaxation)
        expected = case.expected(method, iterations=3, relaxation=relaxation)
        assert difference(volume, expected) < CLOSE
        assert difference(case.expected(method, iterations=3), expected) > 0.01

    def test_positive(self, case, algorithm, method):
        case.views -= 2.0
        write_series(case.folder, case.views, TILTS)
        volume = case.run("-a", algorithm, "-i", 4, "--positive")
        expected = case.expected(method, iterations=4, positive=True)
        assert difference(volume, expected) < CLOSE
        assert volume.min() == 0
        assert case.expected(method, iterations=4).min() < -0.01

    @pytest.mark.parametrize("order", ["xzy", "xyz"])
    def test_initial(self, case, algorithm, method, order):
        """A start that no iteration would give, and that differs from slice to slice."""
        rng = np.random.default_rng(1)
        start = np.float32(rng.normal(size=(24, 14, 40))).astype(float)
        stored = start if order == "xzy" else start[:, ::-1].swapaxes(0, 1)
        write_mrc(case.folder / "start.mrc", stored)
        volume = case.run("-a", algorithm, "-i", 2, "--initial", "start.mrc",
                          "--order", order)
        volume = volume if order == "xzy" else volume.swapaxes(0, 1)[:, ::-1]
        expected = case.expected(method, iterations=2, initial=start)
        assert difference(volume, expected) < CLOSE

    def test_initial_of_some_slices(self, case, algorithm, method):
        rng = np.random.default_rng(1)
        start = np.float32(rng.normal(size=(5, 14, 40))).astype(float)
        write_mrc(case.folder / "start.mrc", start)
        volume = case.run("-a", algorithm, "-i", 1, "--initial", "start.mrc",
                          "--slices", "7:11")
        expected = np.stack([method(case.geometry(), case.views[:, 7 + k], 1,
                                    initial=start[k])[0] for k in range(5)])
        assert difference(volume, expected) < CLOSE

    def test_continued_equals_uninterrupted(self, case, algorithm, method):
        first = case.run("-a", algorithm, "-i", 3)
        write_mrc(case.folder / "start.mrc", first)
        continued = case.run("-a", algorithm, "-i", 2, "--initial", "start.mrc")
        whole = case.run("-a", algorithm, "-i", 5)
        assert difference(continued, whole) < CLOSE
        assert difference(first, whole) > 0.01

    def test_tolerance_stops_each_slice_by_itself(self, case, algorithm, method):
        """The projections of a slice with ever more noise, which no slice explains: they
        differ in when they reach the tolerance, and the last ones never do."""
        rng = np.random.default_rng(2)
        geometry = case.geometry()
        z, x = np.meshgrid(geometry.z, geometry.x, indexing="ij")
        blob = np.exp(-(x - 5) ** 2 / 30 - (z + 1) ** 2 / 8).ravel()
        clean = geometry.matrix() @ blob
        noise = 0.05 * np.arange(24)[:, None] * rng.normal(size=case.views.shape)
        case.views = np.float32(clean[:, None] + noise).astype(float)
        write_series(case.folder, case.views, TILTS)
        options = ("-a", algorithm, "-i", 15, "--tolerance", 0.2)
        volume = case.run(*options)
        expected = case.expected(method, iterations=15, tolerance=0.2)
        assert len(set(case.stopped_at)) > 4 and max(case.stopped_at) == 15
        assert difference(volume, expected) < CLOSE
        assert difference(case.expected(method, iterations=15), expected) > 0.01
        assert np.array_equal(case.run(*options, ranks=3), volume)

    def test_the_residuals_printed_are_those_of_the_reference(self, case, algorithm,
                                                              method):
        case.run("-a", algorithm, "-i", 7)
        printed = [float(v) for v in re.findall(r"\d+: (\d\.\d{6})", case.said)]
        case.expected(method, iterations=7)
        squares = np.sum(case.squares, axis=0) / np.sum(case.views ** 2)
        assert printed == pytest.approx(np.sqrt(squares), abs=2e-6)


@pytest.mark.parametrize("iterations, passes, options", [
    (2, 2, []), (10, 8, []), (30, 14, []), (100, 26, []), (30, None, ["-r", 0.6]),
    (30, None, ["-r", 1.6]), (30, None, ["--pitch", 7])])
def test_accelerated_sirt_is_sirt(case, iterations, passes, options):
    """To a thousandth, in about half the passes and less."""
    options = ["-a", "SIRT", "-i", iterations, *options]
    plain = case.run(*options)
    fast = case.run(*options, "--accelerate", "chebyshev")
    assert np.linalg.norm(fast - plain) < 1e-3 * np.linalg.norm(plain)
    said = int(re.search(r"in (\d+) by Chebyshev", case.said)[1])
    assert said == passes if passes else said < iterations / 1.5


def test_accelerated_sirt_goes_on_from_a_volume(case):
    case.run("-a", "SIRT", "-i", 3)
    (case.folder / "rec.mrc").rename(case.folder / "start.mrc")
    options = ["-a", "SIRT", "-i", 20, "--initial", "start.mrc"]
    plain = case.run(*options)
    fast = case.run(*options, "--accelerate", "chebyshev", ranks=3)
    assert np.linalg.norm(fast - plain) < 1e-3 * np.linalg.norm(plain)
    assert np.array_equal(fast, case.run(*options, "--accelerate", "chebyshev"))


@pytest.mark.parametrize("options, reason", [
    (["--positive"], "cannot be used with --positive"),
    (["--tolerance", 0.1], "cannot be used with --tolerance"),
    (["-i", 1001], "up to 1000 iterations, not 1001")])
def test_accelerated_sirt_refuses(case, options, reason):
    done = case.tiltrec("-a", "SIRT", "--accelerate", "chebyshev", *options, case.series,
                        cwd=case.folder, check=False)
    assert done.returncode == 2 and reason in done.stderr


def test_bpt_is_the_mean_of_the_views(tiltrec, tmp_path):
    """One untilted view: the voxels are its pixels. Two equal ones: the same."""
    image = np.random.default_rng(3).normal(size=(9, 20))
    for count in (1, 2):
        series = write_series(tmp_path, np.stack([image] * count), [0] * count)
        tiltrec("-a", "BPT", "-T", 6, "-o", "rec.mrc", series, cwd=tmp_path)
        volume = read_mrc(tmp_path / "rec.mrc")
        assert volume == pytest.approx(np.repeat(image[:, None], 6, axis=1), abs=1e-5)
