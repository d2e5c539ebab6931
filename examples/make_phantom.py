#!/usr/bin/env python3
"""Make a synthetic tilt series of a specimen, with the truth to compare with.

The cell is a list of ellipsoids, so its projections are exact line integrals and owe
nothing to a voxel grid: an outer membrane (the difference of two ellipsoids) around
cytoplasm, vesicles, ribosomes of two lobes, and gold beads beside the cell. It lies
wholly within the volume. Dense matter is bright, as in a cryo-ET series whose contrast
has been inverted; the vitreous ice around the cell is the zero level.

--specimen slab is what a microscope sees: a layer 0.8 NZ thick, full of vesicles and
ribosomes, which goes on beyond the field of view on all sides, as far as any view
reaches; above and below it is nothing. A lamella is the same, milled at an angle.
--gold puts dense beads beside the field, on both sides, and --carbon a foil beneath the
specimen, from its straight edge beside the field to the right without end: neither is in
the truth, and both come into view as the specimen tilts.

For the tilt angle t and the pitch g, with the coordinates (x, y, s) of a voxel taken from
the volume's centre, x = column - (NX - 1)/2 - SHIFT and so on,

    y' = y cos g - s sin g        u = x cos t - z' sin t
    z' = y sin g + s cos g        v = y'

and the detector's column is (NX - 1)/2 + SHIFT + u, its row (NY - 1)/2 + v. A pixel is the
mean of four rays, 2 x 2 within the pixel. The missing wedge comes from the range of
angles.

Written, each under its name only once it is whole:
         PREFIX_ali.mrc  the series, views in order of angle
         PREFIX.tlt      its angles in degrees
         PREFIX_truth.mrc  the cell, in IMOD's order: sections y, rows thickness, columns x
"""
import argparse
import contextlib
import os

import numpy as np

import mrc

FIELD = 4000.0  # width of the field of view in angstroms, whatever the number of pixels


def rotation(rng):
    """A random rotation matrix (from a random unit quaternion)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


class Phantom:
    """Ellipsoids: centre and matrix A with (p - c)' A (p - c) <= 1 inside, density."""

    def __init__(self):
        self.ellipsoids = []
        self.layers = []  # (density, thickness, normal), without end, through the centre
        self.plates = []  # (density, [(normal, low, high)]): low <= normal . p <= high

    def add_layer(self, density, thickness, angle):
        """Its normal is in the plane of x and s, `angle` (radians) from s."""
        normal = np.array([-np.sin(angle), 0, np.cos(angle)])
        self.layers.append((density, thickness, normal))

    def add(self, density, centre, axes, turn=np.eye(3)):
        matrix = turn @ np.diag(1.0 / np.square(axes)) @ turn.T
        self.ellipsoids.append((density, np.asarray(centre, float), matrix))

    def add_shell(self, wall, inside, centre, axes, thickness, turn=np.eye(3)):
        axes = np.asarray(axes, float)
        self.add(wall, centre, axes, turn)
        self.add(inside - wall, centre, axes - thickness, turn)

    def project(self, angle, pitch, nx, ny, shift):
        """Line integrals, in pixels, as image[ny][nx]; angles in radians."""
        c, s = np.cos(angle), np.sin(angle)
        tilt = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        cg, sg = np.cos(pitch), np.sin(pitch)
        to_view = tilt @ np.array([[1, 0, 0], [0, cg, -sg], [0, sg, cg]])
        fine = np.zeros((2 * ny, 2 * nx), np.float32)
        u = (np.arange(2 * nx) + 0.5) / 2 - nx / 2
        v = (np.arange(2 * ny) + 0.5) / 2 - ny / 2
        for density, thickness, normal in self.layers:
            fine += np.float32(density * thickness / abs(normal @ to_view[2]))
        for density, sides in self.plates:
            fine += density * plate_chords(sides, to_view, u - shift, v, shift)
        for density, centre, matrix in self.ellipsoids:
            a = to_view @ matrix @ to_view.T
            u0, v0, _ = to_view @ (centre - [shift, 0, 0]) + [shift, 0, 0]
            # Seen along the third axis: chord = 2 sqrt((1 - w' b w) / a33).
            b = a[:2, :2] - np.outer(a[:2, 2], a[2, :2]) / a[2, 2]
            half = np.sqrt(np.diag(np.linalg.inv(b)))
            i0, i1 = np.searchsorted(u, [u0 - half[0], u0 + half[0]])
            j0, j1 = np.searchsorted(v, [v0 - half[1], v0 + half[1]])
            if i0 == i1 or j0 == j1:
                continue
            du = (u[i0:i1] - u0).astype(np.float32)
            dv = (v[j0:j1] - v0).astype(np.float32)[:, None]
            w = 1 - (b[0, 0] * du * du + 2 * b[0, 1] * du * dv + b[1, 1] * dv * dv)
            np.sqrt(np.maximum(w, 0, out=w), out=w)
            fine[j0:j1, i0:i1] += np.float32(2 * density / np.sqrt(a[2, 2])) * w
        return fine.reshape(ny, 2, nx, 2).mean(axis=(1, 3))

    def voxels(self, nx, ny, nz):
        """The densities as volume[y][z][x]; a voxel on a surface counts by how many of
        4 x 4 x 4 points within it lie inside."""
        steps = (np.arange(4, dtype=np.float32) - 1.5) / 4
        points = np.array(np.meshgrid(steps, steps, steps)).reshape(3, 1, 64)
        volume = np.zeros((ny, nz, nx), np.float32)
        x, z = np.arange(nx) - (nx - 1) / 2, (np.arange(nz) - (nz - 1) / 2)[:, None]
        for density, thickness, normal in self.layers:
            height = np.abs(normal[0] * x + normal[2] * z)
            volume += np.float32(density * np.clip((thickness + 1) / 2 - height, 0, 1))
        for density, sides in self.plates:
            part = density
            for normal, low, high in sides:  # the plates' normals have no y
                at = normal[0] * x + normal[2] * z
                part = part * (np.clip(high - at + 0.5, 0, 1) * np.clip(at - low + 0.5, 0, 1))
            volume += np.float32(part)
        for density, centre, matrix in self.ellipsoids:
            matrix = matrix.astype(np.float32)
            half = np.sqrt(np.diag(np.linalg.inv(matrix))) + 1
            grid = []
            for n, middle, reach in zip((nx, ny, nz), centre, half):
                at = np.arange(n) - (n - 1) / 2
                i0, i1 = np.searchsorted(at, [middle - reach, middle + reach])
                grid.append((slice(i0, i1), (at[i0:i1] - middle).astype(np.float32)))
            (xs, x), (ys, y), (zs, z) = grid
            if min(len(x), len(y), len(z)) == 0:
                continue
            for row, dy in zip(range(ys.start, ys.stop), y):
                p = np.stack(np.broadcast_arrays(x[None, :], dy, z[:, None]))
                gradient = np.tensordot(matrix, p, 1)
                root = np.sqrt((p * gradient).sum(axis=0))
                # To first order the surface is (1 - root) / |gradient of root| away.
                slope = np.sqrt((gradient ** 2).sum(axis=0)) + np.float32(1e-9)
                near = np.abs(1 - root) * root < 2 * slope
                part = (root < 1).astype(np.float32)
                q = p[:, near][:, :, None] + points
                part[near] = ((q * np.tensordot(matrix, q, 1)).sum(axis=0) < 1).mean(axis=1)
                volume[row, zs, xs] += np.float32(density) * part
        return volume


def plate_chords(sides, to_view, u, v, shift):
    """Lengths within a plate of the rays through (u, v), u counted from the tilt axis."""
    enter, leave = -np.inf, np.inf
    for normal, low, high in sides:
        m = to_view @ normal  # along the ray: normal . p = start + m[2] w
        start = m[0] * u + m[1] * v[:, None] + normal[0] * shift
        with np.errstate(divide="ignore"):  # +-inf: the ray is inside or outside for good
            ends = np.array([low - start, high - start]) / m[2]
        enter = np.maximum(enter, ends.min(axis=0))
        leave = np.minimum(leave, ends.max(axis=0))
    return np.float32(np.maximum(leave - enter, 0))


def make_cell(nx, ny, nz, seed):
    """The cell for a volume of this size in pixels."""
    rng = np.random.default_rng(seed)
    nm = 10 * nx / FIELD  # pixels per nanometre
    phantom = Phantom()
    box = np.array([nx, ny, nz]) / 2
    cell = np.array([0.80, 0.84, 0.86]) * box
    membrane = min(8 * nm, 0.2 * cell.min())
    phantom.add_shell(1.0, 0.3, [0, 0, 0], cell, membrane)
    taken = []  # (centre, radius) of what is placed already

    def place(radius, inside_cell):
        """A free place for a ball, or None where a hundred tries find none."""
        for _ in range(100):
            at = rng.uniform(-1, 1, 3) * (box - radius - 2)
            if inside_cell:
                room = cell - membrane - radius - 1
                free = room.min() > 0 and np.sum((at / room) ** 2) < 1
            else:
                free = np.sum((at / (cell + radius + 1)) ** 2) > 1
            if free and all(np.linalg.norm(at - c) > radius + r + 1 for c, r in taken):
                taken.append((at, radius))
                return at
        return None

    for _ in range(7):
        radius = min(rng.uniform(22, 36) * nm, 0.30 * nz)
        if (at := place(radius, True)) is not None:
            axes = radius * rng.uniform(0.8, 1.0, 3)
            phantom.add_shell(0.7, -0.2, at, axes, 6 * nm, rotation(rng))
    for _ in range(12):
        radius = 6 * nm
        if (at := place(radius, False)) is not None:
            phantom.add(5.0, at, [radius] * 3)
    for _ in range(120):
        radius = 13 * nm
        if (at := place(radius, True)) is not None:
            turn = rotation(rng)
            phantom.add(0.9, at - turn @ [0, 0, 3 * nm], np.array([11, 10, 8]) * nm, turn)
            phantom.add(0.6, at + turn @ [0, 0, 8 * nm], np.array([9, 6, 5]) * nm, turn)
    return phantom


def turn_about_y(angle):
    """From a layer's own axes (x, y, normal) to the volume's; its normal is as in add_layer."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def add_gold(phantom, nx, ny, nz, seed, angle, steepest):
    """Dense beads in a layer 0.8 NZ thick, beside the field on both sides, no further than
    views at `steepest` show them; angles in radians. Its own random numbers: the rest stays
    as it is. A bead may lie in a vesicle: then their densities add up."""
    rng = np.random.default_rng([seed, 1])
    radius = 60 * nx / FIELD  # 6 nm
    reach = 0.2 * nx * (1 / np.cos(steepest) - 1)
    for k in range(max(4, round(8 * ny / nx))):
        x = (-1) ** k * (nx / 2 + radius + 1 + rng.uniform(0, reach))
        y = rng.uniform(-0.5, 0.5) * ny
        height = rng.uniform(-1, 1) * max(0.4 * nz - radius, 0)
        along = (x + height * np.sin(angle)) / np.cos(angle)
        phantom.add(20.0, turn_about_y(angle) @ [along, y, height], [radius] * 3)


def add_carbon(phantom, nx, nz, angle, steepest):
    """A foil of 12 nm beneath a layer 0.8 NZ thick, wholly beside the field (x > NX/2);
    angles in radians."""
    thickness = min(120 * nx / FIELD, 0.1 * nz)
    low = -0.4 * nz - thickness
    x = nx / 2 + 1 + 0.06 * nx * (1 / np.cos(steepest) - 1)
    edge = (x + abs(low * np.sin(angle))) / np.cos(angle)
    along, _, normal = turn_about_y(angle).T
    phantom.plates.append((2.0, [(normal, low, low + thickness), (along, edge, np.inf)]))


def make_slab(nx, ny, nz, seed, angle=0.0, steepest=60.0, shift=0.0):
    """A layer full of vesicles, ribosomes and a few gold beads, as far as views tilted to
    +-steepest degrees reach; `angle` in degrees. Sizes in pixels."""
    rng = np.random.default_rng(seed)
    nm = 10 * nx / FIELD
    phantom = Phantom()
    thickness, beta = 0.8 * nz, np.radians(angle)
    phantom.add_layer(0.3, thickness, beta)
    turn = turn_about_y(beta)
    tilt = np.radians(min(abs(steepest) + abs(angle), 80))
    box = np.array([(nx + 2 * abs(shift) + nz * np.sin(tilt)) / np.cos(tilt) / 2 + 30 * nm,
                    ny / 2 + 30 * nm, thickness / 2])
    cells = {}  # what is placed, by squares in x and y as wide as the largest
    side = 2 * 36 * nm + 2

    def place(radius):
        """A free place for a ball, or None where ten tries find none."""
        for _ in range(10):
            at = rng.uniform(-1, 1, 3) * (box - [0, 0, min(radius + 2, 0.9 * box[2])])
            i, j = (int(np.floor(k / side)) for k in at[:2])
            near = [b for di in (-1, 0, 1) for dj in (-1, 0, 1)
                    for b in cells.get((i + di, j + dj), [])]
            if all(np.linalg.norm(at - c) > radius + r + 1 for c, r in near):
                cells.setdefault((i, j), []).append((at, radius))
                return turn @ at
        return None

    fields = 4 * box[0] * box[1] / (nx * nx)  # in fields of view nx x nx
    for _ in range(int(10 * fields)):
        radius = min(rng.uniform(22, 36) * nm, 0.35 * nz)
        if (at := place(radius)) is not None:
            axes = radius * rng.uniform(0.8, 1.0, 3)
            phantom.add_shell(0.7, -0.2, at, axes, min(6 * nm, 0.4 * axes.min()),
                              rotation(rng))
    for _ in range(int(6 * fields)):
        if (at := place(6 * nm)) is not None:
            phantom.add(5.0, at, [6 * nm] * 3)
    for _ in range(int(200 * fields)):
        if (at := place(13 * nm)) is not None:
            own = rotation(rng)
            phantom.add(0.9, at - own @ [0, 0, 3 * nm], np.array([11, 10, 8]) * nm, own)
            phantom.add(0.6, at + own @ [0, 0, 8 * nm], np.array([9, 6, 5]) * nm, own)
    return phantom


def noise_of_dose(series, dose, pixel, contrast=0.05):
    """Standard deviation of the noise in a view that gets its share of `dose` electrons
    per square angstrom. N electrons a pixel have a relative deviation of 1 / sqrt(N);
    the specimen's is taken to be `contrast`."""
    electrons = dose / len(series) * pixel ** 2
    deviation = np.sqrt(series.var(axis=(1, 2), dtype=np.float64).mean())
    return deviation / contrast / np.sqrt(electrons)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--size", nargs=3, type=int, default=[256, 256, 96], metavar=("NX", "NY", "NZ"),
        help="images are NX x NY, the volume NZ thick (default 256 256 96)")
    add("--views", type=int, default=41, help="number of views (default 41)")
    add("--range", nargs=2, type=float, default=[-60, 60], metavar=("FIRST", "LAST"),
        help="tilt angles in degrees, evenly spaced (default -60 60)")
    add("--pitch", type=float, default=0, help="rotation about x in degrees (default 0)")
    add("--axis-shift", type=float, default=0,
        help="columns from the images' centre to the tilt axis (default 0)")
    noise = parser.add_mutually_exclusive_group()
    noise.add_argument("--snr", type=float, default=3,
        help="variance of the clean series over that of the noise (default 3)")
    noise.add_argument("--noise", type=float, metavar="FACTOR",
        help="white Gaussian noise of FACTOR times the mean of the clean views' standard "
             "deviations")
    noise.add_argument("--dose", type=float,
        help="electrons per square angstrom in all views together: noise of that dose, for "
             "a specimen whose views vary by 5 per cent")
    noise.add_argument("--noise-free", action="store_true", help="add no noise")
    add("--specimen", choices=["cell", "slab", "lamella"], default="cell",
        help="an isolated cell (default), or a layer that goes on beyond the field")
    add("--lamella-angle", type=float, default=8,
        help="of a lamella to the images' plane at tilt 0, in degrees (default 8)")
    add("--gold", action="store_true",
        help="dense beads beside the field of a slab or a lamella")
    add("--carbon", action="store_true",
        help="a carbon foil beside the field of a slab or a lamella")
    add("--seed", type=int, default=1, help="of the cell and the noise (default 1)")
    add("--out-prefix", default="cell", help="how the files' names begin (default cell)")
    arguments = parser.parse_args()
    if min(arguments.size) < 16 or arguments.views < 1 or not arguments.snr > 0:
        parser.error("needs at least 16 pixels each way, one view, and an SNR above 0")
    if arguments.dose is not None and not arguments.dose > 0:
        parser.error(f"--dose {arguments.dose:g}: must be above 0 electrons per square "
                     "angstrom")
    if arguments.noise is not None and not 0 <= arguments.noise < np.inf:
        parser.error(f"--noise {arguments.noise:g}: must be at least 0")
    if arguments.specimen == "cell" and (arguments.gold or arguments.carbon):
        parser.error("--gold and --carbon need --specimen slab or lamella")
    if not abs(arguments.lamella_angle) <= 30:
        parser.error(f"--lamella-angle {arguments.lamella_angle:g}: must be from -30 to 30 "
                     "degrees")
    steepest = max(map(abs, arguments.range))
    if arguments.specimen == "lamella":
        steepest += abs(arguments.lamella_angle)
    if arguments.specimen != "cell" and steepest > 75:
        parser.error(f"a {arguments.specimen} without end cannot be seen at {steepest:g} "
                     "degrees from its normal, beyond 75; make --range smaller")
    return arguments


def make_specimen(a):
    nx, ny, nz = a.size
    if a.specimen == "cell":
        return make_cell(nx, ny, nz, a.seed)
    angle = a.lamella_angle if a.specimen == "lamella" else 0.0
    steepest = max(map(abs, a.range))
    phantom = make_slab(nx, ny, nz, a.seed, angle, steepest, a.axis_shift)
    if a.gold:
        add_gold(phantom, nx, ny, nz, a.seed, *np.radians([angle, steepest]))
    if a.carbon:
        add_carbon(phantom, nx, nz, *np.radians([angle, steepest]))
    return phantom


def noise_deviation(series, a, pixel):
    """Standard deviation of the noise that was asked for, for the clean series."""
    if a.noise_free:
        return 0.0
    if a.dose:
        return noise_of_dose(series, a.dose, pixel)
    if a.noise is not None:
        return a.noise * series.std(axis=(1, 2), dtype=np.float64).mean()
    if a.specimen != "cell":
        return np.sqrt(series.var(axis=(1, 2), dtype=np.float64).mean() / a.snr)
    return np.sqrt(series.var(dtype=np.float64) / a.snr)


@contextlib.contextmanager
def whole(path):
    """A name to write under; what was written has the name `path` if all went well, and is
    removed otherwise."""
    part = f"{path}.{os.getpid()}.part"
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


def main():
    a = parse_arguments()
    nx, ny, nz = a.size
    pixel = FIELD / nx
    phantom = make_specimen(a)
    angles = np.round(np.linspace(*a.range, a.views), 2)
    pitch = np.radians(a.pitch)
    series = np.stack([phantom.project(t, pitch, nx, ny, a.axis_shift)
                       for t in np.radians(angles)])
    if sigma := noise_deviation(series, a, pixel):
        noise = np.random.default_rng(a.seed).standard_normal(series.shape, np.float32)
        series += np.float32(sigma) * noise
    with whole(a.out_prefix + "_ali.mrc") as path:
        mrc.write(path, series, pixel, f"Synthetic tilt series of a {a.specimen}")
    with whole(a.out_prefix + ".tlt") as path:
        np.savetxt(path, angles, "%.2f")
    with whole(a.out_prefix + "_truth.mrc") as path:
        mrc.write(path, phantom.voxels(nx, ny, nz), pixel,
                  f"The synthetic {a.specimen} itself: sections y, rows thickness, columns x")
    print(f"{len(phantom.ellipsoids)} ellipsoids, {a.views} views of {nx} x {ny}, "
          f"{angles[0]:g} to {angles[-1]:g} degrees, pixel {pixel:.4g} A")


if __name__ == "__main__":
    main()
