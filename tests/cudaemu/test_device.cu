/* The CUDA backend's device: what it says where it cannot be had, who else uses it, and
 * how its memory is shared out. */
#include <cstring>

#include "cudaemu.h"
#include "test_cudaemu.h"

#include "kernels/backend.h"

namespace
{
const size_t mib = (size_t)1 << 20;

struct opened {
    const tr_backend *backend;
    void *device;
};

tr_status try_open(bool wait_asleep, opened *o)
{
    tr_backend_settings settings = {};
    settings.threads = 1;
    settings.wait_asleep = wait_asleep;
    o->backend = tr_backend_find("cuda");
    assert_non_null(o->backend);
    return o->backend->open(&settings, &o->device);
}

opened open_device()
{
    opened o;
    if (try_open(false, &o) != TR_OK)
        fail_msg("%s", tr_error());
    return o;
}

void close_device(opened *o) { o->backend->close(o->device); }

size_t available(const opened *o)
{
    size_t bytes;
    assert_int_equal(o->backend->available(o->device, &bytes), TR_OK);
    return bytes;
}

float *allocate(const opened *o, size_t bytes)
{
    float *data;
    assert_int_equal(o->backend->alloc(o->device, bytes / sizeof *data, &data), TR_OK);
    return data;
}

/* ---- what cannot be had ---- */

struct refusal {
    const char *name, *value;
    tr_status status;
    const char *words[3];
};

const refusal refusals[] = {
    {"DEVICES",
     "0",
     TR_ERR_UNAVAILABLE,
     {"no CUDA device is present", "tiltrec-mpi", ""}},
    {"DRIVER", "0", TR_ERR_UNAVAILABLE, {"no CUDA device is present", "no driver", ""}},
    {"DRIVER",
     "11040",
     TR_ERR_UNAVAILABLE,
     {"is for CUDA 11.4,", "CUDA 13.0:", "driver"}},
    /* Another program has it for itself, which cudaSetDevice or the first call tells. */
    {"FAIL", "cudaSetDevice:1=46", TR_ERR_UNAVAILABLE, {"device 0", "busy", "--device"}},
    {"FAIL", "cudaFree:1=46", TR_ERR_UNAVAILABLE, {"device 0", "busy", "nvidia-smi"}},
    {"CAPABILITY",
     "7.0",
     TR_ERR_UNAVAILABLE,
     {"(Emulated device) has compute capability 7.0", "=70", "no kernel image"}},
    {"FAIL", "cudaFuncGetAttributes:1=222", TR_ERR_UNAVAILABLE, {"9.0", "PTX", "=90"}},
    {"FAIL", "cudaFree:1=2", TR_ERR_MEMORY, {"the GPU could not start", "memory", ""}},
    {"FAIL", "cudaGetDeviceProperties:1", TR_ERR_DATA, {"the GPU could not", "", ""}},
};

void test_refusals(void **)
{
    for (const refusal &r : refusals) {
        opened o;
        with(r.name, r.value);
        if (try_open(true, &o) != r.status)
            fail_msg("%s=%s: %s", r.name, r.value, tr_error());
        for (const char *word : r.words)
            if (!strstr(tr_error(), word))
                fail_msg("%s=%s: %s lacks %s", r.name, r.value, tr_error(), word);
        unsetenv((std::string("CUDAEMU_") + r.name).c_str());
        cudaemu::restart();
    }
}

/* A kernel that cannot be loaded shows when it is launched. */
void test_refused_later(void **)
{
    opened o = open_device();
    tr_vec v = {allocate(&o, 64), 1, 16};
    with("FAIL", "launch:1=209,launch:2=700");
    assert_int_equal(o.backend->fill(o.device, &v, 1.0f), TR_ERR_UNAVAILABLE);
    assert_int_equal(o.backend->fill(o.device, &v, 1.0f), TR_ERR_DATA);
    assert_int_equal(o.backend->fill(o.device, &v, 1.0f), TR_OK);
    close_device(&o);
}

/* ---- who else uses it ---- */

void test_waits(void **)
{
    for (bool asleep : {true, false}) {
        opened o;
        unsigned flags;
        cudaemu::restart();
        assert_int_equal(try_open(asleep, &o), TR_OK);
        OK(cudaGetDeviceFlags(&flags));
        assert_int_equal(flags, asleep ? cudaDeviceScheduleBlockingSync : 0);
        close_device(&o);
    }
}

void identity(int first, const char *list, unsigned char id[TR_DEVICE_ID])
{
    opened o;
    tr_backend_settings settings = {};
    settings.devices = list;
    with("FIRST", std::to_string(first).c_str());
    o.backend = tr_backend_find("cuda");
    assert_int_equal(o.backend->open(&settings, &o.device), TR_OK);
    assert_int_equal(o.backend->identity(o.device, id), TR_OK);
    close_device(&o);
}

/* By which number a process knows it says nothing. */
void test_identity(void **)
{
    unsigned char a[TR_DEVICE_ID], b[TR_DEVICE_ID], c[TR_DEVICE_ID];
    with("DEVICES", "2");
    identity(0, "0", a);
    identity(0, "1", b);
    identity(1, "0", c);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_equal(b, c, sizeof b);
}

/* What is available does not depend on how far the other processes have got. */
void test_share(void **)
{
    const size_t total = 4000 * mib, margin = 256 * mib, taken = 10 * mib;
    with("MEMORY", std::to_string(total).c_str());
    opened o = open_device();
    assert_int_equal(available(&o), total - margin);
    assert_true(cudaemu::reserve(0, 400 * mib)); /* by others, from the beginning */
    assert_int_equal(o.backend->divide(o.device, 4), TR_OK);
    const size_t share = (total - 400 * mib) / 4 - margin;
    assert_non_null(strstr(o.backend->describe(o.device), "shared by 4 processes"));
    assert_int_equal(available(&o), share);
    float *vector = allocate(&o, taken);
    assert_int_equal(available(&o), share - taken);
    assert_true(cudaemu::reserve(0, 500 * mib)); /* another one's vectors */
    assert_int_equal(available(&o), share - taken);
    o.backend->free(o.device, vector);
    assert_int_equal(available(&o), share);
    assert_true(cudaemu::reserve(0, 2800 * mib)); /* more than the others were to take */
    assert_int_equal(available(&o), 300 * mib - margin);
    cudaemu::unreserve(0, 3700 * mib);
    close_device(&o);
}

/* ---- calls ---- */

/* Only what fits is brought to the device. */
void test_prefetching(void **)
{
    enum { VECTORS = 4 };
    with("MEMORY", std::to_string(300 * mib).c_str());
    opened o = open_device();
    float *vectors[VECTORS];
    assert_int_equal(available(&o), 44 * mib);
    assert_int_equal(o.backend->reserve(o.device, VECTORS * 20 * mib), TR_OK);
    for (float *&vector : vectors)
        vector = allocate(&o, 20 * mib);
    assert_int_equal(cudaemu::prefetched(), 40 * mib);
    o.backend->free(o.device, vectors[0]);
    vectors[0] = allocate(&o, 20 * mib);
    assert_int_equal(cudaemu::prefetched(), 40 * mib);
    close_device(&o);
}

long clear_calls(const opened *o, const tr_slab *slab, const tr_subset *views)
{
    tr_vec x = {allocate(o, 8 * 4 * 16 * sizeof(float)), 8 * 4, 16};
    tr_vec p = {allocate(o, tr_projection_lines(slab) * 16 * sizeof(float)),
                tr_projection_lines(slab), 16};
    assert_int_equal(o->backend->fill(o->device, &x, 1.0f), TR_OK);
    long before = cudaemu::calls("cudaMemsetAsync");
    assert_int_equal(o->backend->project(o->device, slab, views, &x, &p), TR_OK);
    long calls = cudaemu::calls("cudaMemsetAsync") - before;
    o->backend->free(o->device, x.data);
    o->backend->free(o->device, p.data);
    return calls;
}

/* Neighbouring views are cleared together. */
void test_clearing(void **)
{
    const tr_ray straight = {0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0};
    const tr_ray rays[] = {straight, straight, straight, straight, straight, straight};
    const size_t some[] = {0, 1, 3, 5, 4};
    tr_slab slab = {};
    slab.n_views = 6;
    slab.n_u = slab.n_x = 8;
    slab.n_z = 4;
    slab.rows = slab.p_rows = 16;
    slab.rays = rays;
    const tr_subset subset = {5, some};
    opened o = open_device();
    assert_int_equal(clear_calls(&o, &slab, nullptr), 1);
    assert_int_equal(clear_calls(&o, &slab, &subset), 4);
    close_device(&o);
}
} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_refusals, clean),
        cmocka_unit_test_teardown(test_refused_later, clean),
        cmocka_unit_test_teardown(test_waits, clean),
        cmocka_unit_test_teardown(test_identity, clean),
        cmocka_unit_test_teardown(test_share, clean),
        cmocka_unit_test_teardown(test_prefetching, clean),
        cmocka_unit_test_teardown(test_clearing, clean),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
