/* HDF5 files of transmission tomography, which have flat fields (the beam without a
 * specimen) and dark fields (no beam) beside the views:
 *
 *   DXchange  /exchange/data [view][y][x], data_white, data_dark, theta in degrees
 *   NXtomo    instrument/detector/data [image][y][x] in a group such as /entry, and
 * beside it image_key: 0 a view, 1 a flat field, 2 a dark field, 3 to be left out; angles
 * of all images in sample/rotation_angle */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "formats/hdf_common.h"

/* Whether every part of the path is there. */
static bool has(hid_t file, const char *path)
{
    char part[128];
    for (size_t i = 1; path[i - 1]; i++) {
        if (path[i] && path[i] != '/')
            continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (H5Lexists(file, part, H5P_DEFAULT) <= 0)
            return false;
    }
    return true;
}

static tr_status begin(tr_hdf *hdf, const char *name, tr_image_info *info)
{
    size_t size[3];
    hdf->dataset = H5Dopen2(hdf->file, name, H5P_DEFAULT);
    if (hdf->dataset < 0)
        return tr_hdf_fail(hdf->path, "%s cannot be opened", name);
    TR_TRY(
        tr_hdf_inspect(hdf, name, hdf->dataset, size, &info->type, &info->chunk_bytes));
    info->nx = size[0], info->ny = size[1], info->nz = size[2];
    info->min = info->max = info->mean = info->rms = NAN;
    hdf->scale = tr_calloc("image scaling", 1, sizeof *hdf->scale);
    hdf->shift = tr_calloc("image scaling", 1, sizeof *hdf->shift);
    if (!hdf->scale || !hdf->shift)
        return TR_ERR_MEMORY;
    hdf->scale[0] = 1;
    return TR_OK;
}

/* ---- DXchange ---- */

static tr_status open_field(tr_hdf *hdf, const char *name, tr_field kind,
                            tr_image_info *info)
{
    size_t size[3];
    tr_type type;
    if (!has(hdf->file, name))
        return TR_OK;
    hid_t dataset = hdf->field[kind].dataset = H5Dopen2(hdf->file, name, H5P_DEFAULT);
    if (dataset < 0)
        return tr_hdf_fail(hdf->path, "%s cannot be opened", name);
    TR_TRY(tr_hdf_inspect(hdf, name, dataset, size, &type, &info->chunk_bytes));
    if (size[0] != info->nx || size[1] != info->ny)
        return tr_fail(TR_ERR_DATA,
                       "%s: %s has images of %zu x %zu pixels, and the views have %zu x "
                       "%zu; both must be alike",
                       hdf->path, name, size[0], size[1], info->nx, info->ny);
    info->n_fields[kind] = size[2];
    return TR_OK;
}

static tr_status open_exchange(tr_hdf *hdf, tr_image_info *info)
{
    TR_TRY(begin(hdf, "/exchange/data", info));
    TR_TRY(open_field(hdf, "/exchange/data_white", TR_FLAT, info));
    TR_TRY(open_field(hdf, "/exchange/data_dark", TR_DARK, info));
    info->flats_before = info->n_fields[TR_FLAT];
    const tr_hdf_angles angles = {.name = "/exchange/theta", .n_all = info->nz};
    return tr_hdf_read_angles(hdf->path, hdf->file, hdf->file_bytes, &angles, info);
}

/* ---- NXtomo ---- */

/* The keys of all n images. */
static tr_status read_keys(tr_hdf *hdf, const char *name, size_t n, int *keys)
{
    hid_t dataset = H5Dopen2(hdf->file, name, H5P_DEFAULT);
    if (dataset < 0)
        return tr_hdf_fail(hdf->path, "%s cannot be opened", name);
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    hssize_t points = H5Sget_simple_extent_npoints(space);
    bool numbers = H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_FLOAT;
    H5Tclose(type);
    H5Sclose(space);
    tr_status status = TR_OK;
    if (points < 0 || (size_t)points != n || !numbers)
        status = tr_fail(TR_ERR_DATA,
                         "%s: %s has %lld %s for %zu images; one whole number for each "
                         "is needed",
                         hdf->path, name, (long long)points,
                         numbers ? "numbers" : "values that are no numbers", n);
    if (status == TR_OK)
        status = tr_hdf_check_storage(hdf->path, name, dataset, n, hdf->file_bytes, NULL);
    if (status == TR_OK)
        status = tr_hdf_check_filters(hdf->path, name, dataset);
    if (status == TR_OK &&
        H5Dread(dataset, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, keys) < 0)
        status = tr_hdf_fail(hdf->path, "%s cannot be read", name);
    H5Dclose(dataset);
    return status;
}

/* Where the images of a key are; how many. */
static tr_status list_key(const int *keys, size_t n, int key, size_t **list,
                          size_t *count)
{
    *list = tr_calloc("the list of images", n, sizeof **list);
    if (!*list)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++)
        if (keys[k] == key)
            (*list)[(*count)++] = k;
    return TR_OK;
}

static tr_status share_out(tr_hdf *hdf, const char *name, const int *keys,
                           tr_image_info *info)
{
    enum { VIEW, FLAT, DARK };
    size_t n = info->nz, n_views = 0;
    TR_TRY(list_key(keys, n, VIEW, &hdf->views, &n_views));
    if (!n_views)
        return tr_fail(TR_ERR_DATA,
                       "%s: none of the %zu images is a view; %s must be 0 for these",
                       hdf->path, n, name);
    static const struct {
        int key;
        tr_field kind;
    } fields[] = {{FLAT, TR_FLAT}, {DARK, TR_DARK}};
    for (int i = 0; i < 2; i++) {
        tr_field kind = fields[i].kind;
        TR_TRY(list_key(keys, n, fields[i].key, &hdf->field[kind].sections,
                        &info->n_fields[kind]));
        hdf->field[kind].dataset = hdf->dataset;
        if (H5Iinc_ref(hdf->dataset) < 0)
            return tr_hdf_fail(hdf->path, "its images cannot be opened");
    }
    for (size_t k = 0; k < info->n_fields[TR_FLAT]; k++)
        info->flats_before += hdf->field[TR_FLAT].sections[k] < hdf->views[0];
    info->nz = n_views;
    return TR_OK;
}

static tr_status open_nxtomo(tr_hdf *hdf, const char *group, tr_image_info *info)
{
    char data[96], key[96], angle[96];
    snprintf(data, sizeof data, "%s/instrument/detector/data", group);
    snprintf(key, sizeof key, "%s/instrument/detector/image_key", group);
    snprintf(angle, sizeof angle, "%s/sample/rotation_angle", group);
    TR_TRY(begin(hdf, data, info));
    size_t n = info->nz;
    if (has(hdf->file, key)) {
        int *keys = tr_calloc("keys of the images", n, sizeof *keys);
        tr_status status = keys ? read_keys(hdf, key, n, keys) : TR_ERR_MEMORY;
        if (status == TR_OK)
            status = share_out(hdf, key, keys, info);
        free(keys);
        TR_TRY(status);
    }
    const tr_hdf_angles angles = {.name = angle, .n_all = n, .views = hdf->views};
    return tr_hdf_read_angles(hdf->path, hdf->file, hdf->file_bytes, &angles, info);
}

tr_status tr_hdf_open_scan(tr_hdf *hdf, tr_image_info *info, bool *found)
{
    /* Where NXtomo is, of those who write it. */
    static const char *const groups[] = {"/entry", "/entry0000", "/entry1/tomo_entry",
                                         "/entry/tomo_entry", "/entry1"};
    char data[96];
    if (has(hdf->file, "/exchange/data")) {
        *found = true;
        return open_exchange(hdf, info);
    }
    for (size_t i = 0; i < sizeof groups / sizeof *groups && !*found; i++) {
        snprintf(data, sizeof data, "%s/instrument/detector/data", groups[i]);
        *found = has(hdf->file, data);
        if (*found)
            return open_nxtomo(hdf, groups[i], info);
    }
    return TR_OK;
}
