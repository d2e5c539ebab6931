"""A specimen of ellipsoids whose projections are known exactly."""
import numpy as np


def ellipsoids(seed, width, rows, count=24):
    """(x, z, y, a, b, c, density) of each, in voxels from the middle; one large and the rest
    in it."""
    rng = np.random.default_rng(seed)
    half = width / 2
    out = [(0, 0, 0, 0.8 * half, 0.7 * half, 2 * rows, 1.0)]
    for _ in range(count):
        r, phi = 0.55 * half * np.sqrt(rng.random()), 2 * np.pi * rng.random()
        out.append((r * np.cos(phi), r * np.sin(phi), rows * (rng.random() - 0.5),
                    *(width * rng.uniform(0.03, 0.11, 3)), rng.choice([-0.6, 0.5, 1.0])))
    return out


def projections(shapes, angles, width, rows, axis=0.0):
    """[view][row][column], the axis so many pixels from the middle; degrees."""
    u = np.arange(width) - (width - 1) / 2 - axis
    y = np.arange(rows) - (rows - 1) / 2
    out = np.zeros((len(angles), rows, width))
    for x, z, y0, a, b, c, density in shapes:
        left = np.sqrt(np.clip(1 - ((y - y0) / c) ** 2, 0, None))  # of the radii in a row
        for k, angle in enumerate(np.radians(angles)):
            s2 = (a * np.cos(angle)) ** 2 + (b * np.sin(angle)) ** 2
            at = u - (x * np.cos(angle) + z * np.sin(angle))
            inside = np.clip(s2 * left[:, None] ** 2 - at[None] ** 2, 0, None)
            out[k] += density * 2 * a * b / s2 * np.sqrt(inside)
    return out
