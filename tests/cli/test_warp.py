"""Warp's .xml and .tomostar in the place of the angles: where Warp projects points
(TiltSeries.GetPositionInAllTilts), in double precision, makes the views; their tomogram has
the points at their places, as high as where nothing moves within the views."""
import numpy as np
import pytest

from conftest import read_mrc, write_mrc
from test_alignment_files import (DATA, DEPTH, DOTS, HIGH, PIXEL, SHIFT, TILTS, TURN, WIDE,
                                  VIEWS, heights, rotation)

GRID = (5, 4, 7)
MARGIN = (0.1, 0.0, 0.0)
LEVEL = 3.0


def natural(values, at):
    """The natural cubic spline through values at 0, 1, ..., n - 1."""
    n = len(values)
    second = np.zeros(n)
    if n > 2:
        matrix = 4 * np.eye(n - 2) + np.eye(n - 2, k=1) + np.eye(n - 2, k=-1)
        second[1:-1] = np.linalg.solve(matrix, 6 * np.diff(values, 2))
    k = min(max(int(np.floor(at)), 0), n - 2)
    b = at - k
    a = 1 - b
    return (a * values[k] + b * values[k + 1]
            + ((a ** 3 - a) * second[k] + (b ** 3 - b) * second[k + 1]) / 6)


class Warp:
    """Of a series whose parts move by `most` pixels."""

    def __init__(self, most=3.0, seed=4):
        phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, 1, 1, GRID[2]))
        x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in GRID], indexing="ij")
        wave = np.array([1.5 * x + y, y - 1.5 * x])
        self.grids = PIXEL * most * np.sin(phase + wave)

    def movement(self, grid, *at):
        """Angstroms, at a part of the image's width and height and of the views."""
        for n, margin, u in zip(GRID, MARGIN, at):
            u = np.clip((u - margin) / (1 - 2 * margin), 0, 1) * (n - 1)
            flat = grid.reshape(n, -1)
            grid = np.array([natural(column, u) for column in flat.T]).reshape(grid.shape[1:])
        return float(grid)

    def views(self, moved=True, pad=20):
        views = np.zeros((len(TILTS), HIGH + 2 * pad, WIDE + 2 * pad))
        v, u = np.mgrid[:17, :17] - 8.0
        for k, tilt in enumerate(np.radians(-TILTS)):  # of Warp
            for x, y, z in DOTS * (1, 1, -1):
                point = rotation(TURN[k])[:2, :2] @ (x * np.cos(tilt) - z * np.sin(tilt), y)
                point = point + SHIFT[k] + (WIDE / 2, HIGH / 2)  # pixels from the corner
                if moved:
                    at = (point[0] / WIDE, point[1] / HIGH, k / (len(TILTS) - 1))
                    point = point - [self.movement(g, *at) / PIXEL for g in self.grids]
                point = point + pad
                i, j = np.round(point).astype(int)
                near = (u + i - point[0]) ** 2 + (v + j - point[1]) ** 2
                views[k, j - 8:j + 9, i - 8:i + 9] += np.exp(-near / (2 * 1.3 ** 2))
        return views[:, pad:-pad, pad:-pad].copy()

    def grid(self, name, values):
        nodes = "".join(f'<Node X="{x}" Y="{y}" Z="{z}" Value="{values[x, y, z]:.6f}" />\n'
                        for z in range(GRID[2]) for y in range(GRID[1]) for x in range(GRID[0]))
        sizes = " ".join(f'{s}="{n}"' for s, n in zip(("Width", "Height", "Depth"), GRID))
        return f'<{name} {sizes} MarginX="{MARGIN[0]}">\n{nodes}</{name}>\n'

    def xml(self, moved=True, more=""):
        movement = self.grid("GridMovementX", self.grids[0])
        movement += self.grid("GridMovementY", self.grids[1])
        return xml(more=(movement if moved else "") + more)


def listed(name, values):
    return f"<{name}>" + "\n".join(str(v) for v in values) + f"</{name}>\n"


def xml(tilts=TILTS, turn=TURN, shift=SHIFT * PIXEL, use=None, more="", level_x=0):
    use = [True] * len(tilts) if use is None else use
    return ('<?xml version="1.0" encoding="utf-8"?>\n'
            f'<TiltSeries AreAnglesInverted="False" LevelAngleX="{level_x}" '
            f'LevelAngleY="{LEVEL}">\n' + listed("Angles", -np.asarray(tilts) - LEVEL)
            + listed("UseTilt", use) + listed("AxisAngle", turn)
            + listed("AxisOffsetX", shift[:, 0]) + listed("AxisOffsetY", shift[:, 1])
            + more + "</TiltSeries>\n")


def tomostar():
    labels = ("MovieName AngleTilt AxisAngle AxisOffsetX AxisOffsetY Dose AverageIntensity "
              "MaskedFraction").split()
    rows = [f"../frames/{k}.eer {-tilt} {turn} {x * PIXEL} {y * PIXEL} {3 * k} 1.0 0.0\n"
            for k, (tilt, turn, (x, y)) in enumerate(zip(TILTS, TURN, SHIFT))]
    return ("\ndata_\n\nloop_\n" + "".join(f"_wrp{n} #{i}\n" for i, n in enumerate(labels, 1))
            + "".join(rows))


@pytest.fixture(scope="module")
def warp():
    return Warp()


@pytest.fixture(scope="module")
def still(warp):
    return warp.views(moved=False)


@pytest.fixture(scope="module")
def moved(warp):
    return warp.views()


@pytest.fixture
def run(tiltrec, tmp_path):
    def run(data, files, *options, **how):
        write_mrc(tmp_path / "ts.mrc", data, pixel=how.pop("pixel", PIXEL))
        for file, text in files.items():
            (tmp_path / file).write_text(text)
        done = tiltrec("ts.mrc", "-T", DEPTH, "-o", "o.mrc", *options, cwd=tmp_path, **how)
        return read_mrc(tmp_path / "o.mrc"), done.stderr
    return run


@pytest.fixture
def plain(run):
    """The heights where the views need no alignment."""
    views = np.zeros((len(TILTS), HIGH, WIDE))
    v, u = np.mgrid[:HIGH, :WIDE]
    for k, tilt in enumerate(np.radians(TILTS)):
        for x, y, z in DOTS:
            i = x * np.cos(tilt) - z * np.sin(tilt) + (WIDE - 1) / 2
            views[k] += np.exp(-((u - i) ** 2 + (v - y - (HIGH - 1) / 2) ** 2) / (2 * 1.3 ** 2))
    angles = "".join(f"{t}\n" for t in TILTS)
    return heights(run(views, {"plain.tlt": angles}, "-t", "plain.tlt")[0])


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("name", ["ts.xml", "ts.tomostar"])
def test_alignment(run, warp, still, plain, name, beside):
    text = warp.xml(moved=False) if name.endswith("xml") else tomostar()
    ours, said = run(still, {name if beside else "a" + name: text},
                     *(() if beside else ("-t", "a" + name)))
    ratio = heights(ours) / plain
    assert ratio.min() > 0.95 and ratio.mean() > 0.97
    assert "-60.00 to 60.00 degrees" in said and "tilt axis at 8.00 degrees" in said
    assert "warning" not in said


def test_sign_of_the_angles(run, still, plain):
    """With the other one the dots are not where they belong."""
    ours, _ = run(still, {"a.xml": xml(tilts=-TILTS - 2 * LEVEL)}, "-t", "a.xml")
    assert (heights(ours) / plain).mean() < 0.9


def test_movement_grids(run, warp, still, moved):
    whole = heights(run(still, {"s.xml": warp.xml(moved=False)}, "-t", "s.xml")[0])
    ours, said = run(moved, {"m.xml": warp.xml()}, "-t", "m.xml")
    ratio = heights(ours) / whole
    assert "by the movement grids in 21 of the 21 views" in said and "warning" not in said
    without, _ = run(moved, {"s.xml": warp.xml(moved=False)}, "-t", "s.xml")
    faded = heights(without) / whole
    print("with", ratio.min(), ratio.mean(), "without", faded.min(), faded.mean())
    assert ratio.min() > 0.97 and ratio.mean() > 0.99
    assert faded.mean() < 0.8
    assert np.array_equal(run(moved, {}, "-t", "m.xml", ranks=3)[0], ours)


def test_transforms_of_an_xml(run, warp, still):
    """With the angles from elsewhere."""
    ours, _ = run(still, {"s.xml": warp.xml(moved=False)}, "-t", "s.xml")
    angles = "".join(f"{t}\n" for t in TILTS)
    also, _ = run(still, {"a.tlt": angles}, "-t", "a.tlt", "--transforms", "s.xml")
    assert np.abs(also - ours).max() < 1e-3 * np.abs(ours).max()


def test_views_that_are_not_used(run, still):
    """The stack has all tilts, or only those that are used."""
    use = [k not in (4, 17) for k in range(len(TILTS))]
    ours, said = run(still, {"a.xml": xml(use=use)}, "-t", "a.xml")
    assert "has 19 of the 21 views; left out: 5,18\n" in said
    fewer, said = run(still[use], {}, "-t", "a.xml")
    assert np.array_equal(fewer, ours) and "left out" not in said


def test_what_is_not_applied(run, still):
    volume = ('<GridVolumeWarpX Width="1" Height="1" Depth="1" Duration="1">\n'
              '<Node X="0" Y="0" Z="0" W="0" Value="{}" />\n</GridVolumeWarpX>\n')
    _, said = run(still, {"a.xml": xml(more=volume.format(1.5), level_x=2)}, "-t", "a.xml")
    assert said.count("(GridVolumeWarp) are not applied") == 1
    assert said.count("LevelAngleX, a tilt about x of 2 degrees, is not applied") == 1
    _, said = run(still, {"a.xml": xml(more=volume.format(0))}, "-t", "a.xml")
    assert "warning" not in said


SMALL = np.arange(float(VIEWS))
GOOD = xml(SMALL, SMALL, np.zeros((VIEWS, 2)))


def with_grid(head, nodes='<Node X="0" Y="0" Z="0" Value="1" />'):
    return GOOD.replace("</TiltSeries>", f"<GridMovementX {head}>{nodes}</GridMovementX></TiltSeries>")


ONE = 'Width="1" Height="1" Depth="1"'


@pytest.mark.parametrize("text, said", [
    (GOOD.replace(listed("Angles", -SMALL - LEVEL), ""), "x.xml has 0 tilts, but s.mrc has 7"),
    (GOOD.replace("6.0</AxisAngle>", "</AxisAngle>"), "7 tilts in Angles, but 6 in AxisAngle"),
    (GOOD.replace("\nTrue</UseTilt>", "</UseTilt>"), "7 tilts in Angles, but 6 in UseTilt"),
    (GOOD.replace("True\n", "Yes\n", 1), 'UseTilt has "Yes", not True or False'),
    (GOOD.replace("True", "False"), "uses none of its 7 tilts"),
    (xml(np.arange(9.0), np.arange(9.0), np.zeros((9, 2))),
     "has 9 tilts, of which 9 are used, but s.mrc has 7 views"),
    (GOOD.replace("-3.0\n", "nan\n", 1), '"nan" is not a finite'),
    (GOOD.replace("<AxisAngle>0.0", "<AxisAngle>400"), "400 is not an angle"),
    (with_grid(ONE.replace('"1"', '"0"')), 'Width="0" is not the size of a grid'),
    (with_grid(ONE + ' MarginX="0.5"'), 'MarginX="0.5" is not a margin (0 to 0.5)'),
    (with_grid(ONE.replace('"1"', '"2"')), "has values at 1 of its 8 nodes"),
    (with_grid(ONE, '<Node X="1" Y="0" Z="0" Value="1" />'),
     'X="1" is not the place of a node in a grid of 1'),
    (with_grid(ONE, '<Node X="0" Y="0" Z="0" Value="1e9" />'), "angstroms are not a movement"),
    (with_grid(ONE, '<Node X="0" Y="0" Z="0" />'), "<Node> has no Value"),
    (with_grid("Width='1'"), "<GridMovementX> has no Height"),
    (GOOD[:-5], "a tag that does not end"),
])
def test_damaged(bench, text, said):
    bench.text("x.xml", text)
    bench.refused("s.mrc -t x.xml", DATA, "x.xml", said)


def test_pixel_size(run, still, tmp_path, tiltrec):
    """Shifts are in angstroms."""
    write_mrc(tmp_path / "p.mrc", still, pixel=0)
    (tmp_path / "a.xml").write_text(xml())
    done = tiltrec("p.mrc", "-T", DEPTH, "-o", "o.mrc", "-t", "a.xml", cwd=tmp_path, check=False)
    assert done.returncode == DATA and "has shifts in angstroms, but neither it nor" in done.stderr
