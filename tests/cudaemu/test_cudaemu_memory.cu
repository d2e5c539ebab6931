/* The emulation of CUDA itself: memory, textures, cuFFT and failures made to order. */
#include <cstring>
#include <sanitizer/asan_interface.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cufft.h"
#include "test_cudaemu.h"

namespace
{
__global__ void add(float *y, size_t n, float value)
{
    size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
    if (i < n)
        y[i] += value;
}

__global__ void read_layers(cudaTextureObject_t t, const float4 *at, float *y)
{
    float4 p = __ldg(&at[threadIdx.x]);
    y[threadIdx.x] = tex2DLayered<float>(t, p.x, p.y, (int)p.z);
}

__global__ void read_volume(cudaTextureObject_t t, const float4 *at, float *y)
{
    float4 p = at[threadIdx.x];
    y[threadIdx.x] = tex3D<float>(t, p.x, p.y, p.z);
}
} // namespace

/* ---- Memory and copies ---- */

static void test_memory_is_limited_and_nan(void **)
{
    size_t free_bytes = 0, total = 0;
    float *a = nullptr, *b = nullptr, *managed = nullptr;
    with("MEMORY", "1000");
    OK(cudaMalloc(&a, 600));
    for (float value : fetch(a, 150))
        assert_true(std::isnan(value));
    FAILS(cudaErrorMemoryAllocation, cudaMalloc(&b, 401));
    assert_null(b);
    FAILS(cudaErrorMemoryAllocation, cudaGetLastError());
    OK(cudaMemGetInfo(&free_bytes, &total));
    assert_int_equal(free_bytes, 400);
    assert_int_equal(total, 1000);
    OK(cudaMalloc(&b, 400));
    OK(cudaMallocManaged(&managed, 5000));
    OK(cudaFree(a));
    OK(cudaFree(b));
    OK(cudaFree(managed));
    OK(cudaFree(nullptr));
    OK(cudaMalloc(&a, 1000));
    OK(cudaFree(a));
    FAILS(cudaErrorInvalidValue, cudaFree(&total));
}

/* With AddressSanitizer, the host must not touch what belongs to the device. */
static void check_poisoned(const char *memory, size_t bytes)
{
#ifdef __SANITIZE_ADDRESS__
    for (size_t i = 0; i < bytes; i++)
        assert_true(__asan_address_is_poisoned(memory + i));
#endif
    (void)memory, (void)bytes;
}

static void test_device_memory_is_poisoned(void **)
{
    char *device = nullptr, *managed = nullptr, *pinned = nullptr;
    OK(cudaMalloc(&device, 13));
    check_poisoned(device, 13);
    OK(cudaMallocManaged(&managed, 13));
    OK(cudaMallocHost(&pinned, 13));
    OK(cudaMemset(device, 0, 13));
    OK(cudaDeviceSynchronize());
    check_poisoned(device, 13);
    memset(managed, 0, 13);
    memset(pinned, 0, 13);
    OK(cudaFree(device));
    OK(cudaFree(managed));
    OK(cudaFreeHost(pinned));
}

static void test_copy_kinds(void **)
{
    float host[4] = {1, 2, 3, 4}, back[4] = {0}, *pinned = nullptr;
    float *a = device_floats(4), *b = device_floats(4);
    OK(cudaMallocHost(&pinned, sizeof host));
    FAILS(cudaErrorInvalidValue, cudaMemcpy(a, host, 16, cudaMemcpyDeviceToHost));
    FAILS(cudaErrorInvalidValue, cudaMemcpy(host, a, 16, cudaMemcpyHostToDevice));
    FAILS(cudaErrorInvalidValue, cudaMemcpy(a, host, 16, cudaMemcpyDeviceToDevice));
    FAILS(cudaErrorInvalidValue, cudaMemcpy(back, host, 16, cudaMemcpyHostToDevice));
    FAILS(cudaErrorInvalidValue, cudaMemcpy(a, host, 17, cudaMemcpyHostToDevice));
    FAILS(cudaErrorInvalidValue, cudaMemcpy(a + 1, host, 16, cudaMemcpyDefault));
    FAILS(cudaErrorInvalidValue, cudaMemset(host, 0, 16));
    FAILS(cudaErrorInvalidValue, cudaFreeHost(a));
    OK(cudaMemcpy(a, host, 16, cudaMemcpyHostToDevice));
    OK(cudaMemcpy(b, a, 16, cudaMemcpyDeviceToDevice));
    OK(cudaMemset(b, 0, 4));
    OK(cudaMemcpy(pinned, b, 16, cudaMemcpyDeviceToHost));
    OK(cudaMemcpy(back, pinned, 16, cudaMemcpyHostToHost));
    assert_true(back[0] == 0 && back[1] == 2 && back[3] == 4);
    OK(cudaFreeHost(pinned));
    OK(cudaFree(a));
    OK(cudaFree(b));
}

static void test_copies_of_rows(void **)
{
    std::vector<float> host = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}; /* 3 x 4 */
    float *a = send(host), *b = device_floats(8);
    OK(cudaMemset(b, 0, 32));
    OK(cudaMemcpy2DAsync(b + 1, 12, a + 5, 16, 8, 2, cudaMemcpyDeviceToDevice));
    std::vector<float> got = fetch(b, 8);
    const float wanted[] = {0, 5, 6, 0, 9, 10, 0, 0};
    for (size_t i = 0; i < 8; i++)
        assert_true(got[i] == wanted[i]);
    FAILS(cudaErrorInvalidPitchValue,
          cudaMemcpy2DAsync(b, 4, a, 16, 8, 2, cudaMemcpyDeviceToDevice));
    FAILS(cudaErrorInvalidValue,
          cudaMemcpy2DAsync(b, 12, a, 16, 12, 3, cudaMemcpyDeviceToDevice));
    OK(cudaFree(a));
    OK(cudaFree(b));
}

static void test_managed_memory(void **)
{
    float *m = nullptr, *d = device_floats(2);
    cudaMemLocation here = {cudaMemLocationTypeDevice, 0};
    cudaMemLocation nowhere = {cudaMemLocationTypeDevice, 7};
    cudaStream_t stream = new_stream();
    OK(cudaMallocManaged(&m, 2 * sizeof(float)));
    m[0] = m[1] = 1.0F; /* the host may */
    OK(cudaMemAdvise(m, 8, cudaMemAdviseSetPreferredLocation, here));
    OK(cudaMemPrefetchAsync(m, 8, here, 0, stream));
    FAILS(cudaErrorInvalidDevice, cudaMemPrefetchAsync(m, 8, nowhere, 0, stream));
    FAILS(cudaErrorInvalidValue, cudaMemPrefetchAsync(m, 9, here, 0, stream));
    FAILS(cudaErrorInvalidValue, cudaMemPrefetchAsync(d, 8, here, 0, stream));
    TR_LAUNCH(add, 1, 2, 0, stream, m, 2, 1.0F);
    assert_true(m[0] == 1.0F); /* not waited for */
    OK(cudaStreamSynchronize(stream));
    assert_true(m[0] == 2.0F && m[1] == 2.0F);
    OK(cudaMemcpyAsync(d, m, 8, cudaMemcpyDefault, stream));
    OK(cudaStreamSynchronize(stream));
    assert_true(fetch(d, 2)[1] == 2.0F);
    OK(cudaFree(m));
    OK(cudaFree(d));
    OK(cudaStreamDestroy(stream));
}

/* ---- Textures ---- */

static cudaTextureObject_t new_texture(cudaArray_t array, cudaTextureFilterMode filter,
                                       cudaTextureAddressMode address)
{
    cudaResourceDesc resource = {};
    cudaTextureDesc description = {};
    cudaTextureObject_t texture = 0;
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    description.filterMode = filter;
    description.readMode = cudaReadModeElementType;
    description.addressMode[0] = description.addressMode[1] = address;
    description.addressMode[2] = address;
    OK(cudaCreateTextureObject(&texture, &resource, &description, nullptr));
    return texture;
}

/* 3 x 2 x 2 texels of value 100 z + 10 y + x. */
static cudaArray_t new_array(unsigned flags, cudaStream_t stream)
{
    cudaChannelFormatDesc channel = cudaCreateChannelDesc<float>();
    cudaArray_t array = nullptr;
    cudaMemcpy3DParms copy = {};
    std::vector<float> host;
    for (int i = 0; i < 16; i++) /* pitch of 4 */
        host.push_back((float)(i / 8 * 100 + i / 4 % 2 * 10 + i % 4));
    float *from = send(host);
    OK(cudaMalloc3DArray(&array, &channel, make_cudaExtent(3, 2, 2), flags));
    copy.srcPtr = make_cudaPitchedPtr(from, 16, 3, 2);
    copy.dstArray = array;
    copy.extent = make_cudaExtent(3, 2, 2);
    copy.kind = cudaMemcpyDeviceToDevice;
    OK(cudaMemcpy3DAsync(&copy, stream));
    copy.extent.depth = 3;
    FAILS(cudaErrorInvalidValue, cudaMemcpy3DAsync(&copy, stream));
    OK(cudaFree(from));
    return array;
}

static std::vector<float> look_up(bool layered, cudaTextureObject_t texture,
                                  const std::vector<float4> &at)
{
    float4 *positions = nullptr;
    float *y = device_floats(at.size());
    OK(cudaMalloc(&positions, at.size() * sizeof(float4)));
    OK(cudaMemcpy(positions, at.data(), at.size() * sizeof(float4),
                  cudaMemcpyHostToDevice));
    auto *kernel = layered ? read_layers : read_volume;
    TR_LAUNCH(kernel, 1, (unsigned)at.size(), 0, nullptr, texture, positions, y);
    std::vector<float> got = fetch(y, at.size());
    OK(cudaFree(positions));
    OK(cudaFree(y));
    return got;
}

static void check_texture(bool layered, cudaTextureObject_t texture,
                          const std::vector<float4> &at, const std::vector<float> &wanted)
{
    std::vector<float> got = look_up(layered, texture, at);
    for (size_t i = 0; i < at.size(); i++)
        assert_float_equal(got[i], wanted[i], 1e-5F);
    OK(cudaDestroyTextureObject(texture));
}

static void test_layered_textures(void **)
{
    cudaStream_t stream = new_stream();
    cudaArray_t array = new_array(cudaArrayLayered, stream);
    OK(cudaStreamSynchronize(stream));
    cudaTextureObject_t t =
        new_texture(array, cudaFilterModeLinear, cudaAddressModeClamp);
    /* Texel centres are at + 0.5; fractions are multiples of 1/256; y has 10 per texel.
     */
    check_texture(
        true, t,
        {make_float4(0.5F, 0.5F, 0, 0), make_float4(2.0F, 1.0F, 1, 0),
         make_float4(-5.0F, 9.0F, 7, 0), make_float4(0.5F + 1.0F / 512.1F, 0.5F, 0, 0),
         make_float4(0.5F + 1.0F / 511.9F, 0.5F, 0, 0), make_float4(1.4999F, 0.5F, 0, 0),
         make_float4(0.8F, 0.8F, 1, 0), make_float4(1e30F, NAN, -3, 0)},
        {0.0F, 106.5F, 110.0F, 0.0F, 1.0F / 256, 1.0F, 100.0F + 11.0F * 77 / 256, 2.0F});
    t = new_texture(array, cudaFilterModePoint, cudaAddressModeClamp);
    check_texture(true, t,
                  {make_float4(0.99F, 0.0F, 0, 0), make_float4(1.0F, 1.0F, 0, 0),
                   make_float4(-0.1F, 0, 1, 0)},
                  {0.0F, 11.0F, 100.0F});
    t = new_texture(array, cudaFilterModeLinear, cudaAddressModeBorder);
    check_texture(true, t,
                  {make_float4(0.0F, 0.5F, 1, 0), make_float4(3.25F, 0.5F, 1, 0),
                   make_float4(4.0F, 0.5F, 1, 0)},
                  {50.0F, 25.5F, 0.0F});
    OK(cudaFreeArray(array));
    OK(cudaStreamDestroy(stream));
}

static void test_volume_textures(void **)
{
    cudaArray_t array = new_array(cudaArrayDefault, nullptr);
    cudaTextureObject_t t =
        new_texture(array, cudaFilterModeLinear, cudaAddressModeClamp);
    check_texture(false, t,
                  {make_float4(1.5F, 1.5F, 1.5F, 0), make_float4(1.0F, 1.0F, 1.0F, 0),
                   make_float4(9.0F, -9.0F, 0.75F, 0)},
                  {111.0F, 55.5F, 27.0F});
    OK(cudaFreeArray(array));
}

/* ---- cuFFT ---- */

static float value_at(size_t line, size_t i)
{
    return (float)((line * 37 + i * i * 11) % 17) - 5.0F;
}

/* Three lines of 12 values, `stride` apart, against the sum that defines the transform.
 */
static void check_transform(int stride, int distance, bool in_place)
{
    const int n = 12, batch = 3, half = n / 2 + 1;
    int length = n, embed = 1, out_distance = in_place ? distance / 2 : half;
    std::vector<float> host((size_t)(batch * distance), 77.0F);
    for (int b = 0; b < batch; b++) {
        for (int i = 0; i < n; i++)
            host[(size_t)(b * distance + i * stride)] = value_at((size_t)b, (size_t)i);
    }
    float *x = send(host), *f = in_place ? x : device_floats(2 * 3 * 7);
    cufftComplex *spectrum = reinterpret_cast<cufftComplex *>(f);
    cufftHandle forward, inverse;
    cudaStream_t stream = new_stream();
    assert_int_equal(cufftPlanMany(&forward, 1, &length, &embed, stride, distance, &embed,
                                   1, out_distance, CUFFT_R2C, batch),
                     CUFFT_SUCCESS);
    assert_int_equal(cufftPlanMany(&inverse, 1, &length, &embed, 1, out_distance, &embed,
                                   stride, distance, CUFFT_C2R, batch),
                     CUFFT_SUCCESS);
    assert_int_equal(cufftSetStream(forward, stream), CUFFT_SUCCESS);
    assert_int_equal(cufftSetStream(inverse, stream), CUFFT_SUCCESS);
    assert_int_equal(cufftExecC2R(forward, spectrum, x), CUFFT_INVALID_PLAN);
    assert_int_equal(cufftExecR2C(forward, x, spectrum), CUFFT_SUCCESS);
    if (!in_place)
        assert_true(std::isnan(fetch(f, 1)[0])); /* queued */
    OK(cudaStreamSynchronize(stream));
    std::vector<float> got = fetch(f, (size_t)(2 * ((batch - 1) * out_distance + half)));
    for (int b = 0; b < batch; b++) {
        for (int k = 0; k < half; k++) {
            double re = 0, im = 0;
            for (int i = 0; i < n; i++) {
                double angle = -2 * M_PI * i * k / n;
                re += value_at((size_t)b, (size_t)i) * cos(angle);
                im += value_at((size_t)b, (size_t)i) * sin(angle);
            }
            size_t at = (size_t)(2 * (b * out_distance + k));
            assert_float_equal(got[at], (float)re, 1e-4F);
            assert_float_equal(got[at + 1], (float)im, 1e-4F);
        }
    }
    assert_int_equal(cufftExecC2R(inverse, spectrum, x), CUFFT_SUCCESS);
    OK(cudaStreamSynchronize(stream));
    got = fetch(x, host.size());
    for (int b = 0; b < batch; b++) {
        for (int i = 0; i < n; i++)
            assert_float_equal(got[(size_t)(b * distance + i * stride)],
                               (float)n * value_at((size_t)b, (size_t)i), 1e-4F);
    }
    assert_int_equal(cufftDestroy(forward), CUFFT_SUCCESS);
    assert_int_equal(cufftDestroy(inverse), CUFFT_SUCCESS);
    assert_int_equal(cufftDestroy(inverse), CUFFT_INVALID_PLAN);
    OK(cudaStreamDestroy(stream));
    OK(cudaFree(x));
    if (!in_place)
        OK(cudaFree(f));
}

static void test_transforms(void **)
{
    check_transform(1, 12, false);
    check_transform(1, 14, true);
    check_transform(3, 36, false);
}

/* ---- Failures ---- */

static void test_errors_to_order(void **)
{
    float *a = nullptr, *b = nullptr, value = 0;
    cudaStream_t stream = nullptr;
    with("FAIL", "cudaMalloc:2,launch:2,cufftPlanMany:1");
    OK(cudaMalloc(&a, 4));
    FAILS(cudaErrorMemoryAllocation, cudaMalloc(&b, 4));
    FAILS(cudaErrorMemoryAllocation, cudaGetLastError());
    OK(cudaGetLastError());
    OK(cudaMalloc(&b, 4));
    OK(cudaStreamCreate(&stream));
    TR_LAUNCH(add, 1, 1, 0, stream, a, 1, 1.0F);
    OK(cudaGetLastError());
    TR_LAUNCH(add, 1, 1, 0, stream, a, 1, 1.0F);
    FAILS(cudaErrorLaunchFailure, cudaGetLastError());
    FAILS(cudaErrorLaunchFailure, cudaGetLastError()); /* for good */
    FAILS(cudaErrorLaunchFailure, cudaMemcpy(&value, a, 4, cudaMemcpyDeviceToHost));
    FAILS(cudaErrorLaunchFailure, cudaStreamSynchronize(stream));
    FAILS(cudaErrorLaunchFailure, cudaStreamDestroy(stream));
    FAILS(cudaErrorLaunchFailure, cudaFree(a));
    FAILS(cudaErrorLaunchFailure, cudaFree(b));
    assert_int_equal(cudaemu::allocated(), 0);
    assert_string_equal(cudaGetErrorString(cudaErrorLaunchFailure),
                        "unspecified launch failure");
    assert_string_equal(cudaGetErrorName(cudaErrorNoDevice), "cudaErrorNoDevice");
}

static void test_a_kernel_fails_later(void **)
{
    with("FAIL", "kernel:1");
    float *y = device_floats(1);
    TR_LAUNCH(add, 1, 1, 0, nullptr, y, 1, 1.0F);
    OK(cudaGetLastError());
    FAILS(cudaErrorLaunchFailure, cudaDeviceSynchronize());
    FAILS(cudaErrorLaunchFailure, cudaFree(y));
}

static void test_transforms_run_out_of_memory(void **)
{
    cufftHandle plan;
    size_t free_bytes = 0, total = 0;
    with("MEMORY", "1000");
    assert_int_equal(cufftPlan1d(&plan, 100, CUFFT_R2C, 100), CUFFT_ALLOC_FAILED);
    OK(cudaMemGetInfo(&free_bytes, &total));
    assert_int_equal(free_bytes, 1000);
    with("FAIL", "cufftPlanMany:1,cufftExecR2C:1");
    assert_int_equal(cufftPlan1d(&plan, 10, CUFFT_R2C, 2), CUFFT_ALLOC_FAILED);
    assert_int_equal(cufftPlan1d(&plan, 10, CUFFT_R2C, 2), CUFFT_SUCCESS);
    assert_int_equal(cufftExecR2C(plan, nullptr, nullptr), CUFFT_EXEC_FAILED);
    assert_int_equal(cufftDestroy(plan), CUFFT_SUCCESS);
}

static void test_devices(void **)
{
    int n = -1;
    float *y = nullptr;
    cudaDeviceProp properties;
    OK(cudaGetDeviceProperties(&properties, 0));
    assert_string_equal(properties.name, "Emulated device");
    with("DEVICES", "0");
    FAILS(cudaErrorNoDevice, cudaGetDeviceCount(&n));
    assert_int_equal(n, 0);
    FAILS(cudaErrorNoDevice, cudaMalloc(&y, 4));
    with("DEVICES", "2");
    OK(cudaGetDeviceCount(&n));
    assert_int_equal(n, 2);
    FAILS(cudaErrorInvalidDevice, cudaSetDevice(2));
    FAILS(cudaErrorInvalidDevice, cudaGetLastError());
    OK(cudaSetDevice(1));
    y = device_floats(1);
    cudaStream_t stream = new_stream();
    TR_LAUNCH(add, 1, 1, 0, stream, y, 1, 1.0F);
    OK(cudaGetLastError());
    OK(cudaSetDevice(0));
    TR_LAUNCH(add, 1, 1, 0, stream, y, 1, 1.0F); /* of the other device */
    FAILS(cudaErrorInvalidResourceHandle, cudaGetLastError());
    OK(cudaStreamDestroy(stream));
    OK(cudaFree(y));
}

/* ---- Memory of other processes ---- */

/* In a child: whether it can open the memory and add 2 to all of its values. */
static bool add_there(cudaIpcMemHandle_t handle, size_t n)
{
    void *memory = nullptr;
    if (cudaIpcOpenMemHandle(&memory, handle, cudaIpcMemLazyEnablePeerAccess) !=
        cudaSuccess)
        return false;
    TR_LAUNCH(add, (unsigned)(n / 256), 256, 0, nullptr, (float *)memory, n, 2.0F);
    return cudaDeviceSynchronize() == cudaSuccess &&
           cudaFree(memory) == cudaErrorInvalidValue && /* not ours */
           cudaIpcCloseMemHandle(memory) == cudaSuccess &&
           cudaIpcCloseMemHandle(memory) == cudaErrorInvalidValue;
}

static bool in_a_child(cudaIpcMemHandle_t handle, size_t n)
{
    int how = 1;
    pid_t child = fork();
    if (child == 0)
        _exit(add_there(handle, n) ? 0 : 1);
    assert_int_equal(waitpid(child, &how, 0), child);
    return how == 0;
}

static void test_memory_of_another_process(void **)
{
    const size_t n = (size_t)1 << 19; /* 2 MiB */
    void *own = nullptr;
    cudaIpcMemHandle_t handle;
    float *y = device_floats(n), *small = device_floats(n - 1);
    OK(cudaMemset(y, 0, n * sizeof *y));
    FAILS(cudaErrorInvalidValue, cudaIpcGetMemHandle(&handle, small));
    FAILS(cudaErrorInvalidValue, cudaIpcGetMemHandle(&handle, y + 1));
    TR_LAUNCH(add, n / 256, 256, 0, nullptr, y, n, 1.0F);
    OK(cudaIpcGetMemHandle(&handle, y)); /* what is queued goes on there */
    OK(cudaDeviceSynchronize());
    FAILS(cudaErrorInvalidValue,
          cudaIpcOpenMemHandle(&own, handle, cudaIpcMemLazyEnablePeerAccess));
    assert_true(in_a_child(handle, n));
    assert_true(in_a_child(handle, n));
    TR_LAUNCH(add, n / 256, 256, 0, nullptr, y, n, 0.5F);
    std::vector<float> values = fetch(y, n);
    for (size_t i : {(size_t)0, n / 3, n - 1})
        assert_true(values[i] == 5.5F);
    OK(cudaFree(y));
    OK(cudaFree(small));
    assert_false(in_a_child(handle, n));
}

static void test_no_memory_of_another_process(void **)
{
    const size_t n = (size_t)1 << 19;
    int can = -1, device = -1;
    cudaIpcMemHandle_t handle;
    float *y = device_floats(n);
    with("DEVICES", "2");
    OK(cudaDeviceGetByPCIBusId(&device, "00000000:01:00.0"));
    assert_int_equal(device, 1);
    FAILS(cudaErrorInvalidValue, cudaDeviceGetByPCIBusId(&device, "00000000:02:00.0"));
    OK(cudaDeviceCanAccessPeer(&can, 0, 1));
    assert_int_equal(can, 1);
    with("IPC", "access");
    OK(cudaDeviceCanAccessPeer(&can, 0, 1));
    assert_int_equal(can, 0);
    with("IPC", "handle");
    FAILS(cudaErrorNotSupported, cudaIpcGetMemHandle(&handle, y));
    with("IPC", "open");
    OK(cudaIpcGetMemHandle(&handle, y));
    assert_false(in_a_child(handle, n));
    OK(cudaFree(y));
}

int main()
{
#define TEST(name) cmocka_unit_test_teardown(name, clean)
    const struct CMUnitTest tests[] = {
        TEST(test_memory_is_limited_and_nan),
        TEST(test_device_memory_is_poisoned),
        TEST(test_copy_kinds),
        TEST(test_copies_of_rows),
        TEST(test_managed_memory),
        TEST(test_layered_textures),
        TEST(test_volume_textures),
        TEST(test_transforms),
        TEST(test_errors_to_order),
        TEST(test_a_kernel_fails_later),
        TEST(test_transforms_run_out_of_memory),
        TEST(test_devices),
        TEST(test_memory_of_another_process),
        TEST(test_no_memory_of_another_process),
    };
#undef TEST
    return cmocka_run_group_tests_name("cudaemu memory", tests, nullptr, nullptr);
}
