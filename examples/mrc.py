"""The little of MRC files that the examples need: float32 out, the usual modes in."""
import struct

import numpy as np

TYPES = {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}


def write(path, data, pixel, label):
    """Write data[section][row][column] as mode 2 with a pixel size in angstroms."""
    data = np.ascontiguousarray(data, "<f4")
    nz, ny, nx = data.shape
    header = bytearray(1024)
    struct.pack_into("<10i", header, 0, nx, ny, nz, 2, 0, 0, 0, nx, ny, nz)
    struct.pack_into("<6f", header, 40, nx * pixel, ny * pixel, nz * pixel, 90, 90, 90)
    struct.pack_into("<3i", header, 64, 1, 2, 3)
    mean = data.mean(dtype=np.float64)
    struct.pack_into("<3f", header, 76, data.min(), data.max(), mean)
    struct.pack_into("<i", header, 108, 20141)  # the version of the MRC2014 format
    header[208:216] = b"MAP \x44\x44\0\0"
    struct.pack_into("<f", header, 216, data.std(dtype=np.float64))
    struct.pack_into("<i80s", header, 220, 1, label.encode("ascii").ljust(80))
    with open(path, "wb") as file:
        file.write(header)
        data.tofile(file)


def read(path):
    """Read a little-endian MRC file as float32 data[section][row][column]."""
    with open(path, "rb") as file:
        header = file.read(1024)
        nx, ny, nz, mode = struct.unpack_from("<4i", header, 0)
        extended = struct.unpack_from("<i", header, 92)[0]
        if header[208:212] != b"MAP " or mode not in TYPES:
            raise SystemExit(f"{path}: not an MRC file that this script can read")
        file.seek(1024 + extended)
        data = np.fromfile(file, np.dtype(TYPES[mode]).newbyteorder("<"), nx * ny * nz)
    if data.size != nx * ny * nz:
        raise SystemExit(f"{path}: ends before its {nx} x {ny} x {nz} samples")
    return data.reshape(nz, ny, nx).astype(np.float32)
