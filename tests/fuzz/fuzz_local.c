/* IMOD's local alignments and z-factors. The first byte is the number of views; of odd
 * numbers it is a file of z-factors. */
#include <math.h>
#include <stdlib.h>

#include "formats/local_imod.h"
#include "fuzz.h"

static void check_local(const tr_local_file *f, size_t n_views)
{
    FUZZ_REQUIRE(f->n_views == n_views && f->n_x >= 2 && f->n_y >= 2);
    FUZZ_REQUIRE(f->step_x >= 1.0 && f->step_y >= 1.0 && f->pixel >= 0.0);
    for (size_t k = 0; k < f->n_x * f->n_y * n_views; k++) {
        const tr_local_patch *p = &f->patch[k];
        FUZZ_REQUIRE(fabs(p->del_beta) <= 360.0 && fabs(p->del_alpha) <= 360.0);
        FUZZ_REQUIRE(fabs(p->xz) <= 10.0 && fabs(p->yz) <= 10.0);
        FUZZ_REQUIRE(p->xf.a11 * p->xf.a22 != p->xf.a12 * p->xf.a21);
        FUZZ_REQUIRE(isfinite(p->xf.dx) && isfinite(p->xf.dy));
    }
}

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    if (size < 1 || !data[0])
        return -1;
    size_t n_views = data[0];
    fuzz_file file = fuzz_file_make(data + 1, size - 1);
    tr_local_file local;
    double factors[UINT8_MAX][2];
    tr_status status = n_views % 2 ? tr_zfactors_read(file.path, n_views, factors)
                                   : tr_local_file_read(file.path, n_views, &local);
    fuzz_check_status(status);
    for (size_t k = 0; status == TR_OK && n_views % 2 && k < n_views; k++)
        FUZZ_REQUIRE(fabs(factors[k][0]) <= 10.0 && fabs(factors[k][1]) <= 10.0);
    if (status == TR_OK && n_views % 2 == 0) {
        check_local(&local, n_views);
        tr_local_file_free(&local);
    }
    fuzz_file_remove(&file);
    return 0;
}
