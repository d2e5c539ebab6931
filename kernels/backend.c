#include "kernels/backend.h"

#include <string.h>

#define TR_BACKEND(backend) extern const tr_backend backend;
#define TR_BACKEND_IF_LINKED(backend)                                                    \
    extern const tr_backend backend __attribute__((weak, visibility("hidden")));
#include "kernels/backend_list.h"
#undef TR_BACKEND
#undef TR_BACKEND_IF_LINKED

const tr_backend *tr_backend_find(const char *name)
{
#define TR_BACKEND(backend) &backend,
#define TR_BACKEND_IF_LINKED(backend) &backend,
    static const tr_backend *const list[] = {
#include "kernels/backend_list.h"
    };
#undef TR_BACKEND
#undef TR_BACKEND_IF_LINKED
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i] && strcmp(list[i]->name, name) == 0)
            return list[i];
    return NULL;
}

tr_status tr_project_host(const tr_backend *backend, void *state, const tr_slab *slab,
                          float *volume, float *projections)
{
    tr_vec x = {volume, tr_volume_lines(slab), slab->rows};
    tr_vec p = {projections, tr_projection_lines(slab), slab->p_rows};
    tr_status status = TR_OK;
    if (backend->separate_memory) {
        x.data = p.data = NULL;
        status = backend->alloc(state, x.lines * x.rows, &x.data);
        if (status == TR_OK)
            status = backend->alloc(state, p.lines * p.rows, &p.data);
        if (status == TR_OK)
            status = backend->upload(state, volume, x.data, x.lines * x.rows);
    }
    if (status == TR_OK)
        status = backend->project(state, slab, NULL, &x, &p);
    if (status == TR_OK)
        status = backend->wait(state);
    if (backend->separate_memory) {
        if (status == TR_OK)
            status = backend->download(state, p.data, projections, p.lines * p.rows);
        backend->free(state, x.data);
        backend->free(state, p.data);
    }
    return status;
}

size_t tr_fft_length(size_t n)
{
    for (size_t length = n + n % 2;; length += 2) {
        size_t rest = length;
        for (size_t prime = 2; prime <= 7; prime++)
            while (rest > 1 && rest % prime == 0)
                rest /= prime;
        if (rest <= 1 && length >= 2)
            return length;
    }
}
