/* Angles as numbers in any number of columns, or from an mdoc. The first byte is the
 * number of views. */
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
    double *angles = malloc(n * sizeof *angles);
    FUZZ_REQUIRE(angles);
    tr_status status = tr_angles_read(file.path, n, angles);
    fuzz_check_status(status);
    for (size_t k = 0; status == TR_OK && k < n; k++)
        FUZZ_REQUIRE(fabs(angles[k]) <= 360);
    free(angles);
    fuzz_file_remove(&file);
    return 0;
}
