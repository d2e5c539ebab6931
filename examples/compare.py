#!/usr/bin/env python3
"""Print the correlation of a volume with the truth in the whole interior: everything but
a margin of a sixteenth of the size at each face. With --at-least, fail below that."""
import argparse
import sys

import numpy as np

import mrc


def interior(volume):
    return volume[tuple(slice(n // 16, n - n // 16) for n in volume.shape)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth")
    parser.add_argument("volume")
    parser.add_argument("--at-least", type=float, metavar="CORRELATION")
    arguments = parser.parse_args()
    truth, volume = mrc.read(arguments.truth), mrc.read(arguments.volume)
    if truth.shape != volume.shape:
        sys.exit(f"{arguments.volume}: {volume.shape} sections, rows and columns, "
                 f"but the truth has {truth.shape}")
    truth, volume = (interior(v).astype(np.float64).ravel() for v in (truth, volume))
    correlation = np.corrcoef(truth, volume)[0, 1]
    print(f"{correlation:.4f}")
    # The comparison is written so that a correlation that is NaN fails, too.
    if arguments.at_least is not None and not correlation >= arguments.at_least:
        sys.exit(f"{arguments.volume}: correlation with the truth is {correlation:.4f}, "
                 f"expected at least {arguments.at_least}")


if __name__ == "__main__":
    main()
