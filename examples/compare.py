#!/usr/bin/env python3
"""Print the correlation of a volume with the truth in the whole interior: everything but
a margin of a sixteenth of the size at each face. With --at-least, fail below that.

With --bands, more of it: the correlation after the best filter that depends on the frequency
alone, which measures what the volume knows, whatever its contrast; and the Fourier shell
correlation with the truth in bands of frequencies."""
import argparse
import sys

import numpy as np

import mrc


def interior(volume):
    return volume[tuple(slice(n // 16, n - n // 16) for n in volume.shape)]


def faded(volume):
    """Without its mean, and falling to 0 over an eighth of the size at each face, so that
    what is cut off there is not in all frequencies."""
    volume = volume - volume.mean()
    for axis, n in enumerate(volume.shape):
        edge = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / (n / 8)
        weight = (1 - np.cos(np.pi * np.minimum(edge, 1))) / 2
        volume *= weight.reshape([-1 if k == axis else 1 for k in range(3)])
    return volume


def shells(a, b, pixel):
    """The real parts of a times the conjugate of b, and |a|^2 and |b|^2, summed over shells
    of the spectrum, with the shells' frequencies in 1/angstrom."""
    f = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(
        *(np.fft.fftfreq(n, pixel) for n in a.shape[:2]), np.fft.rfftfreq(a.shape[2], pixel),
        indexing="ij", sparse=True)))
    n = max(a.shape) // 2
    at = np.minimum((f * 2 * pixel * n).astype(int), n).ravel()
    # Columns that stand for their conjugates as well.
    twice = np.full(f.shape, 2.0)
    twice[:, :, 0] = 1.0
    a, b = np.fft.rfftn(faded(a)), np.fft.rfftn(faded(b))
    sums = [np.bincount(at, (twice * part).ravel(), n + 1)[:n] for part in
            ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)]
    return (np.arange(n) + 0.5) / (2 * pixel * n), *sums


def print_bands(truth, volume, pixel, edges):
    f, cross, power, own = shells(truth, volume, pixel)
    known = own > 0
    best = np.sqrt((cross[known] ** 2 / own[known]).sum() / power.sum())
    print(f"after the best filter {best:.3f}")
    edges = [np.inf, *sorted(edges, reverse=True)]
    for low, high in zip(edges, edges[1:]):
        band = (f >= 1 / low) & (f < 1 / high)
        fsc = cross[band].sum() / np.sqrt(power[band].sum() * own[band].sum())
        print(f"{low:g} to {high:g} angstroms {fsc:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth")
    parser.add_argument("volume")
    parser.add_argument("--at-least", type=float, metavar="CORRELATION")
    parser.add_argument("--bands", type=float, nargs="+", metavar="ANGSTROMS",
                        help="where bands end")
    parser.add_argument("--pixel", type=float, default=1.0, metavar="ANGSTROMS",
                        help="of a voxel, for --bands (default 1)")
    arguments = parser.parse_args()
    truth, volume = mrc.read(arguments.truth), mrc.read(arguments.volume)
    if truth.shape != volume.shape:
        sys.exit(f"{arguments.volume}: {volume.shape} sections, rows and columns, "
                 f"but the truth has {truth.shape}")
    truth, volume = (interior(v).astype(np.float64) for v in (truth, volume))
    correlation = np.corrcoef(truth.ravel(), volume.ravel())[0, 1]
    print(f"{correlation:.4f}")
    if arguments.bands:
        print_bands(truth, volume, arguments.pixel, arguments.bands)
    # The comparison is written so that a correlation that is NaN fails, too.
    if arguments.at_least is not None and not correlation >= arguments.at_least:
        sys.exit(f"{arguments.volume}: correlation with the truth is {correlation:.4f}, "
                 f"expected at least {arguments.at_least}")


if __name__ == "__main__":
    main()
