/* Writes a volume the way the programs do: create, samples straight to their offsets in
 * any order, finish.
 * imagewrite RAW OUT TYPE NX NY NZ PIXEL OX OY OZ DEFLATE [LABEL ...]
 * RAW holds nx * ny * nz float32 samples; OUT's extension chooses the format. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/format.h"

/* Read the sections, write them converted at their offsets, the last one first, and
 * gather the statistics of what was written. */
static tr_status write_sections(const char *raw, const char *out,
                                const tr_volume_spec *spec, const uint64_t *offset,
                                tr_statistics *statistics)
{
    size_t n = spec->nx * spec->ny, bytes = n * tr_type_size(spec->type);
    double sum = 0, squares = 0, count = (double)n * (double)spec->nz;
    float *samples = malloc(n * sizeof *samples);
    char *converted = malloc(bytes);
    FILE *in = fopen(raw, "rb");
    int fd = open(out, O_WRONLY);
    bool good = samples && converted && in && fd >= 0;
    *statistics = (tr_statistics){INFINITY, -INFINITY, 0, 0};
    for (size_t z = spec->nz; good && z-- > 0;) {
        good = fseek(in, (long)(z * n * sizeof *samples), SEEK_SET) == 0 &&
               fread(samples, sizeof *samples, n, in) == n;
        if (!good)
            break;
        tr_convert_from_float(samples, n, spec->type, converted);
        tr_convert_to_float(converted, n, spec->type, samples);
        good = pwrite(fd, converted, bytes, (off_t)offset[z]) == (ssize_t)bytes;
        for (size_t i = 0; i < n; i++) {
            statistics->min = fmin(statistics->min, samples[i]);
            statistics->max = fmax(statistics->max, samples[i]);
            sum += samples[i];
            squares += (double)samples[i] * samples[i];
        }
    }
    statistics->mean = sum / count;
    statistics->rms = sqrt(fmax(0, squares / count - pow(sum / count, 2)));
    if (in)
        fclose(in);
    if (fd >= 0)
        close(fd);
    free(converted);
    free(samples);
    return good ? TR_OK : tr_fail(TR_ERR_DATA, "cannot copy %s to %s", raw, out);
}

static tr_status run(int argc, char **argv)
{
    tr_volume_spec spec = {.nx = strtoull(argv[4], NULL, 10),
                           .ny = strtoull(argv[5], NULL, 10),
                           .nz = strtoull(argv[6], NULL, 10),
                           .pixel = atof(argv[7]),
                           .origin = {atof(argv[8]), atof(argv[9]), atof(argv[10])}};
    for (spec.type = TR_INT8; strcmp(tr_type_name(spec.type), argv[3]) != 0; spec.type++)
        if (spec.type == TR_UINT4)
            return tr_fail(TR_ERR_USAGE, "%s is no type", argv[3]);
    for (int i = 12; i < argc && spec.n_labels < TR_LABELS; i++)
        snprintf(spec.labels[spec.n_labels++], TR_LABEL_LENGTH + 1, "%s", argv[i]);
    const tr_format *format = tr_format_for_output(argv[2]);
    if (!format)
        return TR_ERR_USAGE;
    uint64_t *offset;
    tr_statistics statistics;
    TR_TRY(format->create(argv[2], &spec, &offset));
    tr_status status = write_sections(argv[1], argv[2], &spec, offset, &statistics);
    if (status == TR_OK)
        status = format->finish(argv[2], &spec, &statistics, atoi(argv[11]));
    free(offset);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 12) {
        fprintf(stderr, "usage: imagewrite RAW OUT TYPE NX NY NZ PIXEL OX OY OZ DEFLATE "
                        "[LABEL ...]\n");
        return TR_ERR_USAGE;
    }
    tr_status status = run(argc, argv);
    if (status != TR_OK)
        fprintf(stderr, "%s\n", tr_error());
    return status;
}
