"""The shared library and its Python package: what is exported and installed, numbers against
a dense matrix in double precision, the programs and SciPy, and what is refused."""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from conftest import ROOT, correlation, difference, read_mrc, write_series
from volume_reference import direct_matrix, places, rotations

SOURCE = ROOT / "common" / "library"
HEADER = (SOURCE / "tiltrec.h").read_text()
MAP = (SOURCE / "libtiltrec.map").read_text()
FUNCTIONS = set(re.findall(r"TILTREC_API [\w ]+?\*?(tiltrec_\w+)\(", HEADER))
TILTS = np.linspace(-61, 58, 7)
ROWS, COLUMNS, THICK = 19, 21, 9
random = np.random.default_rng(4)


def run(*words, **options):
    done = subprocess.run([*map(str, words)], text=True, capture_output=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- the file ----

@pytest.fixture(scope="module", params=["libtiltrec", "libtiltrec-cuda"])
def library(request, build_dir):
    path = build_dir / "common" / "library" / f"{request.param}.so"
    if not path.exists():
        pytest.skip("built without nvcc")
    if not shutil.which("readelf"):
        pytest.skip("readelf (binutils) is not installed")
    return path


def readelf(path, *options):
    return run("readelf", "--wide", *options, path, env={**os.environ, "LC_ALL": "C"})


def symbols(path):
    """(defined, undefined) names, without versions."""
    found = {True: set(), False: set()}
    for line in readelf(path, "--dyn-syms").splitlines():
        words = line.split()
        if len(words) > 7 and words[0].rstrip(":").isdigit():
            found[words[6] != "UND"].add(words[7].partition("@")[0])
    return found[True], found[False]


def test_the_symbols_are_those_of_the_header(library, sanitized):
    assert len(FUNCTIONS) == 11
    assert set(re.findall(r"^ +(tiltrec_\w+);$", MAP, re.MULTILINE)) == FUNCTIONS
    defined = {name for name in symbols(library)[0] if not (sanitized and "asan" in name)}
    assert defined - {"TILTREC_0"} == FUNCTIONS


def test_the_version_is_in_the_name(library):
    assert f"[{library.stem}.so.0]" in readelf(library, "--dynamic")
    assert re.fullmatch(rf"{library.stem}\.so\.0\.\d+\.\d+", library.resolve().name)


def test_it_needs_no_more_than_it_uses(library):
    needed = set(re.findall(r"NEEDED.*\[(lib\w+|ld-)", readelf(library, "--dynamic")))
    device = {"libcufft", "libstdc", "libgcc_s"} if "cuda" in library.name else set()
    assert needed - device <= {"libgomp", "libomp", "libm", "libfftw3f", "libc", "ld-",
                               "libpthread", "libasan", "libubsan"}


def test_it_neither_ends_the_process_nor_handles_signals(library, build_dir):
    if "BUILD_TYPE:STRING=Release" not in (build_dir / "CMakeCache.txt").read_text():
        pytest.skip("failed assertions end it")
    used = symbols(library)[1]
    assert "fftwf_plan_many_dft" in used
    of_nvidia = {"exit", "abort"} if "cuda" in library.name else set()  # what nvcc adds
    assert not {name for name in used - of_nvidia if re.fullmatch(
        r"_?exit|_Exit|quick_exit|abort|signal|sigaction|raise|MPI_.*|H5.*|tr_.*", name)}


def test_it_is_hardened(library, build_dir):
    if "TR_HARDENING:BOOL=ON" not in (build_dir / "CMakeCache.txt").read_text():
        pytest.skip("this tree was built with -DTR_HARDENING=OFF")
    segments, dynamic = readelf(library, "--segments"), readelf(library, "--dynamic")
    assert "GNU_RELRO" in segments and re.search(r"BIND_NOW|FLAGS_1.*\bNOW\b", dynamic)
    assert re.search(r"GNU_STACK.* RW +0x", segments) and "TEXTREL" not in dynamic
    assert "__stack_chk_fail" in symbols(library)[1]


# ---- installed ----

@pytest.fixture(scope="module")
def installed(build_dir, tmp_path_factory, sanitized):
    if sanitized:
        pytest.skip("callers would have to be built with the sanitizers")
    prefix = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", build_dir, "--prefix", prefix, "--component", "library")
    return prefix


def check_caller(program, folder):
    said = run(program, env={**os.environ, "LD_LIBRARY_PATH": str(folder)}).splitlines()
    version, status, seen, total = said[0].split()
    assert version == re.search(r"tiltrec VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert (status, seen, total) == ("0", "5", "10.0000")
    assert said[1] == "2 --iterations -3: must be a whole number from 1 to 100000"


def test_a_caller_built_with_pkg_config(installed, tmp_path):
    folder = next(installed.rglob("pkgconfig"))
    flags = run("pkg-config", "--cflags", "--libs", "tiltrec",
                env={**os.environ, "PKG_CONFIG_PATH": str(folder)}).split()
    source = ROOT / "tests" / "tools" / "installed" / "use_library.c"
    run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", source, *flags,
        "-o", tmp_path / "use")
    check_caller(tmp_path / "use", folder.parent)


def test_a_caller_built_with_cmake(installed, tmp_path):
    source = ROOT / "tests" / "tools" / "installed" / "use_library.c"
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(use C)\n"
        "find_package(tiltrec 0.1 REQUIRED)\n"
        f"add_executable(use {source})\ntarget_link_libraries(use tiltrec::tiltrec)\n")
    run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", tmp_path / "b")
    check_caller(tmp_path / "b" / "use", "")


# ---- Python ----

@pytest.fixture(scope="module")
def package(build_dir, sanitized):
    if sanitized:
        pytest.skip("Python is not built with the sanitizers")
    folders = [build_dir / "common" / "library", build_dir / "tests" / "cudaemu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILTREC_LIBRARY_PATH", os.pathsep.join(map(str, folders)))
        patch.syspath_prepend(str(SOURCE / "python"))
        patch.setattr(sys, "dont_write_bytecode", True)
        import tiltrec
        yield tiltrec


XTILTS = random.normal(0, 3, len(TILTS))
TURNS = rotations(random.normal(0, 4, len(TILTS)), random.normal(0, 2, (len(TILTS), 2)))
GEOMETRIES = {"straight": ({}, {}), "pitch": ({"pitch": 7.0}, {"xtilts": 7.0}),
              "xtilts": ({"xtilts": XTILTS}, {"xtilts": XTILTS}),
              "transforms": ({"transforms": TURNS}, {"transforms": TURNS})}


def yzx(volume, order):
    """[y][s][x], as direct_matrix has it."""
    return volume[::-1].transpose(1, 0, 2) if order == "zyx" else volume


def noise(shape):
    return random.standard_normal(shape).astype(np.float32)


def close(got, wanted, share=2e-6):
    assert np.abs(got - wanted).max() <= share * np.abs(wanted).max()


def check_numbers(A, matrix, order):
    x, y = noise(A.volume_shape), noise(A.projections_shape)
    ax, aty = A @ x, A.T @ y
    assert ax.dtype == aty.dtype == np.float32 and type(ax) is np.ndarray
    close(ax.ravel(), matrix @ yzx(x, order).ravel().astype(float))
    close(yzx(aty, order).ravel(), matrix.T @ y.ravel().astype(float))
    close(A.row_sums().ravel(), matrix.sum(axis=1))
    close(yzx(A.column_sums(), order).ravel(), matrix.sum(axis=0))
    # The dot test: A.T is A's transpose, not nearly.
    y += ax  # so that the products are not near 0
    sides = np.vdot(ax.astype(float), y), np.vdot(x.astype(float), A.T @ y)
    assert abs(sides[0] - sides[1]) <= 1e-6 * abs(sides[0])
    assert abs(sides[0]) > 0.1 * np.linalg.norm(ax) * np.linalg.norm(y)


@pytest.mark.parametrize("backend", ["cpu", "cudaemu"])
@pytest.mark.parametrize("order", ["zyx", "ysx"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_numbers(package, name, order, backend):
    options, of_matrix = GEOMETRIES[name]
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK, order=order, backend=backend,
                         **options)
    assert A.rays_leave_rows == (name != "straight")
    check_numbers(A, direct_matrix(TILTS, COLUMNS, ROWS, THICK, **of_matrix), order)


def test_rays(package):
    """Given as numbers, fitted to the places where the reference sees voxels."""
    index = np.meshgrid(np.arange(ROWS), np.arange(THICK), np.arange(COLUMNS), indexing="ij")
    y, s, x = (axis.ravel() for axis in index)
    design = np.column_stack([np.ones(y.size), x, y, s])
    rays = [np.concatenate([np.linalg.lstsq(design, at, rcond=None)[0] for at in seen])
            for seen in places(TILTS, COLUMNS, ROWS, THICK, transforms=TURNS, xtilts=4.0)]
    A = package.Operator(rays=rays, shape=(ROWS, COLUMNS), thickness=THICK)
    check_numbers(A, direct_matrix(TILTS, COLUMNS, ROWS, THICK, transforms=TURNS, xtilts=4.0),
                  "zyx")


@pytest.mark.parametrize("pitch", [0.0, 7.0])
def test_the_librarys_own_layout(package, pitch):
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK, pitch=pitch)
    N = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK, pitch=pitch, native=True)
    x, y, nx, ny = (noise(A.volume_shape), noise(A.projections_shape), N.native_volume(),
                    N.native_projections())
    nx[:, :, :ROWS] = x[::-1].transpose(0, 2, 1)
    ny[:, 1:-2, :ROWS] = y.transpose(0, 2, 1)
    assert np.array_equal((N @ nx)[:, 1:-2, :ROWS].transpose(0, 2, 1), A @ x)
    assert np.array_equal((N.T @ ny)[:, :, :ROWS].transpose(0, 2, 1)[::-1], A.T @ y)
    for algorithm in ("WBP", "SIRT"):
        solved = N.solve(ny, algorithm)[:, :, :ROWS].transpose(0, 2, 1)[::-1]
        assert np.array_equal(solved, A.solve(y, algorithm))
    assert not ny[:, [0, -2, -1]].any() and not ny[:, :, ROWS:].any()  # b is not touched


@pytest.mark.parametrize("rows, columns, thick", [(1, 5, 1), (16, 64, 3), (33, 70, 5)])
def test_sizes(package, rows, columns, thick):
    A = package.Operator(TILTS, (rows, columns), thickness=thick, width=columns + 3)
    x = noise(A.volume_shape)
    wanted = np.zeros(A.projections_shape)
    s = np.arange(thick)[::-1] - (thick // 2 - 0.5)
    at = np.arange(columns + 3) - ((columns + 3) // 2 - 0.5)
    for k, t in enumerate(np.radians(TILTS)):
        u = columns / 2 - 0.5 + at * np.cos(t) - s[:, None] * np.sin(t)
        hats = np.maximum(0, 1 - np.abs(u - np.arange(columns)[:, None, None]))
        wanted[k] = np.einsum("uzx,zyx->yu", hats, x.astype(float))
    close(A @ x, wanted)


def test_filter(package):
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK)
    y, weights = noise(A.projections_shape), np.linspace(0.5, 2, len(TILTS))
    length = 40
    response = random.uniform(0, 1, length // 2 + 1)
    added = length - COLUMNS
    t = np.arange(1, added + 1) / (added + 1)
    first, last = (y[..., part].mean(axis=-1, dtype=float)[..., None]
                   for part in (slice(3), slice(-3, None)))
    longer = np.concatenate([y, (1 - t) * last + t * first], axis=-1)
    wanted = np.fft.irfft(np.fft.rfft(longer) * response, length)[..., :COLUMNS]
    close(A.filter(y, response, weights), wanted * weights[:, None, None], 1e-5)


def test_least_squares_of_scipy(package):
    """CGLS works in the metric of SIRT, so lsqr gets R^1/2 A C^1/2 and x = C^1/2 z; with one
    row, as otherwise each row is a problem of its own."""
    linalg = pytest.importorskip("scipy.sparse.linalg")
    for shape, options in (((1, 64), {}), ((12, 40), {"pitch": 5.0})):
        A = package.Operator(np.linspace(-60, 60, 21), shape, thickness=16, **options)
        y = A @ np.abs(noise(A.volume_shape))
        y += 0.05 * y.std() * noise(y.shape)
        L = A.linear_operator()
        # Rays that are short within the volume weigh as if they were longer.
        R = np.maximum(A.row_sums().ravel(), 0.25 * 16)**-0.5
        C = np.maximum(A.column_sums().ravel(), 1e-9)**-0.5
        weighted = linalg.LinearOperator(L.shape, matvec=lambda z: R * L.matvec(C * z),
                                         rmatvec=lambda r: C * L.rmatvec(R * r))
        z = linalg.lsqr(weighted, R * y.ravel(), atol=0, btol=0, iter_lim=5)[0]
        wanted, got = C * z, A.solve(y, "CGLS", iterations=5).ravel()
        assert np.linalg.norm(got - wanted) <= 1e-4 * np.linalg.norm(wanted)
        fewer = A.solve(y, "CGLS", iterations=4).ravel()
        assert np.linalg.norm(fewer - wanted) > 1e-2 * np.linalg.norm(wanted)


@pytest.mark.parametrize("algorithm, options", [
    ("WBP", {}), ("FBP", {"filter": "hann"}), ("SIRT", {"iterations": 6, "positive": True}),
    ("SART", {"iterations": 1, "relaxation": 0.5}), ("CGLS", {"iterations": 4})])
def test_the_same_as_the_program(package, tiltrec, tmp_path, algorithm, options):
    tilts = np.linspace(-60, 60, 25)
    data = noise((25, 18, 48))
    words = [f"--{name}" if value is True else f"--{name}={value}"
             for name, value in options.items()]
    if algorithm in ("SIRT", "CGLS", "SART"):
        words.append("--outside=zero")
    tiltrec("-a", algorithm, *words, "-T", 14, "--axis-shift", 1.5, "--order", "xyz", "-o",
            "o.mrc", write_series(tmp_path, data, tilts), cwd=tmp_path)
    got = package.reconstruct(data, tilts, algorithm, thickness=14, axis_shift=1.5, **options)
    assert difference(got, read_mrc(tmp_path / "o.mrc")) < 1e-6


def test_starting_from_a_volume(package):
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK)
    y = noise(A.projections_shape)
    three = A.solve(y, "SIRT", iterations=3)
    close(A.solve(y, iterations=2, initial=A.solve(y, iterations=1)), three, 1e-5)
    before = three.copy()
    close(A.solve(y, iterations=1, initial=three, out=three), A.solve(y, iterations=4), 1e-5)
    assert not np.array_equal(three, before)


def test_solving_leaves_no_trace(package):
    """Filtered images go on beyond their edges; those of the next call do not."""
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK, pitch=5.0)
    y = noise(A.projections_shape)
    before, given = A.T @ y, y.copy()
    A.solve(y, "WBP")
    assert np.array_equal(A.T @ y, before) and np.array_equal(y, given)


# ---- arrays ----

class OnlyDlpack:
    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnGpu:
    """Memory as a GPU's array shows it, which the emulated GPU can use."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape
        self.__cuda_array_interface__ = {**array.__array_interface__, "version": 3,
                                         "strides": None, "stream": None}


def test_arrays(package):
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK)
    x = noise(A.volume_shape)
    y = A @ x
    for other in (x.astype(np.float64), np.asfortranarray(x), OnlyDlpack(x), x[::-1][::-1],
                  x.tolist() and np.array(x.tolist())):
        assert np.array_equal(A @ other, y)
    out = np.empty_like(y)
    assert A(x, out=out) is out and np.array_equal(out, y)
    flat = A @ x.ravel()
    assert flat.shape == (A.shape[0],) and np.array_equal(flat, y.ravel())
    assert A.T.T is A and A.T.shape == A.shape[::-1]
    whole = np.rint(x * 100).astype(np.int16)
    assert np.array_equal(A @ whole, A @ whole.astype(np.float32))


def test_arrays_on_the_gpu_are_not_copied(package):
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK)
    B = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK, backend="cudaemu")
    x, y = noise(A.volume_shape), np.zeros(A.projections_shape, np.float32)
    there = OnGpu(y)
    assert B(OnGpu(x), out=there) is there
    close(y, A @ x)
    back = np.zeros_like(x)
    B.T(there, out=OnGpu(back))
    close(back, A.T @ y)
    with pytest.raises(TypeError, match="both arrays must be on the GPU"):
        B(x, out=there)
    with pytest.raises(TypeError, match="use backend='cuda'"):
        A(OnGpu(x), out=there)


@pytest.mark.parametrize("backend", ["cpu", "cudaemu"])
def test_adding(package, backend):
    """The flag that only callers of the library have."""
    from tiltrec import _library
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK, backend=backend)
    x, y = noise(A.volume_shape), noise(A.projections_shape)
    sums, back, result = y.copy(), x.copy(), A @ x
    _library.call(A._library, "forward", A._handle, x.ctypes.data, sums.ctypes.data, _library.ADD)
    _library.call(A._library, "adjoint", A._handle, y.ctypes.data, back.ctypes.data, _library.ADD)
    assert np.array_equal(sums, y + result) and np.array_equal(back, x + A.T @ y)


def test_arrays_that_do_not_fit(package):
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK)
    x, y = noise(A.volume_shape), noise(A.projections_shape)
    with pytest.raises(ValueError, match=r"shape \(9, 19, 21\) is needed, not of \(7"):
        A @ y
    with pytest.raises(TypeError, match="real numbers"):
        A @ x.astype(complex)
    frozen = y.copy()
    frozen.flags.writeable = False
    for out in (y.astype(float), y[::-1], y[:-1], frozen):
        with pytest.raises(ValueError, match="out must be"):
            A(x, out=out)
    with pytest.raises(ValueError, match=r"\[view\]\[y\]\[u\]"):
        package.reconstruct(y[0], TILTS)
    with pytest.raises(ValueError, match="tilts must have shape"):
        package.Operator(TILTS[None], (ROWS, COLUMNS), thickness=THICK)
    with pytest.raises(ValueError, match="no space"):
        A.solve(y, "SIRT", iterations="3 positive")


def test_refusals(package):
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK)
    y = noise(A.projections_shape)
    for options, sentence in (({"iterations": 0}, "--iterations 0: must be a whole number"),
                              ({"iteration": 3}, "did you mean --iterations"),
                              ({"algorithm": "EM"}, "no algorithm is called EM; there are: BPT")):
        with pytest.raises(package.Error, match=sentence) as raised:
            A.solve(y, **options)
        assert raised.value.status == 2
    with pytest.raises(package.Error, match="does not start from an initial volume"):
        A.solve(y, "WBP", initial=noise(A.volume_shape))
    with pytest.raises(package.Error, match="the thickness is 0") as raised:
        package.Operator(TILTS, (ROWS, COLUMNS), thickness=0)
    with pytest.raises(package.Error, match="no library for backend='abacus'") as raised:
        package.Operator(TILTS, (ROWS, COLUMNS), thickness=3, backend="abacus")
    assert raised.value.status == 3


def test_progress(package):
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK)
    y, seen = noise(A.projections_shape), []
    A.solve(y, iterations=4, progress=seen.append)
    assert seen == [1, 2, 3]
    with pytest.raises(package.Error, match="stopped after iteration 2") as raised:
        A.solve(y, iterations=9, progress=lambda k: k == 2)
    assert raised.value.status == 6

    def interrupt(_):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        A.solve(y, iterations=9, progress=interrupt)
    assert np.isfinite(A.solve(y, iterations=2)).all()


def test_threads(package):
    """Each with its own operator, and both with one."""
    one = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK)
    two = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK, pitch=5.0)
    jobs = [(A, noise(A.projections_shape)) for A in (one, two, one)]
    wanted = [A.solve(y, iterations=5) for A, y in jobs]
    got = [None] * len(jobs)

    def work(k):
        for _ in range(5):
            got[k] = jobs[k][0].solve(jobs[k][1], iterations=5)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(got, wanted))


def test_it_prints_nothing(package):
    code = ("import numpy as np, tiltrec\n"
            "y = np.ones((9, 20, 30), np.float32)\n"
            "for a in 'WBP', 'SIRT', 'CGLS', 'ADMM':\n"
            "    tiltrec.reconstruct(y, np.linspace(-60, 60, 9), a, thickness=16)\n"
            "try: tiltrec.reconstruct(y, np.zeros(9), 'none')\n"
            "except tiltrec.Error: pass\n")
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(SOURCE / "python")})
    assert done.stdout == done.stderr == b""


def test_the_package_knows_the_header(package):
    """Its functions, and its structs' members in their order."""
    from tiltrec import _library
    assert {"tiltrec_" + name for name in _library.FUNCTIONS} == FUNCTIONS
    for struct, name in ((_library.Spec, "spec"), (_library.Shape, "shape")):
        body = re.search(rf"struct tiltrec_{name} \{{(.*?)\}}", HEADER, re.S)[1]
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        members = [member.strip(" *\n") for line in body.split(";")
                   for member in re.sub(r"^\s*(const )?\w+ ", "", line).split(",")]
        assert [member for member in members if member] == [
            field[0] for field in struct._fields_]
        assert ctypes.sizeof(struct) % 8 == 0


# ---- PyTorch ----

def test_torch(package):
    torch = pytest.importorskip("torch")
    A = package.Operator(TILTS, (ROWS, COLUMNS), thickness=THICK, pitch=3.0)
    y = noise(A.projections_shape)
    x = torch.from_numpy(noise(A.volume_shape)).requires_grad_()
    residual = package.torch.apply(A, x) - torch.from_numpy(y)
    (residual**2).sum().mul(0.5).backward()
    close(x.grad.numpy(), A.T @ (A @ x.detach().numpy() - y))
    batch = torch.stack([x.detach(), 2 * x.detach()]).requires_grad_()
    package.torch.apply(A, batch).sum().backward()
    close(batch.grad[1].numpy(), A.T @ np.ones_like(y))
    p = torch.from_numpy(y).requires_grad_()
    package.torch.apply(A.T, p).sum().backward()
    close(p.grad.numpy(), A.row_sums())
    assert np.array_equal(A @ x, A @ x.detach().numpy())


# ---- examples ----

def test_the_example(package, phantom, tmp_path):
    said = run(sys.executable, "-B", ROOT / "examples" / "sirt_from_python.py", phantom.series,
               phantom.tilts, 24, cwd=tmp_path,
               env={**os.environ, "PYTHONPATH": str(SOURCE / "python")})
    assert said.startswith("(24, 40, 64), middle slice: mean ")
    truth = read_mrc(phantom.truth)  # [y][s][x]
    made = read_mrc(tmp_path / "sirt.mrc")[::-1].transpose(1, 0, 2)
    assert correlation(made, truth) > 0.7
    assert correlation(made, truth) > correlation(made[:, ::-1], truth) + 0.1


def manual_method():
    """The method of the manual's chapter, as it stands there."""
    text = (ROOT / "manual" / "python.md").read_text()
    chapter = text.partition("## A method of your own")[2].partition("\n## ")[0]
    return "".join(line[4:] for line in chapter.splitlines(keepends=True)
                   if line.startswith("    "))


def test_the_method_of_the_manual(package, phantom):
    code = manual_method()
    assert 20 <= len(code.strip().splitlines()) <= 30
    names = {}
    exec(compile(code, "python.md", "exec"), names)  # noqa: S102 (it is ours)
    truth = read_mrc(phantom.truth)[:, ::-1].transpose(1, 0, 2)
    tilts = np.loadtxt(phantom.tilts)
    A = package.Operator(tilts, (40, 64), thickness=24)
    y = read_mrc(phantom.series).astype(np.float32)
    y += 0.3 * y.std() * noise(y.shape)

    def objective(x):
        steps = names["gradient"](x)
        return (0.5 * np.sum((A @ x - y).astype(float)**2)
                + 2.0 * np.sqrt((steps**2).sum(axis=0)).sum())

    few, many = (names["total_variation"](A, y, weight=2.0, iterations=n) for n in (40, 150))
    assert many.min() >= 0 and objective(many) < objective(few) < objective(0 * few)
    assert correlation(many, truth) > correlation(A.solve(y, iterations=30), truth) + 0.01
