/* Whether a dataset's samples are there, in the file itself, and can be unpacked. */
#include <stdio.h>

#include "formats/hdf_common.h"

/* Whether all chunks of a dataset are in the file; *chunk_bytes is the size of one. */
static bool has_all_chunks(hid_t dataset, hid_t properties, uint64_t sample_bytes,
                           uint64_t *chunk_bytes)
{
    hsize_t dims[3] = {0}, chunk[3] = {0}, needed = 1, found = 0;
    hid_t space = H5Dget_space(dataset);
    int rank = H5Sget_simple_extent_ndims(space);
    bool known = rank >= 1 && rank <= 3 &&
                 H5Sget_simple_extent_dims(space, dims, NULL) == rank &&
                 H5Pget_chunk(properties, 3, chunk) == rank &&
                 H5Dget_num_chunks(dataset, space, &found) >= 0;
    H5Sclose(space);
    *chunk_bytes = sample_bytes;
    for (int i = 0; known && i < rank; i++) {
        known = dims[i] > 0 && chunk[i] > 0;
        if (__builtin_mul_overflow(*chunk_bytes, chunk[i], chunk_bytes))
            *chunk_bytes = UINT64_MAX;
        if (known) /* no more than samples: no overflow */
            needed *= (dims[i] - 1) / chunk[i] + 1;
    }
    return known && found == needed;
}

/* The first other file that the dataset has its samples in. */
static void other_file(hid_t properties, char *name, size_t size)
{
    off_t offset;
    hsize_t bytes;
    snprintf(name, size, "?");
    if (H5Pget_layout(properties) == H5D_VIRTUAL)
        (void)H5Pget_virtual_filename(properties, 0, name, size);
    else
        (void)H5Pget_external(properties, 0, size, name, &offset, &bytes);
    name[size - 1] = '\0';
}

/* Whether the samples are really in the file: a dataset can be declared and not filled,
 * and then reads as zeros. A chunk is unpacked as a whole: none may be larger than
 * deflate can have packed into such a file. */
tr_status tr_hdf_check_storage(const char *path, const char *name, hid_t dataset,
                               uint64_t samples, uint64_t file_bytes,
                               uint64_t *chunk_bytes)
{
    enum { BEST_DEFLATE = 1032, ALWAYS_FINE = 1 << 26 };
    hid_t properties = H5Dget_create_plist(dataset), type = H5Dget_type(dataset);
    H5D_layout_t layout = H5Pget_layout(properties);
    uint64_t stored = H5Dget_storage_size(dataset), one = H5Tget_size(type), bytes;
    uint64_t chunk = 0;
    bool complete = stored > 0 && stored <= file_bytes;
    if (__builtin_mul_overflow(samples, one, &bytes))
        bytes = UINT64_MAX;
    bool elsewhere = layout == H5D_VIRTUAL || H5Pget_external_count(properties) > 0;
    char other[256];
    if (elsewhere)
        other_file(properties, other, sizeof other);
    else if (layout == H5D_CHUNKED)
        complete = complete && has_all_chunks(dataset, properties, one, &chunk);
    else
        complete = complete && stored >= bytes;
    H5Tclose(type);
    H5Pclose(properties);
    if (elsewhere)
        return tr_fail(TR_ERR_DATA,
                       "%s: %s has its samples in another file, %s; only what is in the "
                       "file itself is read, so copy them into one file first",
                       path, name, other);
    if (!complete)
        return tr_fail(TR_ERR_DATA,
                       "%s: %s is incomplete: of its samples, which need %llu bytes "
                       "uncompressed, %llu bytes are stored in the file of %llu",
                       path, name, (unsigned long long)bytes, (unsigned long long)stored,
                       (unsigned long long)file_bytes);
    if (chunk > ALWAYS_FINE && chunk / BEST_DEFLATE > file_bytes)
        return tr_fail(TR_ERR_DATA,
                       "%s: %s has chunks of %llu bytes, too many for a file of %llu; "
                       "it is damaged",
                       path, name, (unsigned long long)chunk,
                       (unsigned long long)file_bytes);
    if (chunk_bytes)
        *chunk_bytes = chunk;
    return TR_OK;
}

/* ---- filters ---- */

/* Numbers registered with The HDF Group, and the packages that have them. */
static const struct {
    H5Z_filter_t number;
    const char *name;
} filters[] = {
    {H5Z_FILTER_DEFLATE, "deflate"},
    {H5Z_FILTER_SZIP, "szip"},
    {307, "bzip2"},
    {32000, "LZF"},
    {32001, "Blosc"},
    {32004, "LZ4"},
    {32008, "bitshuffle"},
    {32013, "ZFP"},
    {32015, "Zstandard"},
    {32017, "SZ"},
    {32018, "FCIDECOMP"},
    {32024, "SZ3"},
    {32026, "Blosc2"},
    {32028, "SPERR"},
};

static const char *filter_name(H5Z_filter_t number)
{
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        if (filters[i].number == number)
            return filters[i].name;
    return "an unknown filter";
}

tr_status tr_hdf_check_filters(const char *path, const char *name, hid_t dataset)
{
    hid_t properties = H5Dget_create_plist(dataset);
    int n = H5Pget_nfilters(properties);
    H5Z_filter_t missing = 0;
    for (int i = 0; i < n && !missing; i++) {
        unsigned flags, config;
        size_t n_values = 0;
        H5Z_filter_t number = H5Pget_filter2(properties, (unsigned)i, &flags, &n_values,
                                             NULL, 0, NULL, &config);
        if (number > 0 && H5Zfilter_avail(number) <= 0)
            missing = number;
    }
    H5Pclose(properties);
    if (!missing)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s: %s is packed with %s (HDF5 filter %d), for which this HDF5 "
                   "library has no plugin; install Debian's hdf5-filter-plugin or "
                   "Python's hdf5plugin and set HDF5_PLUGIN_PATH to its folder of "
                   "plugins, or unpack the file with h5repack -f NONE",
                   path, name, filter_name(missing), (int)missing);
}
