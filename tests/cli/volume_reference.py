"""What the tests of tiltrecz-mpi compare with: the projection of the whole volume as a
dense matrix in double precision, and objects whose views are known exactly. Written from
the formulas in the manual's chapter on geometry, not from the program.

Volumes are [y][z][x], series [view][row][column]; angles in degrees. `transforms` is None
or an array of .xf lines a11 a12 a21 a22 dx dy, one per view, which take an image as it is
in the file to the aligned one:  aligned - c = (a11 a12; a21 a22) (given - c) + (dx, dy).
"""
import numpy as np

from reference import Geometry


def hat(distance):
    return np.maximum(0, 1 - np.abs(distance))


def per_view(angles, n):
    return np.broadcast_to(np.radians(np.asarray(angles, float)), n)


def places(tilts, n_u, n_v, thickness, xtilts=0, transforms=None):
    """For each view, the column u and row v of its image at which each voxel is seen.
    xtilts is the pitch, or one angle for each view."""
    y = (np.arange(n_v) - (n_v / 2 - 0.5))[:, None, None]
    s = (np.arange(thickness) - (thickness // 2 - 0.5))[None, :, None]
    x = (np.arange(n_u) - (n_u // 2 - 0.5))[None, None, :]
    for k, (t, g) in enumerate(zip(np.radians(tilts), per_view(xtilts, len(tilts)))):
        height = y * np.sin(g) + s * np.cos(g)
        u = x * np.cos(t) - height * np.sin(t)
        v = y * np.cos(g) - s * np.sin(g) + 0 * x
        if transforms is not None:
            back = np.linalg.inv(transforms[k][:4].reshape(2, 2))
            u, v = np.tensordot(back, [u - transforms[k][4], v - transforms[k][5]], 1)
        yield n_u / 2 - 0.5 + u.ravel(), n_v / 2 - 0.5 + v.ravel()


def direct_matrix(tilts, n_u, n_v, thickness, **maps):
    """A[view, row, column][voxel y, z, x]: a voxel is shared out bilinearly to the pixels
    around the place where it is seen; what falls outside is lost."""
    views = []
    for u, v in places(tilts, n_u, n_v, thickness, **maps):
        columns = hat(u - np.arange(n_u)[:, None])
        rows = hat(v - np.arange(n_v)[:, None])
        views.append((rows[:, None] * columns[None]).reshape(n_v * n_u, -1))
    return np.concatenate(views)


def between(at, n):
    """For linear interpolation among n items, held at the ends: the two neighbours of each
    position, and the share of the second."""
    at = np.clip(at, 0, n - 1)
    first = np.floor(at).astype(int)
    return first, np.minimum(first + 1, n - 1), at - first


def bilinear(values, at, heights):
    """values[i][j][x] at fractional positions i = at, j = heights; held at the ends."""
    i, next_i, up = between(at, values.shape[0])
    j, next_j, high = between(heights, values.shape[1])
    up, high = up[..., None], high[..., None]
    return ((1 - up) * ((1 - high) * values[i, j] + high * values[i, next_j])
            + up * ((1 - high) * values[next_i, j] + high * values[next_i, next_j]))


class Frame:
    """The frame (x, y', z') in which a volume of n_v slices is computed at a pitch, where
    only slices first to last are wanted (none: all). Its values are [row y'][plane z'][x];
    rows are those of the image that the wanted slices need, planes whole z' of all."""

    def __init__(self, pitch, n_u, n_v, thickness, wanted=None):
        self.n_u, self.n_v, self.sine, self.cosine = (
            n_u, n_v, np.sin(np.radians(pitch)), np.cos(np.radians(pitch)))
        self.first, last = wanted or (0, n_v - 1)
        self.middle, self.axis = n_v / 2 - 0.5, thickness // 2 - 0.5
        s = np.arange(thickness) - self.axis
        every = (np.arange(n_v) - self.middle)[:, None]
        height = every * self.sine + s * self.cosine
        self.z = np.arange(np.floor(height.min()), np.floor(height.max()) + 2)
        y = every[self.first:last + 1]
        self.row_at = y * self.cosine - s * self.sine + self.middle
        self.height_at = y * self.sine + s * self.cosine
        self.rows = np.arange(max(int(np.floor(self.row_at.min())), 0),
                              min(int(np.floor(self.row_at.max())) + 1, n_v - 1) + 1)
        self.shape = len(self.rows), len(self.z), n_u

    def matrix(self, tilts):
        """A[view, row, column][row, z', x], a block for each row."""
        one = Geometry(tilts, self.n_u, len(self.z), z=self.z).matrix()
        n = len(self.rows)
        return np.einsum("rs,vcp->vrcsp", np.eye(n), one).reshape(len(tilts) * n * self.n_u,
                                                                  -1)

    def slices(self, x):
        """The wanted slices [y][s][x] of values of the frame."""
        return bilinear(x.reshape(self.shape), self.row_at - self.rows[0],
                        self.height_at - self.z[0])

    def values(self, slices):
        """The values of the frame where the wanted slices are given."""
        y, z = (self.rows - self.middle)[:, None], self.z
        return bilinear(slices, y * self.cosine + z * self.sine + self.middle - self.first,
                        z * self.cosine - y * self.sine + self.axis)


def bpt(views, tilts, thickness, **maps):
    """The mean over the views, bilinear; beyond its ends, a row goes on with its mean from
    one pixel outside, and beyond the first and the last row these go on."""
    n_v, n_u = views[0].shape
    total = 0
    for image, (u, v) in zip(views, places(tilts, n_u, n_v, thickness, **maps)):
        mean = image.mean(axis=1, keepdims=True)
        known = np.concatenate([mean, image, mean], axis=1)
        columns = hat(np.clip(u, -1, n_u) - np.arange(-1, n_u + 1)[:, None])
        rows = hat(np.clip(v, 0, n_v - 1) - np.arange(n_v)[:, None])
        total = total + np.einsum("rp,rc,cp->p", rows, known, columns, optimize=True)
    return total.reshape(n_v, thickness, n_u) / len(tilts)


def cgls(a, b, iterations, weights, owners, x=None):
    """Conjugate gradients in the metric of SIRT's weights (of data, of unknowns), each
    group of rows with scalars of its own; owners: the group of each datum and of each
    unknown. All iterates, and |b - A x| of each group before each iteration."""
    rows, columns = weights
    of_b, of_x = owners
    x = np.zeros(a.shape[1]) if x is None else x.astype(float)
    r = b - a @ x
    d, before = np.zeros(a.shape[1]), None
    iterates, norms = [], []
    for _ in range(iterations):
        norms.append(np.sqrt(np.bincount(of_b, r * r)))
        g = a.T @ (rows * r)
        gamma = np.bincount(of_x, columns * g * g)
        d = columns * g + (0 if before is None else (gamma / before)[of_x] * d)
        q = a @ d
        alpha = gamma / np.bincount(of_b, rows * q * q)
        x, r = x + alpha[of_x] * d, r - alpha[of_b] * q
        before = gamma
        iterates.append(x)
    return iterates, np.array(norms)


class Blobs:
    """Gaussian ellipsoids within a box, without detail below `finest` pixels (sigma)."""

    def __init__(self, n_x, n_y, n_z, finest, count=12, seed=0):
        rng = np.random.default_rng(seed)
        self.shape = (n_x, n_y, n_z)
        self.parts = []
        for _ in range(count):
            axes = finest * rng.uniform(1, 1.8, 3)
            room = np.maximum(np.array(self.shape) / 2 - 2.5 * axes, 0)
            turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
            self.parts.append((rng.uniform(0.5, 1.5), rng.uniform(-room, room),
                               turn @ np.diag(axes ** -2.0) @ turn.T))

    def volume(self):
        x, y, s = (np.arange(n) - (n // 2 - 0.5) for n in self.shape)
        grid = np.stack(np.broadcast_arrays(x, y[:, None, None], s[:, None]))
        total = 0
        for density, centre, matrix in self.parts:
            p = grid - centre[:, None, None, None]
            total = total + density * np.exp(-(p * np.tensordot(matrix, p, 1)).sum(0) / 2)
        return total

    def views(self, tilts, n_u, n_v, xtilts=0, transforms=None):
        """Line integrals, in closed form."""
        w = np.stack(np.broadcast_arrays(np.arange(n_u) - (n_u / 2 - 0.5),
                                         (np.arange(n_v) - (n_v / 2 - 0.5))[:, None]))
        views = []
        for k, (t, g) in enumerate(zip(np.radians(tilts), per_view(xtilts, len(tilts)))):
            tilt = np.array([[np.cos(t), 0, -np.sin(t)], [0, 1, 0],
                             [np.sin(t), 0, np.cos(t)]])
            pitch = np.array([[1, 0, 0], [0, np.cos(g), -np.sin(g)],
                              [0, np.sin(g), np.cos(g)]])
            aligned = w
            if transforms is not None:
                aligned = np.tensordot(transforms[k][:4].reshape(2, 2), w, 1)
                aligned += transforms[k][4:, None, None]
            views.append(sum(self.chord(part, tilt @ pitch, aligned)
                             for part in self.parts))
        return np.stack(views)

    @staticmethod
    def chord(part, to_view, w):
        density, centre, matrix = part
        a = to_view @ matrix @ to_view.T
        b = a[:2, :2] - np.outer(a[:2, 2], a[2, :2]) / a[2, 2]
        d = w - (to_view @ centre)[:2, None, None]
        q = (d * np.tensordot(b, d, 1)).sum(axis=0)
        return density * np.sqrt(2 * np.pi / a[2, 2]) * np.exp(-q / 2)


def rotations(degrees, shifts=0, magnification=1.0):
    """.xf lines; each argument is one number or one for each view (shifts: or pairs)."""
    degrees = np.atleast_1d(np.radians(degrees))
    c, s = magnification * np.cos(degrees), magnification * np.sin(degrees)
    shift = np.broadcast_to(shifts, (len(degrees), 2))
    return np.column_stack([c, -s, s, c, shift])
