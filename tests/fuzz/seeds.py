"""Small files for the fuzzer to start from: seeds.py FOLDER [DATA]

In FOLDER, one folder for each target. DATA may hold real files: interop/ (MRC) and
sidecars/ (text). HDF5 files need h5py, TIFF files tifffile; without them those targets begin with nothing.
"""
import gzip
import io
import struct
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1])
DATA = Path(sys.argv[2]) if len(sys.argv) > 2 else None
LARGEST = 65536


def put(target, name, content):
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    if len(content) <= LARGEST:
        (folder / name).write_bytes(content)


# ---- MRC ----

SAMPLE_BYTES = {0: 1, 1: 2, 2: 4, 3: 4, 4: 8, 6: 2, 12: 2, 16: 3, 101: 0.5}


def mrc(mode=1, size=(5, 4, 3), order="<", extended=b"", kind=b"", integers=0, reals=0,
        version=20140, imod=None, labels=(b"first", b"\x1b[31m second")):
    nx, ny, nz = size
    header = bytearray(1024)
    struct.pack_into(order + "4i", header, 0, nx, ny, nz, mode)
    struct.pack_into(order + "3i6f", header, 28, nx, ny, nz, 2.5 * nx, 2.5 * ny, 2.5 * nz,
                     90, 90, 90)
    struct.pack_into(order + "3i4fi", header, 64, 1, 2, 3, -3, 100, 1.5, 1, len(extended))
    header[104:104 + len(kind)] = kind
    struct.pack_into(order + "i", header, 108, version)
    struct.pack_into(order + "2h", header, 128, integers, reals)
    if imod is not None:
        struct.pack_into(order + "2i", header, 152, 1146047817, imod)
    struct.pack_into(order + "3f", header, 196, 10, -20, 30)
    header[208:216] = b"MAP " + (b"DD\0\0" if order == "<" else b"\x11\x11\0\0")
    struct.pack_into(order + "fi", header, 216, 3.5, len(labels))
    for i, label in enumerate(labels):
        header[224 + 80 * i:224 + 80 * i + len(label)] = label
    row = -(-nx // 2) if mode == 101 else nx * SAMPLE_BYTES[mode]
    return bytes(header) + extended + bytes(i * 37 % 251 for i in range(row * ny * nz))


def fei_part(angle):
    part = bytearray(120)
    struct.pack_into("<i", part, 0, len(part))
    struct.pack_into("<i", part, 8, 128)
    part[68:78] = b"4.4.0.4981"
    struct.pack_into("<d", part, 100, angle)
    return bytes(part)


def make_mrc():
    for mode in SAMPLE_BYTES:
        for order in "<>":
            put("mrc", f"mode{mode}{'le' if order == '<' else 'be'}", mrc(mode, order=order))
    for imod in (0, 1, 4, 16):
        put("mrc", f"imod{imod}", mrc(0, imod=imod, version=0))
    serialem = b"".join(struct.pack("<h6x", 100 * i) for i in (-60, 0, 60))
    put("mrc", "serialem", mrc(extended=serialem, integers=8, reals=3, kind=b"SERI"))
    fei = b"".join(map(fei_part, (-60.0, 0.0, 60.0)))
    put("mrc", "fei1", mrc(extended=fei, kind=b"FEI1"))
    put("mrc", "fei2", mrc(extended=fei, kind=b"FEI2", version=20141))
    old = b"".join(struct.pack("<32f", a, *[7] * 31) for a in (-60, 0, 60))
    put("mrc", "oldfei", mrc(extended=old, reals=32))
    for magic in (b"II*\0", b"MM\0+", b"\0\0\0\3", b"\6\0\0\5", b"\x93NUMPY", b"BZh9"):
        put("mrc", "kind" + magic.hex(), magic + bytes(1020))
    put("mrc", "one", mrc(2, size=(1, 1, 1), labels=()))
    put("mrc", "odd4", mrc(101, size=(67, 11, 2)))
    put("mrc", "wide", mrc(1, size=(9000, 2, 1)))
    put("mrc", "cut", mrc()[:-1])
    put("mrc", "huge", mrc()[:1] + b"\xff\xff\x7f" * 4 + mrc()[13:])
    packed = gzip.compress(mrc(2, size=(30, 20, 3)), mtime=0)
    put("mrc", "gzip", packed)
    put("mrc", "gzipcut", packed[:-40])
    put("mrc", "gziptwice", packed + packed)
    put("mrc", "gzipbomb", gzip.compress(mrc() + bytes(1 << 20), mtime=0))


# ---- HDF5 ----

def hdf_file(fill, **options):
    import h5py
    memory = io.BytesIO()
    with h5py.File(memory, "w", **options) as file:
        fill(file)
    return memory.getvalue()


def make_hdf():
    try:
        import h5py
        import numpy as np
    except ImportError:
        return
    data = (np.arange(3 * 4 * 5) % 7).reshape(3, 4, 5)
    layouts = {"contiguous": {}, "chunked": {"chunks": (1, 2, 5)},
               "deflate": {"chunks": (1, 4, 5), "compression": "gzip"},
               "filters": {"chunks": (2, 2, 2), "compression": "gzip", "shuffle": True,
                           "fletcher32": True},
               "lzf": {"chunks": (3, 4, 5), "compression": "lzf"}}

    def header(group):
        for axis, n in zip("xyz", (5, 4, 3)):
            group.attrs[f"IMOD.MRC.{axis}len"] = 2.5 * n
            group.attrs[f"IMOD.MRC.m{axis}"] = n
            group.attrs[f"IMOD.MRC.{axis}origin"] = 10.0
        group.attrs["IMOD.MRC.minimum"] = 0.0
        group.attrs["IMOD.MRC.label0"] = np.bytes_("a label")
        group.attrs["IMOD.MRC.label1"] = "another"

    def volume(dtype, options):
        def fill(file):
            group = file.create_group("/MDF/images/0")
            header(group)
            group.create_dataset("image", data=data.astype(dtype), **options)
        return fill

    def stack(file):
        images = file.create_group("/MDF/images")
        header(images)
        for i, section in enumerate(data):
            group = images.create_group(str(i))
            group.attrs["TiltAngle"] = 20.0 * i - 20
            group.attrs["EMAN.stored_renderbits"] = 8
            group.attrs["EMAN.stored_rendermin"] = -1.0
            group.attrs["EMAN.stored_rendermax"] = 1.0
            group.attrs["EMAN.is_complex"] = 0
            group.create_dataset("image", data=section.astype("u1"))

    def exchange(file):
        file["/exchange/data"] = data.astype("f4")
        file["/exchange/theta"] = np.array([-60.0, 0.0, 60.0])

    def fields(file):
        exchange(file)
        file["/exchange/data_white"] = data[:2].astype("u2")
        file["/exchange/data_dark"] = data[:1].astype("u2")

    def nxtomo(file):
        file["/entry/instrument/detector/data"] = data.astype("u2")
        file["/entry/instrument/detector/image_key"] = np.array([1, 0, 2])
        file["/entry/sample/rotation_angle"] = np.array([0.0, 10.0, 0.0])

    def turns(file):
        file["/exchange/data"] = data.astype("i4")
        file["/exchange/theta"] = np.array([10.0, 11.0, 12.0])
        file["/exchange/theta"].attrs["units"] = "radians"

    def others(file):
        for name in ("entry", "a\x1b[31m", "x" * 60):
            file.create_group(name)

    for name, options in layouts.items():
        put("hdf_bytes", name, hdf_file(volume("i2", options)))
    for dtype in ("i1", "u1", "u2", "i4", "u8", "f2", "f4", ">f4", ">i2", "f8", ">f8"):
        put("hdf_bytes", "type" + dtype.replace(">", "be"), hdf_file(volume(dtype, {})))
    put("hdf_bytes", "stack", hdf_file(stack))
    put("hdf_bytes", "exchange", hdf_file(exchange))
    put("hdf_bytes", "fields", hdf_file(fields))
    put("hdf_bytes", "nxtomo", hdf_file(nxtomo))
    put("hdf_bytes", "turns", hdf_file(turns))
    put("hdf_bytes", "others", hdf_file(others))
    put("hdf_bytes", "latest", hdf_file(stack, libver="latest"))
    put("hdf_bytes", "userblock", hdf_file(exchange, userblock_size=512))


def tiff_file(data, **options):
    import tifffile
    file = io.BytesIO()
    tifffile.imwrite(file, data, **options)
    return file.getvalue()


def make_tiff():
    try:
        import numpy as np
        import tifffile  # noqa: F401
    except ImportError:
        return
    for dtype in "u1", "i2", "u2", "f2", "f4", "f8", "u4":
        data = np.arange(2 * 17 * 18).reshape(2, 17, 18).astype(dtype)
        for name, how in (("plain", {}), ("big", {"bigtiff": True}), ("tile", {"tile": (16, 16)}),
                          ("packed", {"compression": "zlib", "rowsperstrip": 4})):
            put("tiff", dtype + name, tiff_file(data, photometric="minisblack", metadata=None, **how))
    put("tiff", "imagej", tiff_file(np.ones((2, 3, 4), "u2"), imagej=True, resolution=(2, 2),
                                    metadata={"unit": "nm", "origin": "1 2 3", "label0": "a"}))
    put("tiff", "swapped", tiff_file(np.ones((2, 3, 4), "u2"), byteorder=">"))


def make_recipes():
    """The bytes that fuzz_hdf.c builds a file from: a volume, a stack, an exchange."""
    dataset = bytes([0, 3, 4, 5])  # three dimensions
    for kind in range(16):
        for layout in (0, 1, 41, 57):
            divided = bytes(3 if layout % 4 else 0)
            put("hdf", f"volume{kind}_{layout}", bytes([1, 16, 0, 0, 0]) + dataset
                + bytes([kind, layout]) + divided + bytes([1, 9]))
    put("hdf", "stack", bytes([1, 50, 0, 0, 1, 0, 6]) + bytes(8) + bytes([30, 6])
        + bytes([1, 4, 5, 2, 0, 1, 7]))
    put("hdf", "label", bytes([1, 16, 0, 0, 1, 7, 4, 5]) + b"a\x1b[3m" + bytes([0])
        + dataset + bytes([2, 0, 1, 9]))
    one = struct.pack("<d", 1)
    put("hdf", "scaled", bytes([1, 16, 0, 0, 3]) + bytes([1, 4]) + struct.pack("<d", 8)
        + bytes([8, 2, 4]) + one + bytes([8, 3, 4]) + one + bytes([8])
        + dataset + bytes([1, 0, 1, 9]))
    put("hdf", "exchange", bytes([1, 13, 0]) + dataset + bytes([6, 0, 1, 1])
        + bytes([4, 3, 8, 0, 1, 1]))
    put("hdf", "large", bytes([1, 16, 0, 0, 0, 0, 231, 231, 225, 0, 65, 0, 0, 0, 1, 9]))


# ---- text ----

MDOC = b"""PixelSpacing = 2.5
[T = SerialEM: tilt series]
[T =     Tilt axis angle = 85.3, binning = 4  spot = 8  camera = 0]

[ZValue = 0]
TiltAngle = -60.01
ExposureDose = 3.1
PriorRecordDose = 0
SubFramePath = D:\\frames\\a.tif

[ZValue = 1]
TiltAngle = 0
ExposureDose = 3.1
[FrameSet = 2]
TiltAngle = 60
[Montage = 1]
TiltAxisAngle = -91.8
"""

COM = b"""# THIS IS A COMMAND FILE
$setenv IMOD_OUTPUT_FORMAT MRC
$tilt -StandardInput
InputProjections a_ali.mrc
OutputFile /tmp/a_rec.mrc
TILTFILE ../a.tlt
XTILTFILE a.xtilt
THICKNESS 100
WIDTH 64
OFFSET 1.5 -2
SHIFT 0.0 3
XAXISTILT -2.5
RADIAL 0.35 0.035
FalloffIsTrueSigma 1
HammingLikeFilter 0.2
FakeSIRTiterations 10
SCALE 0 250
MODE 1
LOG 0.0
IMAGEBINNED 2
FULLIMAGE 128 128
SUBSETSTART 0 0
SLICE 2 60 1
PARALLEL
EXCLUDELIST 1-4,7
INCLUDE 3,9-12
LOCALFILE a.xf
DENSWEIGHT 2
COSINTERP 0
UseGPU 0
$if (-e ./savework) ./savework
"""

ALN = b"""# AreTomo Alignment / Priims bprmMn
# RawSize = 32 30 4
# NumPatches = 1
# DarkFrame =     0    1   -60.00
# AlphaOffset =     0.00
# BetaOffset =     0.50
# Thickness = 30
# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT
    2    85.6611    1.00000     24.786     -2.677     1.00     1.00     1.00     0.00    -20
    4    85.6611    1.00000     4.7        -2.677     1.00     1.00     1.00     0.00     20
# Local Alignment
   0   0  -558.42   -802.00   -100.07     24.43   1.0
   1   0  -274.86   -757.91    -36.95     11.98   1.0
"""

CTF = {
    "defocus2": b"1 2 -20 -10 3000 2\n4 4 10 10 4000\n",
    "defocus3": b"21 0 0. 0. 0. 3\n1 1 -20 -20 3000 2800 80 90\n5 5 20 20 3000 2800 -80 45\n",
    "plain": b"0 0 -20 -20 1000\n2 2 0 0 3000\n4 4 20 20 5000\n",
    "ctffind": b"# acceleration voltage: 200.0 keV ; spherical aberration: 1.40 mm ; amplitude "
               b"contrast: 0.10\n1.0 31000.0 30000.0 12.5 0.0 0.1 9.8\n"
               b"5.0 35000.0 34000.0 -30 1.57 0.1 inf\n",
    "gctf": b"data_\nloop_\n_rlnMicrographName #1\n_rlnDefocusU #2\n_rlnVoltage #3\n"
            b"4@a.mrcs 31000 300\n1@a.mrcs 32000 300\n",
    "relion": b"data_TS_1\nloop_\n_rlnTomoNominalStageTiltAngle #1\n_rlnDefocusU #2\n"
              b"-20 31000\n-10 32000\n0 nan\n10 1\n20 3\n",
    "warp": b"<?xml version=\"1.0\"?>\n<!-- a -->\n<TiltSeries AreAnglesInverted=\"True\">\n"
            b"<Angles>20\n10\n-20\n0\n-10</Angles><CTF><Param Name=\"Cs\" Value=\"2.7\"/></CTF>\n"
            b"<GridCTF><Node X=\"0\" Y=\"0\" Z=\"0\" Value=\"3\"/>"
            b"<Node X='0' Y='0' Z='4' Value='3.1'/></GridCTF>\n"
            b"<GridCTFPhase><Node X=\"0\" Y=\"0\" Z=\"0\" Value=\".5\"/></GridCTFPhase></TiltSeries>\n",
}
STAR = b"""
# version 50001

data_TS_1

loop_
_rlnMicrographName #1
_rlnTomoNominalStageTiltAngle #2
_rlnTomoXTilt #3
_rlnTomoYTilt #4
_rlnTomoZRot #5
_rlnTomoXShiftAngst #6
_rlnTomoYShiftAngst #7
 3@a.mrcs  -60.0 0.5 -59.5 85.2 10 -3
'1@a.mrcs'   0.0 0.0   0.5 85.2 20.5 7

"""

SERIES = b"""data_global
loop_
_rlnTomoName
_rlnTomoTiltSeriesStarFile
_rlnTomoSizeZ
_rlnTomoTiltSeriesPixelSize
TS_1 a/TS_1.star 200 1.5
TS_11 /dev/null nan <NA>
"""

RELION4 = b"""data_global
loop_
_rlnTomoName
_rlnTomoTiltSeriesName
_rlnTomoSizeX
_rlnTomoSizeY
_rlnTomoSizeZ
_rlnTomoTiltSeriesPixelSize
TS_1 /dev/null 32 30 20 2.5

data_TS_1
loop_
_rlnTomoProjX
_rlnTomoProjY
_rlnTomoProjZ
_rlnTomoProjW
[0.5,0.1,0.8,3] [0,1,0,-2] [0,0,1,0] [0,0,0,1]
[1,0,0,0] [0,1,0,0] [0,0,1,0] [0,0,0,1]
"""

COMMANDS = [
    "series.st\n-o\nout.mrc\n-T\n100\n-a\nSIRT\n-i\n20\n-r\n0.2",
    "--method=ADMM,10,5,0.2,0.1\n--geometry\n0,1.5,-2,300\n--tiltfile\na.tlt\n--f2b",
    "--input\na.mrc\n--exclude=1-4,7,40-41\n--include=1-9\n--slices\n0:9\n--memory\n4G",
    "-i\nseries.mrc", "-thickness\n3", "--lambda\n3", "--thicknes=4", "--mode=byt",
    "--scale=-3,1e5\n--log=0.5\n--order\nxyz\n--window=ham\n-p\n--\n-name",
    "--cache\n512MiB\n--deflate=9\n--device\n0,2\n--kernel\ntexture\n--bin\n4\n-h\n-q",
]


WARP = b"""<TiltSeries AreAnglesInverted="True" LevelAngleX="0" LevelAngleY="2">
<Angles>-3
0
3</Angles><UseTilt>True
False
True</UseTilt><AxisAngle>85
85
85</AxisAngle><AxisOffsetX>1
2
3</AxisOffsetX>
<GridMovementX Width="2" Height="1" Depth="3" MarginX="0.1"><Node X="0" Y="0" Z="0" Value="1" />
<Node X="1" Y="0" Z="0" Value="-1" /><Node X="0" Y="0" Z="1" Value="2" />
<Node X="1" Y="0" Z="1" Value="1" /><Node X="0" Y="0" Z="2" Value="0" />
<Node X="1" Y="0" Z="2" Value="9" /></GridMovementX>
<GridVolumeWarpX><Node X="0" Y="0" Z="0" W="0" Value="1" /></GridVolumeWarpX></TiltSeries>
"""

def make_text():
    put("angles", "column", b"\3-60\r\n0\n60.5\n")
    put("angles", "table", b"\2# angles\n-60.0 1 2\n60.0\t3 4")
    put("angles", "row", b"\4-60, -20 20 60")
    put("angles", "comma", b"\2-60,5\n60,5")
    put("angles", "mdoc", b"\3" + MDOC)
    put("angles", "mark", b"\1\xef\xbb\xbf12")
    put("angles", "turns", b"\3" + b"700\n720.5\n741")
    put("angles", "star", b"\3" + STAR.replace(b"_rln", b"_wrp"))
    put("angles", "xml", b"\3<?xml version='1.0'?>\n<TiltSeries>\n")
    put("angles", "json", b"\3[\n{ \"a\": 1}]")
    put("angles", "html", b"\3# x\n\n<!doctype HTML>")
    put("angles", "kind", b"\3II*\0\10")
    put("angles", "odd", b"\3nan\ninf\n0x10 1e999 -361")
    put("mdoc", "small", MDOC)
    put("mdoc", "images", MDOC.replace(b"ZValue", b"Image"))
    put("mdoc", "movies", MDOC.replace(b"ZValue = 1", b"FrameSet = 0"))
    put("mdoc", "windows", MDOC.replace(b"\n", b"\r\n"))
    put("mdoc", "times", MDOC.replace(b"TiltAngle", b"DateTime = 25-Nov-2026  14:03:22\nVoltage ="
                                      b" 300\nExposureDose = 3\nPriorRecordDose = 6\nTiltAngle"))
    put("dose", "exposures", b"\3\0 3\n3\n2.5\n")
    put("dose", "ends", b"\3\0 6 9\n0 3\n3 6\n")
    put("dose", "own", b"\2\2 3 3\n0 3\n")
    put("dose", "warp", b"\2\0data_\n\nloop_\n_wrpAngleTilt #1\n_wrpDose #2\n-3 6\n0 0\n")
    put("transforms", "two", b"\2 1 0 0 1 0.5 -3\n0.99 -.1 .1 0.99 1e2 2\n")
    put("transforms", "flat", b"\1 1 1 1 1 0 0")
    put("local", "factors", b"\3-0.005 0.0006\n0.002,0.0004\n0 0\n")
    for head, more in ((b"0", b""), (b"1 2.5", b".1 -.2\n"), (b"0 2.5 1", b".01 .02 .03 .04\n")):
        put("local", head.decode().replace(" ", "-"), b"\2 2 2 10 10 20 20 " + head + b"\n"
            + 4 * (b"0.5 -0.25\n" + more + 2 * b"1 0.01 -0.01 1 2.5 -3\n"))
    put("aln", "one", b"\x20\x1e\4" + ALN)
    put("aln", "zero", b"\x10\x0f\4" + ALN.replace(b"    2   ", b"    0   "))
    put("warp", "xml", b"\x20\x1e\3\0" + WARP)
    put("warp", "tomostar", b"\x20\x1e\2\1data_\n\nloop_\n_wrpAngleTilt #1\n_wrpDose #2\n"
        b"_wrpAxisAngle #3\n_wrpAxisOffsetX #4\n_wrpAxisOffsetY #5\n-3 6 85 1 2\n0 0 85 1 -2\n")
    put("star", "views", b"\x20\x1e\3" + STAR)
    put("star", "rows", b"\x20\x1e\2" + STAR.replace(b"@", b"_"))
    put("star", "two", b"\x20\x1e\3" + STAR + STAR.replace(b"TS_1", b"TS_11"))
    put("star", "series", b"\x20\x1e\3" + SERIES)
    put("star", "matrices", b"\x20\x1e\2" + RELION4)
    put("relion", "views", STAR)
    put("relion", "series", SERIES)
    put("relion", "relion4", RELION4)
    put("relion", "images", STAR.replace(b"_rlnTomoXTilt", b"_rlnMicrographNameEven"))
    for name, text in CTF.items():
        put("ctf", name, b"\5" + text)
    put("com", "all", COM)
    put("com", "old", b"$tilt\na.ali\na.rec\nTHICKNESS 20\nRADIAL 30 4\nDONE\n")
    for i, command in enumerate(COMMANDS):
        put("options", f"command{i}", command.encode())
    for i, text in enumerate((b"1-4,7,40-41", b" 1 , 2-2", b"", b"0", b"9-3", b"1-",
                              b"99999999999999999999", b"1-9223372036854775807")):
        put("list", f"list{i}", b"\x2a" + text)


def take_data():
    for path in sorted(DATA.glob("interop/*")):
        if path.suffix in (".mrc", ".map", ".ccp4", ".st", ".mrcs", ".gz"):
            put("mrc", path.name, path.read_bytes())
    for path in sorted(DATA.glob("sidecars/*/*")):
        content = path.read_bytes()
        count = bytes([min(255, max(1, len(content.split(b"\n")) - 1))])
        if path.suffix in (".tlt", ".rawtlt", ".xtilt"):
            put("angles", path.name, count + content)
        elif path.suffix in (".xf", ".tltxf"):
            put("transforms", path.name, count + content)
        elif path.suffix == ".aln":
            put("aln", path.name, b"\x10\x10\x5a" + content)
        elif path.name.endswith("_CTF.txt"):
            put("ctf", path.name, b"\x50" + content)
        elif path.suffix == ".mdoc":
            put("mdoc", path.name, content)
        elif path.suffix == ".com":
            put("com", path.name, content)


make_mrc()
make_hdf()
make_tiff()
make_tiff()
make_recipes()
make_text()
if DATA and DATA.is_dir():
    take_data()
for target in ("mrc tiff hdf hdf_bytes angles mdoc dose transforms aln local warp star relion ctf com options "
               "list").split():
    (FOLDER / target).mkdir(parents=True, exist_ok=True)
