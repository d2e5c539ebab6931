"""The program's mathematics once more, in double precision with numpy, written from the
formulas and not from the program: slow, dense, and short enough to be believed.

A row is reconstructed on its own: b[view][column] -> x[z][column of the slice]; of many
rows at once, b[row][view][column] -> x[row][z][column], each as if it were alone. Views
that a ray leaves contribute nothing to SIRT and SART, their row's mean (times the gain
of the filter at frequency 0) to BPT, WBP and FBP; between the edge pixel and the place
one pixel outside, where that begins, the interpolation is linear.
"""
import numpy as np

GOLDEN_SECTION = (np.sqrt(5) - 1) / 2


class Geometry:
    """Angles in degrees. `z` are the heights of the planes above the axis; None means
    the `thickness` planes of an output slice."""

    def __init__(self, tilts, n_u, thickness, width=None, tilt_offset=0.0,
                 axis_shift=0.0, x_shift=0.0, z_shift=0.0, z=None):
        self.tilt = np.radians(np.asarray(tilts, float) + tilt_offset)
        self.n_u = n_u
        self.width = width or n_u
        # Index of an axis' centre: n/2 - 0.5; the output's halves are integers.
        self.axis_u = n_u / 2 - 0.5 + axis_shift
        self.x = np.arange(self.width) - (self.width // 2 - 0.5) - axis_shift - x_shift
        self.z = np.arange(thickness) - (thickness // 2 - 0.5) - z_shift if z is None \
            else np.asarray(z, float)

    def columns(self, view):
        """The image column at which each voxel [z][x] is seen."""
        t = self.tilt[view]
        return self.axis_u + self.x * np.cos(t) - self.z[:, None] * np.sin(t)

    def matrix(self):
        """A[view][column][voxel]: each voxel's hat function, sampled at the columns."""
        at = np.stack([self.columns(v).ravel() for v in range(len(self.tilt))])
        u = np.arange(self.n_u)
        return np.maximum(0, 1 - np.abs(at[:, None, :] - u[None, :, None]))

    def view_weights(self, uniform=False):
        """Angular widths: of the spacings to two neighbours on each side, the further
        one counting a third of the nearer, the average."""
        order = np.argsort(self.tilt, kind="stable")
        gaps = np.diff(self.tilt[order])
        weights = np.full(len(order), gaps.mean())
        if not uniform:
            for place, view in enumerate(order):
                near = {place - 1: 2, place: 2, place - 2: 2 / 3, place + 1: 2 / 3}
                known = [(gaps[g], w) for g, w in near.items() if 0 <= g < len(gaps)]
                weights[view] = sum(g * w for g, w in known) / sum(w for _, w in known)
        return weights


# ---- filtered backprojection ----

def fft_length(n):
    """The first even number from n on whose prime factors are 2, 3, 5 and 7."""
    while True:
        rest = n
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and n % 2 == 0:
            return n
        n += 1


def wbp_response(n_u, radial=(0.35, 0.035), hamming_like=0, sirt_like=0):
    """On np.fft's frequencies of the padded length."""
    length = fft_length(n_u + min(50, 2 * max(8, n_u // 20)))
    f = np.abs(np.fft.fftfreq(length))
    response = np.where(f == 0, 0.2 / length, f)
    start, sigma = radial
    if hamming_like:
        start, sigma = hamming_like, 0.438 * (0.5 - hamming_like)
    beyond = f > start
    if start < 0.5 and beyond.any():
        last = f[~beyond].max()
        fall = np.exp(-(f - start) ** 2 / (2 * sigma ** 2)) if sigma else 0 * f
        response = np.where(beyond, last * fall, response)
    if sirt_like:
        n = np.interp(sirt_like, [0, 15, 30, 1030], [0, 15, 27, 627])
        slow = f < 0.00195
        kept = 1 - (1 - 0.00195 / np.where(slow, 1, f)) ** (n + 0.3)
        response = np.where(slow, response, response * kept)
    return response


def fbp_response(n_u, window="ramlak"):
    length = fft_length(2 * n_u)
    n = np.fft.fftfreq(length, 1 / length)
    f = np.abs(n) / length
    kernel = np.zeros(length)  # the band-limited ramp, Kak & Slaney eq. 61
    kernel[n == 0] = 0.25
    odd = (n % 2 == 1) & (np.abs(n) < length / 2)
    kernel[odd] = -1 / (np.pi * n[odd]) ** 2
    ramp = np.fft.fft(kernel).real
    return {"ramlak": ramp,
            "shepp-logan": ramp * np.sinc(f),
            "cosine": ramp * np.cos(np.pi * f),
            "hamming": ramp * (0.54 + 0.46 * np.cos(2 * np.pi * f)),
            "hann": ramp * np.cos(np.pi * f) ** 2,
            "parzen": ramp * np.where(f < 0.25, 1 - 6 * (2 * f) ** 2 * (1 - 2 * f),
                                      2 * (1 - 2 * f) ** 3),
            "chesler": f * np.cos(np.pi * f) ** 2}[window]


def apply_filter(rows, response):
    """Along the last axis, padded with the line from the last pixels to the first."""
    n_u = rows.shape[-1]
    added = len(response) - n_u
    t = np.arange(1, added + 1) / (added + 1)
    last, first = (rows[..., s].mean(axis=-1, keepdims=True)
                   for s in (slice(-3, None), slice(0, 3)))
    padded = np.concatenate([rows, last + t * (first - last)], axis=-1)
    return np.fft.ifft(np.fft.fft(padded) * response).real[..., :n_u]


def backproject(geometry, rows, outside):
    """The sum over views of rows[view][column] with outside[view] beyond the image."""
    known = np.concatenate([outside[..., None], rows, outside[..., None]], axis=-1)
    total = 0
    for view in range(rows.shape[-2]):
        at = np.clip(geometry.columns(view) + 1, 0, geometry.n_u + 1)
        first = np.minimum(at.astype(int), geometry.n_u)
        values = known[..., view, :]
        total = total + ((1 - at + first) * values[..., first]
                         + (at - first) * values[..., first + 1])
    return total


def bpt(geometry, rows):
    return backproject(geometry, rows, rows.mean(axis=-1)) / rows.shape[-2]


def filtered(geometry, rows, response, uniform=False):
    weight = geometry.view_weights(uniform)[:, None]
    done = weight * apply_filter(rows, response)
    return backproject(geometry, done, response[0] * (weight * rows).mean(axis=-1))


def wbp(geometry, rows, uniform=False, **design):
    return filtered(geometry, rows, wbp_response(geometry.n_u, **design), uniform)


def fbp(geometry, rows, window="ramlak"):
    return filtered(geometry, rows, fbp_response(geometry.n_u, window))


# ---- iterations ----

def inverse(sums):
    return np.where(sums > 1e-3, 1 / np.where(sums > 1e-3, sums, 1), 0)


def inverse_lengths(sums, n_x, n_z):
    """Of rays; those that only cut a corner count as longer than they are."""
    return 1 / np.maximum(sums, min(n_x, n_z) / 4)


def sart_order(tilt):
    """At time t the view whose rank among the angles is that of t times the golden
    section, modulo 1, among all such numbers."""
    by_angle = np.argsort(tilt, kind="stable")
    numbers = np.arange(len(tilt)) * GOLDEN_SECTION % 1
    return by_angle[[np.sum(numbers < n) for n in numbers]]


def iterate(geometry, rows, iterations, relaxation, blocks, positive, initial, tolerance):
    """One iteration goes through the blocks of views in turn. The residual is that seen
    on the way, before each block's step; after the iteration in which it reaches the
    tolerance the row is left alone. Returns the slice and each residual's square; of many
    rows a list of these."""
    a = geometry.matrix()
    b = rows.reshape(-1, *rows.shape[-2:])
    x = np.zeros((len(b), a.shape[2])) if initial is None \
        else initial.reshape(len(b), -1).astype(float)
    row_weight = inverse_lengths(a.sum(axis=2), geometry.width, len(geometry.z))
    parts = [a[block].reshape(-1, a.shape[2]) for block in blocks]
    steps = [relaxation * inverse(part.sum(axis=0)) for part in parts]
    squares, going = [[] for _ in b], np.arange(len(b))
    for _ in range(iterations):
        seen, now = np.zeros(len(going)), x[going]
        for block, part, step in zip(blocks, parts, steps):
            r = b[going][:, block].reshape(len(going), -1) - now @ part.T
            seen += (r * r).sum(axis=1)
            now = now + step * ((row_weight[block].ravel() * r) @ part)
            if positive:
                now = np.maximum(now, 0)
        x[going] = now
        for k, square in zip(going, seen):
            squares[k].append(square)
        if tolerance:
            going = going[seen > tolerance ** 2 * (b[going] ** 2).sum(axis=(1, 2))]
    done = list(zip(x.reshape(-1, len(geometry.z), geometry.width), squares))
    return done if rows.ndim == 3 else done[0]


def sirt(geometry, rows, iterations, relaxation=1.0, positive=False, initial=None,
         tolerance=0.0):
    return iterate(geometry, rows, iterations, relaxation,
                   [np.arange(len(geometry.tilt))], positive, initial, tolerance)


def sart(geometry, rows, iterations, relaxation=0.2, positive=False, initial=None,
         tolerance=0.0):
    return iterate(geometry, rows, iterations, relaxation,
                   [[v] for v in sart_order(geometry.tilt)], positive, initial, tolerance)


# ---- the pitch ----

def pitched(reconstruct, series, pitch, thickness, z_shift=0.0):
    """volume[slice][z][x] of a series[view][row][column] at a pitch in degrees: every
    image row on the planes z' of a grid of integers, then bilinear interpolation at

        row y' = y cos g - s sin g,  height z' = y sin g + s cos g.

    reconstruct(rows, z) does many. Rows outside the image repeat the one at its edge.
    """
    n_v = series.shape[1]
    g = np.radians(pitch)
    y = (np.arange(n_v) - (n_v / 2 - 0.5))[:, None]
    s = np.arange(thickness) - (thickness // 2 - 0.5) - z_shift
    row = y * np.cos(g) - s * np.sin(g) + (n_v / 2 - 0.5)
    height = y * np.sin(g) + s * np.cos(g)
    z = np.arange(np.floor(height.min()), np.floor(height.max()) + 2)
    first = int(np.floor(row.min()))
    needed = np.clip(np.arange(first, int(np.floor(row.max())) + 2), 0, n_v - 1)
    slab = reconstruct(series[:, needed].swapaxes(0, 1), z)
    i, j = np.floor(row).astype(int), np.floor(height).astype(int)
    up, high = (row - i)[..., None], (height - j)[..., None]
    i, j = i - first, j - int(z[0])
    return ((1 - up) * ((1 - high) * slab[i, j] + high * slab[i, j + 1])
            + up * ((1 - high) * slab[i + 1, j] + high * slab[i + 1, j + 1]))
