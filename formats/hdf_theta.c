/* The angles beside images, in a dataset of their own. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "formats/hdf_common.h"
#include "formats/turns.h"

static bool is_word(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(word, *words) == 0)
            return true;
    return false;
}

/* Degrees in a unit of the angles, by their attribute `units`; 0 if it is none of
 * angles. TomoPy and DXchange use degrees and mostly do not say so. */
static double degrees_in_unit(hid_t dataset, char *unit, size_t size)
{
    static const char *const degrees[] = {"deg", "degs", "degree", "degrees",
                                          "°",   "",     NULL};
    static const char *const radians[] = {"rad", "rads", "radian", "radians", NULL};
    static const char *const milliradians[] = {"mrad", "mrads", "milliradian",
                                               "milliradians", NULL};
    snprintf(unit, size, "degrees");
    if (!tr_hdf_text(dataset, "units", unit, size) &&
        !tr_hdf_text(dataset, "unit", unit, size))
        return 1;
    tr_clean_label(unit);
    if (is_word(unit, degrees))
        return 1;
    if (is_word(unit, radians))
        return 180 / TR_PI;
    return is_word(unit, milliradians) ? 0.18 / TR_PI : 0;
}

static void say_wrong_number(const char *path, const char *name, long long n,
                             tr_image_info *info)
{
    snprintf(info->tilts_note, sizeof info->tilts_note,
             "%s: %s has %lld angles for %zu views%s", path, name, n, info->nz,
             n == (long long)info->nz + 1
                 ? "; it may go on to the end of the rotation, of which there is no view"
                 : "");
}

/* In degrees and within +-360; false, with the note, if they cannot be angles. */
static bool settle_angles(const char *path, const char *name, hid_t dataset,
                          double *tilts, tr_image_info *info)
{
    char unit[48];
    double factor = degrees_in_unit(dataset, unit, sizeof unit);
    size_t n = info->nz, size = sizeof info->tilts_note;
    if (factor == 0) {
        snprintf(info->tilts_note, size,
                 "%s: the units of %s are \"%s\"; degrees and radians are known", path,
                 name, unit);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        tilts[i] *= factor;
        if (fabs(tilts[i]) <= tr_most_degrees)
            continue; /* not so for NaN */
        snprintf(info->tilts_note, size, "%s: angle %zu of %s is %g, which is no angle",
                 path, i + 1, name, tilts[i] / factor);
        return false;
    }
    bool turned = tr_remove_turns(tilts, n);
    size_t used = 0;
    if (factor != 1)
        used =
            (size_t)snprintf(info->tilts_note, size, "%s: %s is in %s", path, name, unit);
    if (turned && used < size)
        snprintf(info->tilts_note + used, size - used,
                 "%s%s%s goes on beyond 360 degrees: whole turns are left out",
                 used ? "; it" : path, used ? "" : ": ", used ? "" : name);
    return true;
}

/* Those of all n_all images of the dataset, of which the views are views[0], ...; NULL:
 * all. */
static tr_status read_angles(const char *path, hid_t dataset, uint64_t file_bytes,
                             const tr_hdf_angles *angles, tr_image_info *info)
{
    const char *name = angles->name;
    TR_TRY(tr_hdf_check_storage(path, name, dataset, angles->n_all, file_bytes, NULL));
    TR_TRY(tr_hdf_check_filters(path, name, dataset));
    double *tilts = tr_calloc("tilt angles", angles->n_all, sizeof *tilts);
    if (!tilts)
        return TR_ERR_MEMORY;
    if (H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, tilts) < 0) {
        free(tilts);
        return tr_hdf_fail(path, "%s cannot be read", name);
    }
    for (size_t k = 0; angles->views && k < info->nz; k++)
        tilts[k] = tilts[angles->views[k]]; /* in their order, hence from further on */
    if (settle_angles(path, name, dataset, tilts, info)) {
        info->tilts = tilts;
        info->n_tilts = info->nz;
    } else {
        free(tilts);
    }
    return TR_OK;
}

tr_status tr_hdf_read_angles(const char *path, hid_t file, uint64_t file_bytes,
                             const tr_hdf_angles *angles, tr_image_info *info)
{
    const char *name = angles->name;
    if (H5Lexists(file, name, H5P_DEFAULT) <= 0)
        return TR_OK;
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    if (dataset < 0)
        return tr_hdf_fail(path, "%s cannot be opened", name);
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    hssize_t n = H5Sget_simple_extent_npoints(space);
    H5T_class_t class = H5Tget_class(type);
    H5Tclose(type);
    H5Sclose(space);
    tr_status status = TR_OK;
    if (n < 0 || (size_t)n != angles->n_all)
        say_wrong_number(path, name, (long long)n, info);
    else if (class != H5T_FLOAT && class != H5T_INTEGER)
        snprintf(info->tilts_note, sizeof info->tilts_note, "%s: %s holds no numbers",
                 path, name);
    else
        status = read_angles(path, dataset, file_bytes, angles, info);
    H5Dclose(dataset);
    return status;
}
