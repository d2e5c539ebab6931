/* What the tests of what lies outside the field share: a loop over cases, and where its
 * cells are. */
#ifndef TR_OUTER_FIXTURE_H
#define TR_OUTER_FIXTURE_H

#include "kernels/outer_body.h"
#include "backend_fixture.h"
#include "operator_reference.h"

enum { MOST_VIEWS = 16 };

/* Case k, with its rays into rays[MOST_VIEWS]; its name. NULL past the last one. */
typedef const char *slab_maker(size_t k, tr_ray *rays, tr_slab *s);
typedef void slab_check(const fixture *f, const tr_slab *s, const char *name);

/* Every case on every variant of the backend that interpolates in full precision. */
static inline void for_all_slabs(slab_maker *make, slab_check *check)
{
    for (int i = 0; i < N_VARIANTS; i++) {
        fixture f;
        if (!open_variant(&f, i, 2))
            continue;
        tr_ray rays[MOST_VIEWS];
        tr_slab s;
        const char *label;
        for (size_t k = 0; f.exact && (label = make(k, rays, &s)); k++) {
            char name[100];
            snprintf(name, sizeof name, "%s, %s", f.name, label);
            check(&f, &s, name);
        }
        close_backend(&f);
    }
}

/* Of a cell on the positive side; it begins where the one before it ends. */
TR_REFERENCE static inline double cell_width(size_t cell)
{
    return ldexp(4.0, (int)(cell / 4));
}

TR_REFERENCE static inline double cell_begin(size_t cell)
{
    double at = 0.0;
    for (size_t k = 0; k < cell; k++)
        at += cell_width(k);
    return at;
}

/* The line of the cell that holds voxel position x, outside the core, of a plane. */
TR_REFERENCE static inline size_t line_outside(const tr_slab *s, size_t iz, double x)
{
    double beyond = x < 0.0 ? -0.5 - x : x - ((double)s->n_x - 0.5);
    size_t k = 0;
    for (double end = cell_width(0); k + 1 < s->outer && end <= beyond;)
        end += cell_width(++k);
    return tr_line_at(s, iz, x < 0.0 ? s->outer - 1 - k : s->outer + s->n_x + k);
}

#endif
