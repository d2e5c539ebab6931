"""Specimens for simulate.py: clouds of points, each with a weight and a form factor.

Positions are in angstroms from the centre of the volume, as columns x, y, s; weights in
volt A^3, the integral of what a point adds to the ice's potential. A kind is what the points
of one form factor share: the Fourier transform of its shape, by frequency in 1/A, 1 at 0.
Points may lie on each other: nothing keeps a filament out of a vesicle.
"""
import numpy as np

RESIDUE = 300.0  # V A^3: 135 A^3 of protein, which has 2.2 V more than ice
# Points in an A^3 of a specimen of crowding 1. Of chains, a twenty-fifth is protein.
POINTS = {"chains": 0.04 / 135, "blobs": 8e-5}


def gaussian(sigma):
    return lambda f: np.exp(-2 * (np.pi * sigma * f) ** 2)


def ball(radius, edge=2.0):
    """Of even density, its surface blurred by `edge`."""
    def transform(f):
        q = np.maximum(2 * np.pi * radius * f, 1e-3)
        return 3 * (np.sin(q) - q * np.cos(q)) / q ** 3 * gaussian(edge)(f)
    return transform


class Cloud:
    def __init__(self):
        self.kinds = []
        self.parts = []  # (points [n][3], weights [n], number of the kind)

    def add(self, shape, points, weights):
        if len(points):
            self.parts.append((np.asarray(points, np.float32),
                               np.broadcast_to(np.float32(weights), len(points)),
                               np.full(len(points), len(self.kinds), np.uint8)))
            self.kinds.append(shape)

    def joined(self):
        """Points, weights and kinds, each as one array."""
        if not self.parts:
            return np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros(0, np.uint8)
        return tuple(np.concatenate(part) for part in zip(*self.parts))


class Box:
    """Where the specimen is: low <= (x, y, s) < high."""

    def __init__(self, low, high):
        self.low, self.high = np.asarray(low, float), np.asarray(high, float)

    def volume(self):
        return np.prod(self.high - self.low)

    def inside(self, points):
        return points[np.all((points >= self.low) & (points < self.high), axis=-1)]

    def scatter(self, rng, n):
        return rng.uniform(self.low, self.high, (n, 3))

    def places(self, rng, side, n):
        """n places or fewer that are about `side` apart: one in a cell of a cubic grid."""
        cells = np.maximum(((self.high - self.low) / side).astype(int), 1)
        taken = rng.permutation(np.prod(cells))[:n]
        at = np.stack(np.unravel_index(taken, cells), axis=1)
        at = at + rng.uniform(0.35, 0.65, (len(taken), 3))
        return self.low + at * (self.high - self.low) / cells


def directions(rng, *shape):
    d = rng.normal(size=(*shape, 3))
    return d / np.linalg.norm(d, axis=-1, keepdims=True)


def rotations(rng, n):
    """Random rotation matrices [n][3][3]."""
    quaternions = rng.normal(size=(n, 4))
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
    return np.moveaxis(np.array(rows), 2, 0)


def chains(rng, n, length):
    """n folded chains of residues about 0, as [n][length][3]: steps of 3.8 A that keep their
    direction a little and are drawn back into a ball as large as a protein of that length."""
    radius = 1.15 * (135 * length * 3 / (4 * np.pi)) ** (1 / 3)
    at, way = directions(rng, n) * radius / 2, directions(rng, n)
    points = np.empty((n, length, 3), np.float32)
    for k in range(length):
        out = at / radius
        way = 0.6 * way + directions(rng, n) - 2 * out * (out ** 2).sum(axis=1, keepdims=True) ** 4
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        at = at + 3.8 * way
        points[:, k] = at
    return points


def ring(rng):
    """A ring of 7 to 14 equal subunits."""
    n, unit = rng.integers(7, 15), chains(rng, 1, 70)[0]
    angles = 2 * np.pi * np.arange(n) / n
    return np.concatenate([turned(unit + [6.0 * n, 0, 0], a) for a in angles])


def rod(rng):
    """Subunits along a helix, 300 to 1000 A long."""
    unit, n = chains(rng, 1, 60)[0], rng.integers(20, 70)
    turn, rise = rng.uniform(0.5, 1.2), rng.uniform(12, 16)
    return np.concatenate([turned(unit + [22.0, 0, rise * (k - n / 2)], turn * k)
                           for k in range(n)])


def turned(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def copies(rng, template, centres):
    return np.einsum("nij,kj->nki", rotations(rng, len(centres)), template) + centres[:, None]


def chain_specimen(cloud, box, rng, crowding):
    """Chains of residues, each a Gaussian of 4 A, alone and as rings and rods."""
    residues = POINTS["chains"] * crowding * box.volume()
    parts = []
    for length in 120, 250, 500:
        centres = box.places(rng, 2.2 * 3.2 * length ** (1 / 3), int(residues * 0.2 / length))
        parts.append(chains(rng, len(centres), length) + centres[:, None])
    for make, share in (ring, 0.2), (rod, 0.2):
        for _ in range(3):
            template = make(rng)
            n = int(np.ceil(residues * share / 3 / len(template)))
            parts.append(copies(rng, template, box.scatter(rng, n)))
    points = box.inside(np.concatenate([p.reshape(-1, 3) for p in parts]))
    cloud.add(gaussian(4.0), points, RESIDUE)


def lump(rng, centre, radius, spacing):
    """Points in an ellipsoid about `radius` large, one to a cube of `spacing`."""
    n = int(4 / 3 * np.pi * (radius / spacing) ** 3)
    way, far = directions(rng, n), rng.uniform(size=(n, 1)) ** (1 / 3)
    return centre + (way * far * radius * rng.uniform(0.7, 1.2, 3)) @ rotations(rng, 1)[0]


def vesicle(rng, centre, radius, spacing):
    """The two leaflets of a membrane, 36 A apart; an ellipsoid that is almost a ball."""
    axes = rng.uniform(0.85, 1.1, 3)
    leaflets = []
    for r in radius, radius - 36:
        way = directions(rng, int(4 * np.pi * (r / spacing) ** 2))
        leaflets.append(centre + way * r * axes)
    return np.concatenate(leaflets)


def filament(rng, start, length):
    """Two strands of subunits around a line that bends a little."""
    rise = 27.5
    n = int(length / rise)
    bend = rng.normal(scale=0.03, size=(n, 3)).cumsum(axis=0)
    way = directions(rng) * [1, 1, 0.4] + bend
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    line = start + rise * way.cumsum(axis=0)
    across = np.cross(way, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(way, across)
    phase = (2.9 * np.arange(n))[:, None]
    side = 22 * (np.cos(phase) * across + np.sin(phase) * other)
    return np.concatenate([line + side, line - side + rise / 2 * way])


def blob_specimen(cloud, box, rng, crowding):
    """Textured blobs, vesicles with membranes, and filaments, in a plasm of small grains."""
    volume = crowding * box.volume()
    grains = [lump(rng, c, rng.uniform(60, 140), 17.0)
              for c in box.places(rng, 230, int(volume / 1.2e7))]
    grains = box.inside(np.concatenate(grains or [np.zeros((0, 3))]))
    cloud.add(gaussian(5.0), grains, rng.uniform(0.2, 1.8, len(grains)) * 18 * RESIDUE)
    plasm = box.scatter(rng, int(volume / 1.0e5))
    cloud.add(gaussian(10.0), plasm, rng.uniform(-0.5, 1.5, len(plasm)) * 25 * RESIDUE)
    thick = min(box.high[2] - box.low[2], 1000.0)
    walls = [vesicle(rng, c, rng.uniform(0.2, 0.38) * thick, 12.0)
             for c in box.places(rng, 800, int(np.ceil(volume / 3e8)))]
    cloud.add(gaussian(8.0), box.inside(np.concatenate(walls)), 9 * RESIDUE)
    lines = [filament(rng, c, rng.uniform(800, 3000))
             for c in box.scatter(rng, int(np.ceil(volume / 1.5e8)))]
    cloud.add(gaussian(14.0), box.inside(np.concatenate(lines)), 150 * RESIDUE)


def white_specimen(cloud, box, rng, crowding, pixel):
    """Points of random sign: their spectrum is flat as far as the pixels go."""
    points = box.scatter(rng, int(0.02 * crowding * box.volume() / pixel ** 3))
    cloud.add(lambda f: np.ones_like(f), points, rng.choice([-5e3, 5e3], len(points)))
