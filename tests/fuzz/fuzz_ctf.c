/* The files with the CTF of views: whichever format knows the bytes reads them. The first
 * byte is the number of views. */
#include <math.h>

#include "formats/ctf_file.h"
#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    double tilts[256];
    if (size < 1 || !data[0])
        return -1;
    for (size_t k = 0; k < 256; k++)
        tilts[k] = -20.0 + 10.0 * (double)k;
    const tr_ctf_series series = {"dir/TS_1.mrc", NULL, data[0], tilts, 2.5};
    fuzz_file file = fuzz_file_make(data + 1, size - 1);
    tr_ctf_table t;
    tr_status status = tr_ctf_read(file.path, &series, &t);
    fuzz_check_status(status);
    FUZZ_REQUIRE(status != TR_OK || t.n == series.nz);
    for (size_t k = 0; status == TR_OK && k < t.n; k++) {
        const tr_ctf *c = &t.view[k];
        FUZZ_REQUIRE(isnan(c->defocus_1) ||
                     (fabs(c->defocus_1) < 1e7 && fabs(c->defocus_2) < 1e7 &&
                      fabs(c->axis) <= 720.0 && fabs(c->phase) <= 720.0));
    }
    if (status == TR_OK)
        tr_ctf_table_free(&t);
    fuzz_file_remove(&file);
    return 0;
}
