"""A specimen as the microscope sees it: a layer with features that goes on beyond the
field of view on all sides, projected analytically."""
import numpy as np

TILTS = np.arange(-60, 61, 3.0)
BASE = 0.5  # density of the layer
FOIL = 1.5  # of the carbon foil


def gaussians(axis, centres, sigmas):
    return np.exp(-(axis[None] - centres[:, None]) ** 2 / (2 * sigmas[:, None] ** 2))


class Faces:
    """A layer's: z = -+ thickness / 2 + slope x, its thickness growing by `wedge` x."""

    def __init__(self, thickness, slope=0.0, wedge=0.0):
        self.low = -thickness / 2, slope - wedge / 2
        self.high = thickness / 2, slope + wedge / 2

    def at(self, x):
        return [height + slope * x for height, slope in (self.low, self.high)]

    def along_rays(self, u, t):
        """Where the rays at u, tilted by t, meet them: x = u cos t + w sin t, z = w cos t -
        u sin t."""
        return [(height + u * (np.sin(t) + slope * np.cos(t))) / (np.cos(t) - slope * np.sin(t))
                for height, slope in (self.low, self.high)]


def foil_view(u, t, thickness, edge):
    """Of a foil at a slab's lower face, a sixth as thick, where x > edge."""
    low = (-thickness / 2 + u * np.sin(t)) / np.cos(t)
    high = low + thickness / 6 / np.cos(t)
    if np.sin(t) > 0:
        low = np.maximum(low, (edge - u * np.cos(t)) / np.sin(t))
    elif np.sin(t) < 0:
        high = np.minimum(high, (edge - u * np.cos(t)) / np.sin(t))
    else:
        high = low  # the field ends before the edge
    return FOIL * np.maximum(high - low, 0)


def make_slab(width, rows, planes, thickness, seed, noise=0.0, tilts=TILTS, turn=0.0,
              xtilts=0.0, slope=0.0, wedge=0.0, beside=False):
    """Views [view][row][column], tilts in degrees, and the truth [row][plane][column]
    within the field. `noise` is in units of the views' mean standard deviation. `turn`, in
    degrees: what is to be undone by .xf lines of that rotation. `xtilts` as --pitch rotates,
    in degrees, one or one for each view. `slope` and `wedge` are those of Faces; `beside`
    puts gold beads and a carbon foil beside the field: these without the former two."""
    assert not (turn or np.any(xtilts)) or not (slope or wedge or beside)
    rng = np.random.default_rng(seed)
    reach = 1.1 * width + 2 * planes
    across_rows = rows / 2 + 8 + (width / 2 * np.sin(np.radians(abs(turn))) if turn else 0)
    n = int(3 * reach * across_rows / (rows / 2 + 8) * rows / 64)
    x, y, z = (rng.uniform(-r, r, n) for r in (reach, across_rows, thickness / 2 - 4))
    sigma, height = rng.uniform(1.2, 3, n), rng.choice([-0.5, 1.0, 1.5], n)
    faces = Faces(thickness, slope, wedge)
    low, high = faces.at(x)
    z = (low + high) / 2 + z * (high - low - 8) / (thickness - 8)
    if beside:
        own = np.random.default_rng([seed, 1])
        x = np.append(x, (width / 2 + own.uniform(8, 0.25 * width, 8)) * np.tile([1, -1], 4))
        y = np.append(y, own.uniform(-rows / 2, rows / 2, 8))
        z = np.append(z, own.uniform(12 - thickness / 2, thickness / 2 - 12, 8))
        sigma, height = np.append(sigma, [3.5] * 8), np.append(height, [15.0] * 8)
    u, v, s = (np.arange(k) - (k - 1) / 2 for k in (width, rows, planes))
    weight = height * sigma * np.sqrt(2 * np.pi)
    c, d = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    views = []
    for t, a in zip(np.radians(tilts), np.broadcast_to(np.radians(xtilts), len(tilts))):
        # A Gaussian ball's projection is a Gaussian disk, whatever the direction.
        column = x * np.cos(t) - (y * np.sin(a) + z * np.cos(a)) * np.sin(t)
        row = y * np.cos(a) - z * np.sin(a)
        across = gaussians(u, c * column + d * row, sigma)
        along = gaussians(v, c * row - d * column, sigma)
        low, high = faces.along_rays(u, t)
        views.append(along.T @ (weight[:, None] * across) + BASE * (high - low) / np.cos(a))
        if beside:
            views[-1] += foil_view(u, t, thickness, 1.08 * width / 2)
    views = np.array(views)
    views += noise * views.std(axis=(1, 2)).mean() * rng.normal(size=views.shape)
    truth = np.einsum("nv,ns,nu->vsu", height[:, None] * gaussians(v, y, sigma),
                      gaussians(s, z, sigma), gaussians(u, x, sigma), optimize=True)
    low, high = faces.at(u)
    truth += BASE * ((s[:, None] >= low) & (s[:, None] <= high))
    return views.astype(np.float32), np.asarray(tilts), truth.astype(np.float32)


def field_correlation(volume, truth, edge=40, top=8, rows=16):
    """Of the field: without `edge` columns, `top` planes and `rows` rows on each side."""
    inner = tuple(slice(k, n - k) for k, n in zip((rows, top, edge), truth.shape))
    return np.corrcoef(volume[inner].ravel(), truth[inner].ravel())[0, 1]
