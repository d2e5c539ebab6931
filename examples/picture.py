#!/usr/bin/env python3
"""Save the central xy and xz sections of a volume in IMOD's order (sections y, rows
thickness, columns x) as PREFIX_xy.png and PREFIX_xz.png. Grey runs from the 0.5th to the
99.5th percentile of each section; y and z increase upwards."""
import argparse
import struct
import zlib

import numpy as np

import mrc


def save_png(path, grey):
    """Write grey[row][column] of 8 bits, the first row at the top."""
    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    height, width = grey.shape
    rows = b"".join(b"\0" + row.tobytes() for row in grey)  # 0: no filter
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                   + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def to_grey(section):
    low, high = np.percentile(section, [0.5, 99.5])
    scaled = (section - low) / max(high - low, 1e-30)
    return (255 * np.clip(scaled, 0, 1) + 0.5).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume")
    parser.add_argument("prefix")
    arguments = parser.parse_args()
    volume = mrc.read(arguments.volume)
    for name, section in (("xy", volume[:, volume.shape[1] // 2, :]),
                          ("xz", volume[volume.shape[0] // 2])):
        save_png(f"{arguments.prefix}_{name}.png", to_grey(section[::-1]))


if __name__ == "__main__":
    main()
