/* Print where voxels are seen, for tests that compare with IMOD's formulas.
 *   localmap NX NY WIDTH THICKNESS PITCH SCALE FULL_NX FULL_NY AXIS_SHIFT SUBSET_X
 * SUBSET_Y TILTS LOCAL|none FACTORS|none VIEWS    < "view x slice iz" lines all numbers
 * but of voxels in pixels of the images; shifts from the middle of the images. A line
 * each: column and row as the geometry has them, and as the ray with the grid that
 * kernels are given has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/geometry/local.h"

/* As kernels/backend.h says: bilinear between the four nodes around. */
static void add_grid(const tr_offsets *o, size_t view, double x, double y, double iz,
                     double *u, double *v)
{
    double across = x / TR_OFFSET_STEP, along = y / TR_OFFSET_STEP, at[4] = {0};
    size_t i = (size_t)across, j = (size_t)along;
    double right = across - (double)i, up = along - (double)j;
    for (size_t corner = 0; corner < 4; corner++) {
        size_t a = i + (corner & 1), b = j + (corner >> 1);
        double weight = (corner & 1 ? right : 1.0 - right) * (corner & 2 ? up : 1.0 - up);
        const float *node = o->grid + ((view * o->n_y + b) * o->n_x + a) * 4;
        for (int k = 0; k < 4; k++)
            at[k] += weight * (double)node[k];
    }
    *u += at[0] + (o->z_first + iz) * at[1];
    *v += at[2] + (o->z_first + iz) * at[3];
}

static tr_status show(const tr_geometry *g)
{
    float *grid = NULL;
    tr_offsets o = {.grid = NULL};
    double view, x, y, z;
    if (g->local)
        TR_TRY(tr_local_grid(g, 0.0, g->n_v, &grid, &o));
    while (scanf("%lf %lf %lf %lf", &view, &x, &y, &z) == 4) {
        size_t k = (size_t)view;
        double seen[4];
        tr_geometry_see(g, k, x, y, seen);
        tr_ray ray = tr_geometry_direct_ray(g, k, NULL, 0.0, 0.0);
        double u = ray.u0 + ray.ux * x + ray.uy * y + ray.uz * z;
        double v = ray.v0 + ray.vx * x + ray.vy * y + ray.vz * z, s = z - g->axis_z;
        if (grid)
            add_grid(&o, k, x, y, z, &u, &v);
        printf("%.17g %.17g %.17g %.17g\n", seen[0] + s * seen[1], seen[2] + s * seen[3],
               u, v);
    }
    free(grid);
    return TR_OK;
}

/* Views are records in the programs as well. */
typedef struct record {
    double tilt, factor[2];
    size_t section;
} record;

static tr_status run(char **argv)
{
    double number[11];
    for (int k = 0; k < 11; k++)
        number[k] = atof(argv[1 + k]);
    size_t n = (size_t)atol(argv[15]);
    double *tilts = tr_calloc("tilts", n, sizeof *tilts);
    double(*factors)[2] = tr_calloc("factors", n, sizeof *factors);
    record *views = tr_calloc("views", n, sizeof *views);
    tr_local_file file;
    tr_local local;
    if (!tilts || !factors || !views)
        return TR_ERR_MEMORY;
    TR_TRY(tr_angles_read(argv[12], n, tilts));
    bool has_local = strcmp(argv[13], "none") != 0, has_z = strcmp(argv[14], "none") != 0;
    if (has_z)
        TR_TRY(tr_zfactors_read(argv[14], n, factors));
    if (has_local)
        TR_TRY(tr_local_file_read(argv[13], n, &file));
    if (has_local)
        tr_local_place(&file, number[5], number[6], number[7], has_z, &local);
    for (size_t k = 0; k < n; k++)
        views[k] = (record){tilts[k], {factors[k][0], factors[k][1]}, k};
    const tr_geometry_spec spec = {.n_views = n,
                                   .tilts = &views->tilt,
                                   .zfactors = has_z ? &views->factor : NULL,
                                   .local = has_local ? &local : NULL,
                                   .sections = &views->section,
                                   .stride = sizeof *views / sizeof(double),
                                   .pitch = number[4],
                                   .n_u = (size_t)number[0],
                                   .n_v = (size_t)number[1],
                                   .width = (size_t)number[2],
                                   .thickness = (size_t)number[3],
                                   .axis_shift = number[8] + number[9],
                                   .image_shift = number[9],
                                   .centre_shift = number[10]};
    tr_geometry g;
    TR_TRY(tr_geometry_init(&spec, &g));
    tr_status status = show(&g);
    tr_geometry_free(&g);
    if (has_local)
        tr_local_file_free(&file);
    free(tilts);
    free(factors);
    free(views);
    return status;
}

int main(int argc, char **argv)
{
    tr_status status = argc == 16 ? run(argv) : TR_ERR_USAGE;
    if (status != TR_OK)
        fprintf(stderr, "%s\n", tr_error());
    return status;
}
