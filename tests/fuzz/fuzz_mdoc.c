/* SerialEM's mdoc. */
#include <math.h>

#include "formats/tilt_angles.h"
#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    fuzz_file file = fuzz_file_make(data, size);
    tr_mdoc mdoc;
    (void)tr_mdoc_probe(file.path);
    tr_status status = tr_mdoc_read(file.path, &mdoc);
    fuzz_check_status(status);
    FUZZ_REQUIRE((status == TR_OK) == (mdoc.n_views > 0));
    for (size_t k = 0; k < mdoc.n_views; k++) {
        FUZZ_REQUIRE(isnan(mdoc.tilt[k]) || fabs(mdoc.tilt[k]) <= 360);
        FUZZ_REQUIRE(!isinf(mdoc.dose[k]) && !isinf(mdoc.prior_dose[k]));
    }
    FUZZ_REQUIRE(!isinf(mdoc.pixel) && !isinf(mdoc.tilt_axis_angle));
    tr_mdoc_free(&mdoc);
    fuzz_file_remove(&file);
    return 0;
}
