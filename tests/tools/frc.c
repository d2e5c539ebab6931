/* Prints the Fourier ring correlation of two volumes, so that tests can compare it with
 * an independent one: frc EVEN ODD [xyz]
 * A line "plane frequency correlation samples" for each ring, and for each threshold
 * "plane threshold text crossing". */
#include <stdio.h>
#include <string.h>

#include "common/tomogram/frc.h"

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: frc EVEN ODD [xyz]\n");
        return TR_ERR_USAGE;
    }
    const tr_frc_spec spec = {.even = argv[1],
                              .odd = argv[2],
                              .xyz = argc == 4 && strcmp(argv[3], "xyz") == 0,
                              .pixel = 4.0,
                              .threads = 2,
                              .memory = 1 << 28};
    tr_frc frc;
    tr_status status = tr_frc_of_files(&spec, &frc);
    if (status != TR_OK) {
        fprintf(stderr, "%s\n", tr_error());
        return (int)status;
    }
    for (size_t c = 0; c < frc.n_curves; c++) {
        const tr_frc_curve *curve = &frc.curve[c];
        for (size_t k = 0; k < curve->n; k++)
            printf("%s %.17g %.17g %.17g\n", curve->plane, curve->frequency[k],
                   curve->correlation[k], curve->samples[k]);
        for (size_t t = 0; t < TR_FRC_THRESHOLDS; t++) {
            char text[64];
            tr_frc_crossing_text(&frc, curve, t, text, sizeof text);
            printf("%s crossing %g %.17g %s\n", curve->plane, tr_frc_thresholds[t],
                   curve->crossing[t], text);
        }
    }
    tr_frc_free(&frc);
    return 0;
}
