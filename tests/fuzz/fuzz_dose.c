/* Exposures as IMOD's texts and Warp's .tomostar. The first byte is the number of views,
 * the second the kind of text. */
#include <math.h>
#include <stdlib.h>

#include "formats/dose_file.h"
#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    if (size < 2 || data[0] == 0 || data[1] > TR_DOSE_PRIOR_AND_END)
        return -1;
    size_t n = data[0];
    fuzz_file file = fuzz_file_make(data + 2, size - 2);
    double *exposure = malloc(2 * n * sizeof *exposure);
    FUZZ_REQUIRE(exposure);
    tr_dose_type type = (tr_dose_type)data[1];
    tr_status status = tr_dose_text_read(file.path, n, &type, exposure, exposure + n);
    fuzz_check_status(status);
    for (size_t k = 0; status == TR_OK && k < n; k++)
        FUZZ_REQUIRE(exposure[k] > 0 && isfinite(exposure[k]) &&
                     isnan(exposure[n + k]) == (type == TR_DOSE_OF_VIEW));
    free(exposure);
    tr_tomostar t;
    (void)tr_tomostar_probe(file.path);
    status = tr_tomostar_read(file.path, &t);
    fuzz_check_status(status);
    for (size_t k = 0; k < t.n; k++)
        FUZZ_REQUIRE(isfinite(t.tilt[k]) && t.dose[k] >= 0);
    tr_tomostar_free(&t);
    fuzz_file_remove(&file);
    return 0;
}
