/* Prints what the formats library reads, so that tests can compare it with independent
 * readers: imageinfo FILE                                  key=value lines
 *          imageinfo FILE OUT                              and all samples as float32
 *          imageinfo FILE OUT SECTION Y0 NY X0 NX          and those of a rectangle */
#include <stdio.h>
#include <stdlib.h>

#include "formats/format.h"

static void print_info(const tr_image_info *info)
{
    printf("format=%s\nsize=%zu %zu %zu\ntype=%s\ncompressed=%d\n", info->format,
           info->nx, info->ny, info->nz, tr_type_name(info->type), info->compressed);
    printf("pixel=%.9g %.9g %.9g\n", info->pixel[0], info->pixel[1], info->pixel[2]);
    printf("origin=%.9g %.9g %.9g\n", info->origin[0], info->origin[1], info->origin[2]);
    printf("statistics=%.9g %.9g %.9g %.9g\n", info->min, info->max, info->mean,
           info->rms);
    for (size_t i = 0; i < info->n_labels; i++)
        printf("label=%s\n", info->labels[i]);
    printf("tilts=");
    for (size_t i = 0; i < info->n_tilts; i++)
        printf("%.9g ", info->tilts[i]);
    printf("\nnote=%s\n", info->tilts_note);
}

/* Append a rectangle of one section to the file. */
static tr_status dump(tr_image *image, FILE *file, const size_t *rectangle)
{
    const size_t *r = rectangle; /* section, y0, ny, x0, nx */
    float *samples = malloc((r[2] * r[4] + 1) * sizeof *samples);
    if (!samples)
        return tr_fail(TR_ERR_MEMORY, "not enough memory");
    tr_status status = tr_image_read(image, r[0], r[1], r[2], r[3], r[4], samples);
    if (status == TR_OK &&
        fwrite(samples, sizeof *samples, r[2] * r[4], file) != r[2] * r[4])
        status = tr_fail(TR_ERR_DATA, "cannot write the samples");
    free(samples);
    return status;
}

static tr_status run(int argc, char **argv)
{
    tr_image *image;
    TR_TRY(tr_image_open(argv[1], &image));
    const tr_image_info *info = tr_image_get_info(image);
    tr_status status = TR_OK;
    print_info(info);
    FILE *file = argc > 2 ? fopen(argv[2], "wb") : NULL;
    if (argc > 2 && !file)
        status = tr_fail(TR_ERR_DATA, "cannot create %s", argv[2]);
    size_t r[5] = {0, 0, info->ny, 0, info->nx};
    for (int i = 3; i < argc; i++)
        r[i - 3] = strtoull(argv[i], NULL, 10);
    if (file && argc == 8)
        status = dump(image, file, r);
    else if (file)
        for (; status == TR_OK && r[0] < info->nz; r[0]++)
            status = dump(image, file, r);
    if (file && fclose(file) != 0 && status == TR_OK)
        status = tr_fail(TR_ERR_DATA, "cannot write %s", argv[2]);
    tr_image_close(image);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3 && argc != 8) {
        fprintf(stderr, "usage: imageinfo FILE [OUT [SECTION Y0 NY X0 NX]]\n");
        return TR_ERR_USAGE;
    }
    tr_status status = run(argc, argv);
    if (status != TR_OK)
        fprintf(stderr, "%s\n", tr_error());
    return status;
}
