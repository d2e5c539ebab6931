#include "common/report/alignment_json.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/report/json.h"
#include "formats/file_io.h"

tr_status tr_alignment_json_check(const tr_run *run)
{
    static const char *const moved[] = {"axis-shift", "find-axis", "x-shift", "z-shift",
                                        "slices"};
    const tr_command *c = &run->command;
    if (!c->options.alignment_json)
        return TR_OK;
    for (size_t k = 0; k < sizeof moved / sizeof *moved; k++)
        if (tr_option_given(&c->line, moved[k]))
            return tr_fail(
                TR_ERR_USAGE,
                "--write-alignment has no place for what --%s moves; leave one "
                "of the two out",
                moved[k]);
    return tr_inputs_need_pixel(&run->inputs, c, "--write-alignment");
}

static void put_xyz(tr_json *j, const char *name, double x, double y, double z)
{
    tr_json_open(j, name, '{');
    tr_json_number(j, "x", x);
    tr_json_number(j, "y", y);
    tr_json_number(j, "z", z);
    tr_json_close(j, '}');
}

static void put_matrix(tr_json *j, const char *name, const double *m, int n)
{
    tr_json_open(j, name, '[');
    for (int row = 0; row < n; row++) {
        tr_json_open(j, NULL, '[');
        for (int column = 0; column < n; column++)
            tr_json_number(j, NULL, m[row * n + column]);
        tr_json_close(j, ']');
    }
    tr_json_close(j, ']');
}

/* The inverse of aligned = A raw + d. */
static void put_view(tr_json *j, const tr_run *run, size_t k)
{
    const tr_reconstruction *r = &run->volumes[0];
    const tr_view *view = &r->views.view[k];
    const tr_options *o = &run->command.options;
    tr_transform t = {.a11 = 1.0, .a22 = 1.0};
    if (r->views.has_transforms)
        t = view->transform;
    double area = t.a11 * t.a22 - t.a12 * t.a21;
    const double back[] = {t.a22 / area, -t.a12 / area, -t.a21 / area, t.a11 / area};
    double pixel = run->inputs.pixel * (double)o->views.bin;
    tr_json_open(j, NULL, '{');
    tr_json_integer(j, "z_index", (long long)view->section);
    tr_json_number(j, "tilt_angle", r->job.geometry.tilt[k] * TR_DEGREES);
    tr_json_number(j, "volume_x_rotation", 0.0 - o->pitch - view->xtilt);
    put_matrix(j, "in_plane_rotation", back, 2);
    tr_json_number(j, "x_offset", 0.0 - pixel * (back[0] * t.dx + back[1] * t.dy));
    tr_json_number(j, "y_offset", 0.0 - pixel * (back[2] * t.dx + back[3] * t.dy));
    tr_json_close(j, '}');
}

static void put(tr_json *j, const tr_run *run)
{
    static const double identity[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    const tr_reconstruction *r = &run->volumes[0];
    const tr_output_spec *o = &r->job.output_spec;
    bool local = run->inputs.has_local;
    for (size_t k = 0; k < r->views.n; k++)
        local = local || r->views.view[k].n_local > 0;
    double voxel = run->inputs.pixel * (double)run->command.options.views.bin;
    tr_json_open(j, NULL, '{');
    put_matrix(j, "affine_transformation_matrix", identity, 4);
    tr_json_string(j, "alignment_type", local ? "LOCAL" : "GLOBAL");
    tr_json_string(j, "format", "IMOD");
    tr_json_bool(j, "is_portal_standard", false);
    tr_json_number(j, "tilt_offset", 0.0);
    tr_json_integer(j, "x_rotation_offset", 0);
    put_xyz(j, "volume_offset", 0.0, 0.0, 0.0);
    put_xyz(j, "volume_dimension", voxel * (double)o->width, voxel * (double)o->n_slices,
            voxel * (double)o->thickness);
    tr_json_open(j, "per_section_alignment_parameters", '[');
    for (size_t k = 0; k < r->views.n; k++)
        put_view(j, run, k);
    tr_json_close(j, ']');
    tr_json_close(j, '}');
}

tr_status tr_alignment_json_write(const tr_run *run)
{
    const char *path = run->command.options.alignment_json;
    char *text = NULL;
    size_t size = 0;
    if (!path)
        return TR_OK;
    FILE *out = open_memstream(&text, &size);
    bool complete = out;
    if (out) {
        tr_json j = {.out = out};
        put(&j, run);
        complete = !ferror(out);
        complete = fclose(out) == 0 && complete;
    }
    tr_status status =
        complete ? tr_write_whole(path, text, size)
                 : tr_fail(TR_ERR_MEMORY, "not enough memory for the result's text");
    if (status == TR_OK)
        tr_info("wrote %s: the alignment of %zu views", path, run->volumes[0].views.n);
    free(text);
    return status;
}
