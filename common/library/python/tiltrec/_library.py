"""The shared library libtiltrec, as common/library/tiltrec.h declares it."""
import ctypes
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_long, c_size_t, c_uint, c_void_p
from pathlib import Path

ADD, YSX, NATIVE, ON_DEVICE, INITIAL = 1, 2, 4, 8, 16
STOPPED = 6
Progress = ctypes.CFUNCTYPE(c_int, c_void_p, c_long)


class Error(Exception):
    """What the library or a program refuses, in one sentence; `status` says of which kind
    (manual/index.md, "Exit status"): 2 a wrong argument, 3 not possible here, 4 memory ..."""

    def __init__(self, sentence, status):
        super().__init__(sentence)
        self.status = status


class Spec(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("backend", c_char_p), ("devices", c_char_p),
                ("threads", c_int), ("n_views", c_size_t), ("n_y", c_size_t),
                ("n_u", c_size_t), ("thickness", c_size_t), ("width", c_size_t),
                ("tilts", POINTER(c_double)), ("xtilts", POINTER(c_double)),
                ("transforms", POINTER(c_double)), ("tilt_offset", c_double),
                ("axis_shift", c_double), ("pitch", c_double), ("x_shift", c_double),
                ("z_shift", c_double), ("rays", POINTER(c_double))]


class Shape(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("n_views", c_size_t), ("n_y", c_size_t),
                ("n_u", c_size_t), ("thickness", c_size_t), ("width", c_size_t),
                ("lanes", c_size_t), ("rays_leave_rows", c_int)]


# The arguments of each function; where nothing else is said it returns a status.
FUNCTIONS = {
    "create": [POINTER(c_void_p), POINTER(Spec)],
    "destroy": [c_void_p],
    "get_shape": [c_void_p, POINTER(Shape)],
    "forward": [c_void_p, c_void_p, c_void_p, c_uint],
    "adjoint": [c_void_p, c_void_p, c_void_p, c_uint],
    "filter": [c_void_p, c_size_t, POINTER(c_float), POINTER(c_float), c_void_p, c_uint],
    "row_sums": [c_void_p, c_void_p, c_uint],
    "column_sums": [c_void_p, c_void_p, c_uint],
    "solve": [c_void_p, c_char_p, c_char_p, c_void_p, c_void_p, c_uint, Progress, c_void_p],
    "last_error": [],
    "version": [],
}
RESULTS = {"destroy": None, "last_error": c_char_p, "version": c_char_p}
LIBRARIES = {"cpu": "libtiltrec.so.0", "cuda": "libtiltrec-cuda.so.0"}
_loaded = {}


def path_of(backend):
    """The file: in the folders that TILTREC_LIBRARY_PATH names, in this package, or
    wherever the system looks."""
    name = LIBRARIES.get(backend, f"libtiltrec-{backend}.so")
    folders = [*os.environ.get("TILTREC_LIBRARY_PATH", "").split(os.pathsep),
               Path(__file__).parent / "lib"]
    for folder in folders:
        if folder and Path(folder, name).exists():
            return str(Path(folder, name))
    return name


def load(backend="cpu"):
    """The library of a backend, loaded once."""
    if backend not in _loaded:
        try:
            library = ctypes.CDLL(path_of(backend))
        except OSError as why:
            raise Error(f"no library for backend={backend!r}: {why}", 3) from None
        for name, arguments in FUNCTIONS.items():
            function = getattr(library, "tiltrec_" + name)
            function.argtypes = arguments
            function.restype = RESULTS.get(name, c_int)
        _loaded[backend] = library
    return _loaded[backend]


def call(library, name, *arguments):
    """Call a function, in this thread, without Python's lock; raises Error."""
    status = getattr(library, "tiltrec_" + name)(*arguments)
    if status:
        raise Error(library.tiltrec_last_error().decode(), status)
