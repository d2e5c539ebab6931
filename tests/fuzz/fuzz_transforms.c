/* Transforms (.xf). The first byte is the number of views. */
#include <math.h>
#include <stdlib.h>

#include "formats/tilt_angles.h"
#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] == 0)
        return -1;
    size_t n = data[0];
    fuzz_file file = fuzz_file_make(data + 1, size - 1);
    tr_transform *transforms = malloc(n * sizeof *transforms);
    FUZZ_REQUIRE(transforms);
    tr_status status = tr_transforms_read(file.path, n, transforms);
    fuzz_check_status(status);
    for (size_t k = 0; status == TR_OK && k < n; k++) {
        const tr_transform *t = &transforms[k];
        double determinant = t->a11 * t->a22 - t->a12 * t->a21;
        FUZZ_REQUIRE(isfinite(determinant) && fabs(determinant) >= 1e-6);
        FUZZ_REQUIRE(isfinite(t->dx) && isfinite(t->dy));
    }
    free(transforms);
    fuzz_file_remove(&file);
    return 0;
}
