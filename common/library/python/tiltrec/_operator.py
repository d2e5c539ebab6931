"""The projection as a linear operator."""
import ctypes
import weakref

import numpy as np

from . import _arrays, _library
from ._library import Error  # noqa: F401


def _doubles(values, shape, name):
    if values is None:
        return None
    array = np.ascontiguousarray(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    return array


def _words(options):
    """Keyword arguments as the programs' options: "iterations=30 positive"."""
    words = []
    for name, value in options.items():
        name = name.replace("_", "-")
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            words.append(f"{name}={value}")
            if len(words[-1].split()) != 1:
                raise ValueError(f"{name}={value!r}: no space is allowed here")
    return " ".join(words).encode()


class Operator:
    """A: a volume to its tilt series, by linear interpolation; A.T is the exact transpose.

    tilts       degrees, one per view (or `rays`)
    shape       (n_y, n_u) of an image; the tilt axis runs along y
    thickness   of the volume, in voxels
    width       of the volume, in voxels; n_u unless given
    xtilts      degrees, one per view, added to the pitch
    transforms  one line a11 a12 a21 a22 dx dy of an .xf file per view, which take the
                images as they are to the aligned ones; pixels
    tilt_offset, pitch               degrees
    axis_shift, x_shift, z_shift     pixels; all as the programs' options of these names
    rays        n_views x 8, instead of angles: u0 ux uy us v0 vx vy vs (see tiltrec.h)
    order       "zyx": volumes are [z][y][x], as the programs' --order xyz; or "ysx", as
                their --order xzy, with s = thickness - 1 - z
    native      arrays are as the kernels have them (A.native_volume, A.native_projections):
                nothing is transposed
    backend     "cpu", or "cuda"; device: the number of the GPU
    threads     of the CPU; 0: as OpenMP decides (OMP_NUM_THREADS)

    Volumes have the shape A.volume_shape, projections A.projections_shape: (n_views, n_y,
    n_u); flat vectors of as many values are taken too, and give flat ones. Arrays of
    float32 in C order are used as they are, others are copied. Results are numpy arrays, or
    where the argument is on a GPU (backend="cuda") arrays of its library there, without
    a copy on the host.

    Voxel (x, y, s) relative to the centres is seen at column x cos t - s sin t and shared
    out to the two columns it lies between: IMOD's geometry, as the manual's chapter
    geometry.md has it. Errors: ValueError and TypeError for arrays that do not
    fit, tiltrec.Error for what the library refuses.

    One operator does one thing at a time: threads wait for each other. It holds one volume
    and one set of projections of its own.
    """

    __array_ufunc__ = None  # so that numpy leaves @ to this class

    def __init__(self, tilts=None, shape=None, *, thickness, width=None, xtilts=None,
                 transforms=None, tilt_offset=0.0, axis_shift=0.0, pitch=0.0, x_shift=0.0,
                 z_shift=0.0, rays=None, order="zyx", native=False, backend="cpu", device=0,
                 threads=0):
        if shape is None or len(shape) != 2:
            raise ValueError("shape must be (n_y, n_u), rows and columns of an image")
        if order not in ("zyx", "ysx"):
            raise ValueError(f"order must be 'zyx' or 'ysx', not {order!r}")
        n = len(rays) if tilts is None and rays is not None else np.size(tilts)
        arrays = {"tilts": _doubles(tilts, (n,), "tilts"),
                  "xtilts": _doubles(xtilts, (n,), "xtilts"),
                  "transforms": _doubles(transforms, (n, 6), "transforms"),
                  "rays": _doubles(rays, (n, 8), "rays")}
        numbers = {"thickness": thickness, "width": width or 0, "threads": threads,
                   "n_y": shape[0], "n_u": shape[1], "n_views": n}
        for name, value in numbers.items():
            if int(value) != value or value < 0:
                raise ValueError(f"{name} must be a whole number, not {value}")
        spec = _library.Spec(
            size=ctypes.sizeof(_library.Spec), backend=_backend_name(backend),
            devices=str(device).encode(), tilt_offset=tilt_offset, axis_shift=axis_shift,
            pitch=pitch, x_shift=x_shift, z_shift=z_shift,
            **{name: int(value) for name, value in numbers.items()},
            **{name: array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
               for name, array in arrays.items() if array is not None})
        self._library = _library.load(backend)
        handle = ctypes.c_void_p()
        _library.call(self._library, "create", ctypes.byref(handle), ctypes.byref(spec))
        self._handle = handle
        self._end = weakref.finalize(self, self._library.tiltrec_destroy, handle)
        sizes = _library.Shape(size=ctypes.sizeof(_library.Shape))
        _library.call(self._library, "get_shape", handle, ctypes.byref(sizes))
        self.backend, self.order, self.native = backend, order, native
        self.rays_leave_rows = bool(sizes.rays_leave_rows)
        self._set_shapes(sizes)

    def _set_shapes(self, s):
        if self.native:
            self.volume_shape = s.thickness, s.width, s.lanes
            self.projections_shape = s.n_views, s.n_u + 3, s.lanes
        else:
            self.volume_shape = ((s.thickness, s.n_y, s.width) if self.order == "zyx"
                                 else (s.n_y, s.thickness, s.width))
            self.projections_shape = s.n_views, s.n_y, s.n_u
        self.shape = int(np.prod(self.projections_shape)), int(np.prod(self.volume_shape))
        self.dtype = np.dtype(np.float32)
        self._flags = (_library.NATIVE if self.native else
                       _library.YSX if self.order == "ysx" else 0)

    def __repr__(self):
        return (f"<tiltrec.Operator {self.volume_shape} -> {self.projections_shape}, "
                f"{self.backend}>")

    def _array_flags(self, *arrays):
        """What the library is told of where these are: all of them on the GPU, or none."""
        there = {_arrays.on_device(a) for a in arrays if a is not None}
        if len(there) > 1:
            raise TypeError("both arrays must be on the GPU, or neither")
        if there == {True} and self.backend == "cpu":
            raise TypeError("the array is on a GPU: use backend='cuda', or copy it")
        return self._flags | (_library.ON_DEVICE if there == {True} else 0)

    def _apply(self, function, array, from_shape, to_shape, out):
        flat = len(_arrays.shape_of(array)) == 1
        if flat:
            array = array.reshape(from_shape)
        flags = self._array_flags(array, out)
        given = _arrays.Argument(array, from_shape)
        if out is not None and len(_arrays.shape_of(out)) == 1:
            flat, out = True, out.reshape(to_shape)
        out, pointer = _arrays.result(out, to_shape, array, self.native)
        _library.call(self._library, function, self._handle, given.pointer, pointer, flags)
        return out.reshape(-1) if flat else out

    def __call__(self, x, out=None):
        """The projections of a volume; into `out`, if given."""
        return self._apply("forward", x, self.volume_shape, self.projections_shape, out)

    def __matmul__(self, x):
        return self(x)

    def adjoint(self, y, out=None):
        """A.T @ y: the volume of back-projected images, each voxel the sum over views of
        the interpolated image. It is A's transpose to rounding: <A x, y> = <x, A.T y>."""
        return self._apply("adjoint", y, self.projections_shape, self.volume_shape, out)

    @property
    def T(self):
        return Adjoint(self)

    def _sums(self, function, shape, like=None):
        out, pointer = _arrays.result(None, shape, like, self.native)
        flags = self._array_flags(out)
        if function == "row_sums":
            flags &= ~_library.YSX
        _library.call(self._library, function, self._handle, pointer, flags)
        return out

    def row_sums(self):
        """A 1, of the shape of projections: how long each ray is within the volume."""
        return self._sums("row_sums", self.projections_shape)

    def column_sums(self):
        """A.T 1, of the shape of a volume: in how many views each voxel is seen."""
        return self._sums("column_sums", self.volume_shape)

    def filter(self, y, response, weights=None):
        """Projections filtered along u. `response` has length / 2 + 1 values, for k / length
        cycles per pixel, k = 0 ..., where rows are extended to `length` >= n_u values, from
        the end of a row back to its beginning. weights: one factor per view."""
        response = np.ascontiguousarray(response, np.float32)
        real = ctypes.POINTER(ctypes.c_float)
        if weights is not None:
            weights = np.ascontiguousarray(weights, np.float32)
            if weights.shape != self.projections_shape[:1]:
                raise ValueError("weights must be one factor per view")
        if response.ndim != 1 or len(response) < 2:
            raise ValueError("response must be length / 2 + 1 values")
        given = _arrays.Argument(y, self.projections_shape)
        if _arrays.on_device(y):
            out, pointer = _arrays.result(None, self.projections_shape, y)
            out[...] = y
        else:
            out, pointer = _arrays.result(None, self.projections_shape, None, self.native)
            out[...] = given.array
        _library.call(self._library, "filter", self._handle, 2 * (len(response) - 1),
                      response.ctypes.data_as(real),
                      None if weights is None else weights.ctypes.data_as(real), pointer,
                      self._array_flags(out) & ~_library.YSX)
        return out

    def solve(self, data, algorithm="SIRT", *, initial=None, out=None, progress=None,
              **options):
        """The volume of these projections by an algorithm of the programs (algorithms.md):
        "WBP", "FBP", "BPT", "SIRT", "SART", "CGLS", "ADMM". Options are the program's, with
        _ for -, True for those without a value: iterations=30, positive=True.

        initial   the volume to start from, of iterative ones
        out       where the result goes
        progress  called with the number of each iteration but the last; True ends it, by
                  the exception tiltrec.Error, whose status then is 6

        Nothing is taken to be outside the field (--outside zero), and iterations do not
        stop at the noise. Interrupting (Ctrl-C) works between iterations."""
        flags = self._array_flags(data, out, initial)
        given = _arrays.Argument(data, self.projections_shape)
        out, pointer = _arrays.result(out, self.volume_shape, data, self.native)
        if initial is not None:
            flags |= _library.INITIAL
            _arrays.Argument(initial, self.volume_shape)
            if out is not initial:
                out[...] = initial
        raised = []

        def passed(_, iteration):
            try:
                return bool(progress and progress(iteration))
            except BaseException as error:  # raised again once the library has returned
                raised.append(error)
                return 1

        try:
            _library.call(self._library, "solve", self._handle, algorithm.encode(),
                          _words(options), given.pointer, pointer, flags,
                          _library.Progress(passed), None)
        except Error:
            if raised:
                raise raised[0] from None
            raise
        return out

    def native_volume(self):
        """An empty (zero) volume in the library's layout [s][x][y], for native=True; y from
        the first slice on, and after the last zeros up to a multiple of 16."""
        return self._native(self.volume_shape)

    def native_projections(self):
        """The same for projections: [view][u + 1][y], where lines 0 and the last two are 0."""
        return self._native(self.projections_shape)

    def _native(self, shape):
        if not self.native:
            raise ValueError("this operator was not made with native=True")
        return _arrays.aligned(shape)

    def linear_operator(self):
        """A as scipy.sparse.linalg.LinearOperator, on flat vectors: for lsqr, PyLops ..."""
        from scipy.sparse.linalg import LinearOperator
        return LinearOperator(self.shape, dtype=np.float32,
                              matvec=lambda x: self(np.asarray(x).reshape(-1)),
                              rmatvec=lambda y: self.adjoint(np.asarray(y).reshape(-1)))


def _backend_name(backend):
    """As the library calls it: an emulated GPU is one as well."""
    return b"cpu" if backend == "cpu" else b"cuda"


class Adjoint:
    """A.T of an Operator."""

    __array_ufunc__ = None

    def __init__(self, operator):
        self.T = operator
        self.shape = operator.shape[::-1]
        self.dtype = operator.dtype
        self.volume_shape = operator.volume_shape
        self.projections_shape = operator.projections_shape

    def __call__(self, y, out=None):
        return self.T.adjoint(y, out)

    def __matmul__(self, y):
        return self(y)
