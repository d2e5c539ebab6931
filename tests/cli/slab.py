"""A slab-like specimen whose projections are known: round blobs of density at random
places between two planes, some of them as small and bright as gold beads."""
import numpy as np

ANGLES = np.arange(-60.0, 61.0, 3.0)


class Slab:
    """Blobs exp(-r^2 / 2 sigma^2) within `thick` pixels, wide enough to fill all views.
    `centre`: height of its middle."""

    def __init__(self, columns, rows, thick, seed=1, centre=0.0, density=0.012, beads=30):
        rng = np.random.default_rng(seed)
        self.size = columns, rows
        n = int(density * 1.5 * columns * 1.3 * rows * thick)
        inside = thick / 2 - 1
        self.x = rng.uniform(-0.75, 0.75, n) * columns
        self.y = rng.uniform(-0.65, 0.65, n) * rows
        self.z = rng.uniform(-inside, inside, n) + centre
        self.weight = rng.uniform(0.5, 1.2, n)
        self.weight[:beads] = 4
        self.x[:beads] = rng.uniform(-0.4, 0.4, beads) * columns
        self.y[:beads] = rng.uniform(-0.45, 0.45, beads) * rows
        self.z[:beads] = centre + inside * (-1.0) ** np.arange(beads)  # on both surfaces

    def project(self, angle, pitch=0.0, shift=0.0, sigma=1.0):
        """image[rows][columns] seen at `angle` with the specimen pitched so, in degrees,
        and the tilt axis `shift` columns beside the middle."""
        columns, rows = self.size
        t, g = np.radians(angle), np.radians(pitch)
        z = self.y * np.sin(g) + self.z * np.cos(g)
        u = (columns - 1) / 2 + shift + (self.x - shift) * np.cos(t) - z * np.sin(t)
        v = (rows - 1) / 2 + self.y * np.cos(g) - self.z * np.sin(g)
        seen = (abs(u - columns / 2) < columns / 2 + 4) & (abs(v - rows / 2) < rows / 2 + 4)
        u, v = u[seen, None].astype(np.float32), v[seen, None].astype(np.float32)
        across = np.exp((np.arange(columns, dtype=np.float32) - u) ** 2 / (-2 * sigma ** 2))
        along = np.exp((np.arange(rows, dtype=np.float32) - v) ** 2 / (-2 * sigma ** 2))
        chord = self.weight[seen, None].astype(np.float32) * sigma * np.sqrt(2 * np.pi)
        return (along * chord.astype(np.float32)).T @ across

    def series(self, offset=0.0, pitch=0.0, shift=0.0):
        """Views at ANGLES. With an `offset` the true angles are that much larger than
        those the series comes with."""
        return np.stack([self.project(a + offset, pitch, shift) for a in ANGLES])


def with_noise(views, snr, seed=1):
    """With noise of the variance of the views over `snr`; None: without."""
    if not snr:
        return views
    noise = np.random.default_rng(seed).standard_normal(views.shape, np.float32)
    return views + np.float32(np.sqrt(views.var(dtype=np.float64) / snr)) * noise
