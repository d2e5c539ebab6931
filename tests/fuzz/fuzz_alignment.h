/* What the targets of alignment files share. The first three bytes are the columns, rows
 * and views of the series. */
#ifndef TR_FUZZ_ALIGNMENT_H
#define TR_FUZZ_ALIGNMENT_H

#include <math.h>

#include "formats/alignment.h"
#include "fuzz.h"

typedef tr_status fuzz_alignment_reader(const char *path, const tr_aligned_series *series,
                                        tr_alignment *alignment);

static inline int fuzz_alignment(fuzz_alignment_reader *read, const uint8_t *data,
                                 size_t size)
{
    if (size < 3 || !data[0] || !data[1] || !data[2])
        return -1;
    const tr_aligned_series series = {.path = "dir/TS_1.mrc",
                                      .nx = data[0],
                                      .ny = data[1],
                                      .nz = data[2],
                                      .pixel = 2.5};
    fuzz_file file = fuzz_file_make(data + 3, size - 3);
    tr_alignment a = {0};
    (void)tr_alignment_format_of(file.path, 0);
    tr_status status = read(file.path, &series, &a);
    fuzz_check_status(status);
    FUZZ_REQUIRE(status != TR_OK || (a.n_views == series.nz && a.n_used > 0));
    for (size_t k = 0; status == TR_OK && k < a.n_views; k++) {
        if (!a.used[k])
            continue;
        FUZZ_REQUIRE(fabs(a.tilt[k]) <= 360 && (!a.xtilt || fabs(a.xtilt[k]) <= 360));
        const tr_transform *t = a.transforms ? &a.transforms[k] : NULL;
        double area = t ? t->a11 * t->a22 - t->a12 * t->a21 : 1.0;
        FUZZ_REQUIRE(area > 0.05 && area < 20.0); /* RELION 4 may stretch */
    }
    for (size_t k = 0; status == TR_OK && k < a.n_local; k++) {
        FUZZ_REQUIRE(a.local[k].view < a.n_views && a.used[a.local[k].view]);
        FUZZ_REQUIRE(k == 0 || a.local[k - 1].view <= a.local[k].view);
    }
    tr_alignment_free(&a);
    fuzz_file_remove(&file);
    return 0;
}

#endif
