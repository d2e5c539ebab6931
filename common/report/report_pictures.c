/* The tomogram in the page: sections as PNG, and a smaller volume of 8-bit samples that
 * its script shows slice by slice. Levels 0 to 255 stand for densities from data-low to
 * data-high, wide enough for the contrast to be chosen in the page. */
#include <math.h>
#include <stdlib.h>

#include "formats/png.h"
#include "common/report/html.h"
#include "common/base/mem.h"
#include "common/tomogram/picture.h"
#include "common/report/report.h"
#include "common/tomogram/tomogram.h"

/* The page must not be above 8 MB, of which base 64 makes 6: samples of the volume, and
 * sides of a section, whose noise hardly compresses. */
enum { MOST_SAMPLES = 3300000, LONGEST_SIDE = 768 };
static const size_t MOST_READ = (size_t)1 << 28; /* voxels of the file: 1 GiB of floats */

static const struct {
    const char *name, *title;
    int axis;
} sections[] = {
    {"xy", "x and y", TR_Z}, {"xz", "x and z", TR_Y}, {"yz", "y and z", TR_X}};

static tr_status put_png(FILE *out, const tr_section *s, const char *name,
                         const char *title, const double wide[2], size_t size)
{
    uint8_t *grey = tr_calloc("a picture", s->width * s->height, 1), *png = NULL;
    size_t n = 0;
    if (!grey)
        return TR_ERR_MEMORY;
    tr_picture_grey(s->values, s->width * s->height, wide, grey);
    tr_status status = tr_png_encode(grey, s->width, s->height, 1, &png, &n);
    free(grey);
    TR_TRY(status);
    fprintf(out,
            "<figure><div class='frame'><img id='image-%s' class='section' width='%zu' "
            "height='%zu' data-low='%.9g' data-high='%.9g' data-factor='%zu' "
            "alt='central section %s' "
            "src='data:image/png;base64,",
            name, s->width, s->height, wide[0], wide[1], s->factor, name);
    tr_html_base64(out, png, n);
    fprintf(out, "'></div><figcaption><b>%s</b> section %zu of %zu", title, s->at, size);
    if (s->factor > 1)
        fprintf(out, ", %zu voxels a pixel", s->factor);
    fputs("</figcaption></figure>\n", out);
    free(png);
    return TR_OK;
}

/* The densities of levels 0 and 255: all but the extremes, and no more than leaves enough
 * levels to the contrast, which is that of the values (of `contrast` as well, if it is
 * set already). */
static tr_status choose_levels(const float *values, size_t n, double contrast[2],
                               double wide[2])
{
    double own[2];
    TR_TRY(tr_picture_range(values, n, 0.01, 0.99, own));
    TR_TRY(tr_picture_range(values, n, 0.0005, 0.9995, wide));
    if (!(contrast[1] > contrast[0]))
        contrast[0] = own[0], contrast[1] = own[1];
    double low = fmin(own[0], contrast[0]), high = fmax(own[1], contrast[1]);
    wide[0] = fmax(wide[0], low - 1.5 * (high - low));
    wide[1] = fmin(wide[1], high + 1.5 * (high - low));
    return TR_OK;
}

static tr_status put_section(FILE *out, const tr_tomogram *t, int k, double contrast[2])
{
    tr_section s = {0};
    tr_status status = tr_tomogram_section(t, sections[k].axis, LONGEST_SIDE, &s);
    double wide[2];
    size_t n = s.width * s.height;
    if (status == TR_OK)
        status = choose_levels(s.values, n, contrast, wide);
    if (status == TR_OK)
        status = put_png(out, &s, sections[k].name, sections[k].title, wide,
                         t->size[sections[k].axis]);
    free(s.values);
    return status;
}

/* As fine as allowed, and along z at most half as fine as across. */
static void choose_factors(const size_t size[3], size_t factor[3])
{
    for (size_t f = 2;; f++) {
        factor[TR_X] = factor[TR_Y] = f / 2;
        factor[TR_Z] = (f + 1) / 2 < size[TR_Z] ? (f + 1) / 2 : size[TR_Z];
        const tr_box box = {.size = {size[0], size[1], size[2]},
                            .factor = {factor[0], factor[1], factor[2]}};
        size_t sides[3], n;
        tr_box_sides(&box, sides);
        if (tr_size_product("the report", &n, 3, sides) == TR_OK && n <= MOST_SAMPLES)
            return;
    }
}

static tr_status put_samples(FILE *out, const tr_tomogram *t, const tr_box *box,
                             const size_t sides[3], double contrast[2], float *values)
{
    size_t n = sides[0] * sides[1] * sides[2];
    double wide[2];
    TR_TRY(tr_tomogram_read(t, box, MOST_READ, values));
    TR_TRY(choose_levels(values, n, contrast, wide));
    uint8_t *grey = (uint8_t *)values; /* in place: sample k lies before value k */
    tr_picture_grey(values, n, wide, grey);
    fprintf(out,
            "<script type='text/plain' id='volume-data' data-low='%.9g' data-high='%.9g'",
            wide[0], wide[1]);
    for (int i = 0; i < 3; i++)
        fprintf(out, " data-n%c='%zu' data-f%c='%zu' data-size%c='%zu'", "xyz"[i],
                sides[i], "xyz"[i], box -> factor[i], "xyz"[i], t -> size[i]);
    fputs(">", out);
    tr_html_base64(out, grey, n);
    fputs("</script>\n", out);
    return TR_OK;
}

static tr_status put_volume(FILE *out, const tr_tomogram *t, double contrast[2])
{
    tr_box box = {.size = {t->size[0], t->size[1], t->size[2]}};
    size_t sides[3];
    choose_factors(t->size, box.factor);
    tr_box_sides(&box, sides);
    float *values =
        tr_calloc("the report's volume", sides[0] * sides[1] * sides[2], sizeof *values);
    if (!values)
        return TR_ERR_MEMORY;
    tr_status status = put_samples(out, t, &box, sides, contrast, values);
    free(values);
    return status;
}

tr_status tr_report_pictures(FILE *out, const tr_result *r)
{
    tr_tomogram t;
    double contrast[2] = {0.0, 0.0}; /* to be set by the first section */
    tr_status status = tr_tomogram_open(&r->run->volumes[0].job.output_spec, &t);
    bool flat = 2 * t.size[TR_Z] <= t.size[TR_X] + t.size[TR_Y] - t.size[TR_Z];
    bool wide = flat && t.size[TR_X] >= 2 * t.size[TR_Y];
    /* At one scale with the one of x and z, in whose column it is. */
    double part = fmin((double)t.size[TR_Y] / fmax((double)t.size[TR_X], 1.0), 1.0);
    fprintf(out, "<div class='sections%s' style='--part:%.3f'>\n",
            wide   ? " flat wide"
            : flat ? " flat"
                   : "",
            part);
    for (int k = 0; k < 3 && status == TR_OK; k++)
        status = put_section(out, &t, k, contrast);
    fputs("</div>\n", out);
    if (status == TR_OK)
        status = put_volume(out, &t, contrast);
    if (status == TR_OK)
        fprintf(out,
                "<script type='text/plain' id='contrast' data-low='%.9g' "
                "data-high='%.9g' data-voxel='%.9g'></script>\n",
                contrast[0], contrast[1], r->run->volumes[0].job.output_spec.pixel);
    tr_tomogram_close(&t);
    return status;
}
