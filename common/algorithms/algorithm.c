#include "common/algorithms/algorithm.h"

#include <string.h>
#include <strings.h>

#define TR_ALGORITHM(name) extern const tr_algorithm name;
#include "common/algorithms/algorithm_list.h"
#undef TR_ALGORITHM

const tr_algorithm *tr_algorithm_at(size_t k)
{
#define TR_ALGORITHM(name) &name,
    static const tr_algorithm *const list[] = {
#include "common/algorithms/algorithm_list.h"
    };
#undef TR_ALGORITHM
    return k < sizeof list / sizeof *list ? list[k] : NULL;
}

const tr_algorithm *tr_algorithm_find(const char *name)
{
    const tr_algorithm *a;
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        if (strcasecmp(a->name, name) == 0)
            return a;
    return NULL;
}

void *tr_algorithm_option(const tr_algorithm *algorithm, void *params, const char *name)
{
    for (size_t k = 0; k < algorithm->n_options; k++)
        if (strcmp(algorithm->options[k].name, name) == 0)
            return (char *)params + algorithm->options[k].offset;
    return NULL;
}

long *tr_algorithm_iterations(const tr_algorithm *algorithm, void *params)
{
    return tr_algorithm_option(algorithm, params, "iterations");
}

tr_status tr_algorithm_run(const tr_algorithm *algorithm, tr_context *c,
                           const void *params, tr_vec *b, tr_vec *x)
{
    size_t volumes, projections;
    tr_algorithm_workspace(algorithm, params, &volumes, &projections);
    tr_status status = algorithm->run(c, params, b, x);
    TR_ASSERT(c->n_volumes <= volumes && c->n_projections <= projections);
    return status;
}
