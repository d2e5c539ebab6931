"""Reading the PNG files that the programs write: 8 bits, grey, not interlaced."""
import struct
import zlib

import numpy as np


def unfiltered(rows, width):
    """The rows' filters undone (PNG specification, chapter 9)."""
    done = np.zeros((len(rows) + 1, width + 1), int)  # a row above, a column to the left
    for y, row in enumerate(rows, start=1):
        kind, values = row[0], np.frombuffer(row[1:], np.uint8)
        for x, value in enumerate(values, start=1):
            left, up, corner = (int(v) for v in (done[y, x - 1], done[y - 1, x],
                                                 done[y - 1, x - 1]))
            near = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
            add = (0, left, up, (left + up) // 2, near)[kind]
            done[y, x] = (int(value) + add) & 255
    return done[1:, 1:]


def read_png(data):
    """Grey values[row][column] from the file's bytes; checks the CRC of each chunk."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length:][:4])[0]
        chunks.append((kind, body))
        at += 12 + length
    assert chunks[0][0] == b"IHDR" and chunks[-1][0] == b"IEND"
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (bits, colour, interlaced) == (8, 0, 0)
    pixels = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    rows = [pixels[k:k + width + 1] for k in range(0, len(pixels), width + 1)]
    assert len(rows) == height
    return unfiltered(rows, width)
