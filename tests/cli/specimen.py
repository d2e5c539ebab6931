"""A specimen as the microscope sees it: a layer with features that goes on beyond the
field of view on all sides, projected analytically."""
import numpy as np

TILTS = np.arange(-60, 61, 3.0)
BASE = 0.5  # density of the layer


def gaussians(axis, centres, sigmas):
    return np.exp(-(axis[None] - centres[:, None]) ** 2 / (2 * sigmas[:, None] ** 2))


def make_slab(width, rows, planes, thickness, seed, noise=0.0, tilts=TILTS, turn=0.0,
              xtilts=0.0):
    """Views [view][row][column], tilts in degrees, and the truth [row][plane][column]
    within the field. `noise` is in units of the views' mean standard deviation. `turn`, in
    degrees: what is to be undone by .xf lines of that rotation. `xtilts` as --pitch rotates,
    in degrees, one or one for each view."""
    rng = np.random.default_rng(seed)
    reach = 1.1 * width + 2 * planes
    across_rows = rows / 2 + 8 + (width / 2 * np.sin(np.radians(abs(turn))) if turn else 0)
    n = int(3 * reach * across_rows / (rows / 2 + 8) * rows / 64)
    x, y, z = (rng.uniform(-r, r, n) for r in (reach, across_rows, thickness / 2 - 4))
    sigma, height = rng.uniform(1.2, 3, n), rng.choice([-0.5, 1.0, 1.5], n)
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
        views.append(along.T @ (weight[:, None] * across)
                     + BASE * thickness / (np.cos(t) * np.cos(a)))
    views = np.array(views)
    views += noise * views.std(axis=(1, 2)).mean() * rng.normal(size=views.shape)
    truth = np.einsum("nv,ns,nu->vsu", height[:, None] * gaussians(v, y, sigma),
                      gaussians(s, z, sigma), gaussians(u, x, sigma), optimize=True)
    truth += BASE * (np.abs(s) <= thickness / 2)[:, None]
    return views.astype(np.float32), np.asarray(tilts), truth.astype(np.float32)


def field_correlation(volume, truth, edge=40, top=8, rows=16):
    """Of the field: without `edge` columns, `top` planes and `rows` rows on each side."""
    inner = tuple(slice(k, n - k) for k, n in zip((rows, top, edge), truth.shape))
    return np.corrcoef(volume[inner].ravel(), truth[inner].ravel())[0, 1]
