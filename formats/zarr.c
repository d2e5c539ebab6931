#include "formats/zarr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#ifdef TR_HAVE_BLOSC
#include <blosc.h>
#endif

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "formats/file_io.h"

/* Speed rather than size: noise hardly gets smaller. */
enum { BLOSC_LEVEL = 5, ZLIB_LEVEL = 1, GZIP_WINDOW = 15 + 16, ROOM_BESIDE = 4096 };

tr_zarr_packing tr_zarr_best_packing(void)
{
#ifdef TR_HAVE_BLOSC
    return TR_ZARR_BLOSC;
#else
    return TR_ZARR_ZLIB;
#endif
}

const char *tr_zarr_packing_name(tr_zarr_packing packing)
{
    static const char *const names[] = {"blosc (lz4)", "zlib", "not compressed"};
    return names[packing];
}

void tr_zarr_level_size(const tr_zarr *z, int level, size_t size[3])
{
    for (int i = 0; i < 3; i++) {
        size[i] = z->size[i];
        for (int l = 0; l < level; l++)
            size[i] = (size[i] + 1) / 2;
    }
}

static size_t chunk_voxels(const tr_zarr *z)
{
    return z->chunk[0] * z->chunk[1] * z->chunk[2];
}

/* ---- the descriptions ---- */

static const char *type_word(const tr_zarr *z)
{
    static const char *const two[] = {
        [TR_INT8] = "|i1",   [TR_UINT8] = "|u1",   [TR_INT16] = "<i2",
        [TR_UINT16] = "<u2", [TR_FLOAT32] = "<f4", [TR_FLOAT16] = "<f2"};
    return z->version == 2 ? two[z->type] : tr_type_name(z->type);
}

static const char *fill(const tr_zarr *z)
{
    return z->type == TR_FLOAT32 || z->type == TR_FLOAT16 ? "0.0" : "0";
}

static void append(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* The sizes as one image, and the labels. */
static void put_multiscales(FILE *out, const tr_zarr *z)
{
    static const char *const axes[] = {"z", "y", "x"};
    fprintf(out, "\"multiscales\": [{%s\"name\": \"/\", \"type\": \"mean\", \"axes\": [",
            z->version == 2 ? "\"version\": \"0.4\", " : "");
    for (int i = 0; i < 3; i++)
        fprintf(out, "%s{\"name\": \"%s\", \"type\": \"space\", \"unit\": \"angstrom\"}",
                i ? ", " : "", axes[i]);
    fputs("], \"datasets\": [", out);
    for (int l = 0; l < TR_ZARR_LEVELS; l++) {
        double d = z->voxel * (1 << l);
        fprintf(out,
                "%s{\"path\": \"%d\", \"coordinateTransformations\": [{\"type\": "
                "\"scale\", \"scale\": [%.9g, %.9g, %.9g]}]}",
                l ? ", " : "", l, d, d, d);
    }
    fputs("]}]", out);
}

static void put_labels(FILE *out, const tr_zarr *z)
{
    fputs("\"tiltrec\": {\"order\": \"xyz\", \"labels_of_the_file\": [", out);
    for (size_t k = 0; k < z->n_labels; k++) {
        fputs(k ? ", " : "", out);
        append(out, z->labels[k]);
    }
    fputs("]}", out);
}

static void put_group(FILE *out, const tr_zarr *z)
{
    if (z->version == 2) {
        fputs("{", out);
        put_multiscales(out, z);
    } else {
        fputs("{\"zarr_format\": 3, \"node_type\": \"group\", \"attributes\": {\"ome\": "
              "{\"version\": \"0.5\", ",
              out);
        put_multiscales(out, z);
        fputs("}", out);
    }
    fputs(", ", out);
    put_labels(out, z);
    fputs(z->version == 2 ? "}\n" : "}}\n", out);
}

static void put_array_2(FILE *out, const tr_zarr *z, const size_t size[3])
{
    fprintf(out,
            "{\"zarr_format\": 2, \"shape\": [%zu, %zu, %zu], \"chunks\": [%zu, %zu, "
            "%zu], \"dtype\": \"%s\", \"order\": \"C\", \"fill_value\": %s, \"filters\": "
            "null, \"dimension_separator\": \"/\", \"compressor\": ",
            size[0], size[1], size[2], z->chunk[0], z->chunk[1], z->chunk[2],
            type_word(z), fill(z));
    if (z->packing == TR_ZARR_BLOSC)
        fprintf(out,
                "{\"id\": \"blosc\", \"cname\": \"lz4\", \"clevel\": %d, \"shuffle\": 1, "
                "\"blocksize\": 0}}\n",
                BLOSC_LEVEL);
    else if (z->packing == TR_ZARR_ZLIB)
        fprintf(out, "{\"id\": \"zlib\", \"level\": %d}}\n", ZLIB_LEVEL);
    else
        fputs("null}\n", out);
}

static void put_array_3(FILE *out, const tr_zarr *z, const size_t size[3])
{
    size_t sample = tr_type_size(z->type);
    fprintf(out,
            "{\"zarr_format\": 3, \"node_type\": \"array\", \"shape\": [%zu, %zu, %zu], "
            "\"data_type\": \"%s\", \"chunk_grid\": {\"name\": \"regular\", "
            "\"configuration\": {\"chunk_shape\": [%zu, %zu, %zu]}}, "
            "\"chunk_key_encoding\": {\"name\": \"default\", \"configuration\": "
            "{\"separator\": \"/\"}}, \"fill_value\": %s, \"attributes\": {}, "
            "\"dimension_names\": [\"z\", \"y\", \"x\"], \"codecs\": [{\"name\": "
            "\"bytes\"%s}",
            size[0], size[1], size[2], type_word(z), z->chunk[0], z->chunk[1],
            z->chunk[2], fill(z),
            sample > 1 ? ", \"configuration\": {\"endian\": \"little\"}" : "");
    if (z->packing == TR_ZARR_BLOSC)
        fprintf(out,
                ", {\"name\": \"blosc\", \"configuration\": {\"typesize\": %zu, "
                "\"cname\": \"lz4\", \"clevel\": %d, \"shuffle\": \"shuffle\", "
                "\"blocksize\": 0}}",
                sample, BLOSC_LEVEL);
    else if (z->packing == TR_ZARR_ZLIB)
        fprintf(out, ", {\"name\": \"gzip\", \"configuration\": {\"level\": %d}}",
                ZLIB_LEVEL);
    fputs("]}\n", out);
}

typedef enum document { GROUP, ATTRIBUTES, ARRAY } document;

static void put(FILE *out, const tr_zarr *z, document which, int level)
{
    size_t size[3];
    tr_zarr_level_size(z, level, size);
    if (which == GROUP && z->version == 2)
        fputs("{\"zarr_format\": 2}\n", out);
    else if (which != ARRAY)
        put_group(out, z);
    else if (z->version == 2)
        put_array_2(out, z, size);
    else
        put_array_3(out, z, size);
}

static bool is_there(const char *path, const char *text, size_t n)
{
    FILE *file = fopen(path, "rbe");
    char *have = file ? tr_calloc("a description", n + 1, 1) : NULL;
    bool same = have && fread(have, 1, n + 1, file) == n && memcmp(have, text, n) == 0;
    free(have);
    if (file)
        fclose(file);
    return same;
}

/* Takes the path. */
static tr_status write_document(char *path, const tr_zarr *z, document which, int level,
                                bool *same)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = path ? open_memstream(&text, &n) : NULL;
    if (!out) {
        free(path);
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a Zarr store's description");
    }
    put(out, z, which, level);
    bool good = fclose(out) == 0;
    tr_status status =
        good ? TR_OK
             : tr_fail(TR_ERR_MEMORY, "not enough memory for a Zarr store's description");
    if (status == TR_OK && !is_there(path, text, n)) {
        *same = false;
        status = tr_write_whole(path, text, n);
    }
    free(text);
    free(path);
    return status;
}

static tr_status make_folder(const char *path)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return TR_OK;
    return tr_fail(TR_ERR_DATA, "the folder %s cannot be made: %s", path,
                   strerror(errno));
}

static tr_status make_level(const char *folder, const tr_zarr *z, int level, bool *same)
{
    char *path = tr_format_string("%s/%d", folder, level);
    tr_status status = path ? make_folder(path) : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = write_document(
            tr_format_string("%s/%s", path, z->version == 2 ? ".zarray" : "zarr.json"), z,
            ARRAY, level, same);
    free(path);
    return status;
}

tr_status tr_zarr_begin(const char *folder, const tr_zarr *z, bool *same)
{
    *same = true;
    TR_TRY(make_folder(folder));
    for (int l = 0; l < TR_ZARR_LEVELS; l++)
        TR_TRY(make_level(folder, z, l, same));
    if (z->version == 2)
        TR_TRY(write_document(tr_format_string("%s/.zattrs", folder), z, ATTRIBUTES, 0,
                              same));
    return write_document(
        tr_format_string("%s/%s", folder, z->version == 2 ? ".zgroup" : "zarr.json"), z,
        GROUP, 0, same);
}

bool tr_zarr_is_store(const char *folder)
{
    static const char *const marks[] = {".zgroup", ".zarray", "zarr.json"};
    bool found = false;
    for (size_t i = 0; i < sizeof marks / sizeof *marks && !found; i++) {
        char *path = tr_format_string("%s/%s", folder, marks[i]);
        found = path && access(path, F_OK) == 0;
        free(path);
    }
    return found;
}

/* ---- chunks ---- */

static char *chunk_path(const char *folder, const tr_zarr *z, int level,
                        const size_t at[3], int depth)
{
    char tail[80];
    int n = snprintf(tail, sizeof tail, "%d%s", level, z->version == 2 ? "" : "/c");
    for (int i = 0; i < depth; i++)
        n += snprintf(tail + n, sizeof tail - (size_t)n, "/%zu", at[i]);
    return tr_format_string("%s/%s", folder, tail);
}

bool tr_zarr_has_chunk(const char *folder, const tr_zarr *z, int level,
                       const size_t at[3])
{
    char *path = chunk_path(folder, z, level, at, 3);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

size_t tr_zarr_room(const tr_zarr *z)
{
    size_t bytes = chunk_voxels(z) * tr_type_size(z->type);
    /* The samples, and what they are packed to, which may be larger. */
    return 2 * bytes + bytes / 100 + ROOM_BESIDE;
}

static size_t deflate_all(const void *samples, size_t n, void *packed, size_t room,
                          bool gzip)
{
    z_stream s = {.next_in = (Bytef *)samples, .next_out = packed};
    if (n > UINT32_MAX || room > UINT32_MAX)
        return 0;
    s.avail_in = (uInt)n;
    s.avail_out = (uInt)room;
    if (deflateInit2(&s, ZLIB_LEVEL, Z_DEFLATED, gzip ? GZIP_WINDOW : MAX_WBITS, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    bool done = deflate(&s, Z_FINISH) == Z_STREAM_END;
    size_t made = s.total_out;
    deflateEnd(&s);
    return done ? made : 0;
}

/* The samples as they go to the disk; 0 where that fails. */
static size_t pack(const tr_zarr *z, const void *samples, size_t n, void *packed,
                   size_t room)
{
#ifdef TR_HAVE_BLOSC
    if (z->packing == TR_ZARR_BLOSC) {
        int made = blosc_compress_ctx(BLOSC_LEVEL, BLOSC_SHUFFLE, tr_type_size(z->type),
                                      n, samples, packed, room, "lz4", 0, 1);
        return made > 0 ? (size_t)made : 0;
    }
#endif
    return deflate_all(samples, n, packed, room, z->version == 3);
}

static tr_status write_new(const char *path, const void *bytes, size_t n)
{
    char *partial = tr_format_string("%s.partial", path);
    if (!partial)
        return TR_ERR_MEMORY;
    int fd = tr_file_create(partial, 0666);
    tr_status status = fd < 0 ? tr_fail(TR_ERR_DATA, "%s cannot be created: %s", partial,
                                        strerror(errno))
                              : tr_write_at(fd, partial, bytes, n, 0);
    bool good = status != TR_OK || fdatasync(fd) == 0 || errno == EINVAL;
    if (fd >= 0)
        good = close(fd) == 0 && good;
    if (status == TR_OK && (!good || rename(partial, path) != 0))
        status = tr_fail(TR_ERR_DATA, "%s cannot be put on the disk: %s", path,
                         strerror(errno));
    free(partial);
    return status;
}

static tr_status make_folders(const char *folder, const tr_zarr *z, int level,
                              const size_t at[3])
{
    tr_status status = TR_OK;
    for (int depth = 0; depth < 3 && status == TR_OK; depth++) {
        char *path = chunk_path(folder, z, level, at, depth);
        status = path ? make_folder(path) : TR_ERR_MEMORY;
        free(path);
    }
    return status;
}

tr_status tr_zarr_write_chunk(const char *folder, const tr_zarr *z, int level,
                              const size_t at[3], const float *values, void *room)
{
    size_t n = chunk_voxels(z), bytes = n * tr_type_size(z->type), made = bytes;
    void *packed = (char *)room + bytes;
    tr_convert_from_float(values, n, z->type, room);
    if (z->packing != TR_ZARR_PLAIN)
        made = pack(z, room, bytes, packed, tr_zarr_room(z) - bytes);
    char *path = chunk_path(folder, z, level, at, 3);
    tr_status status = path ? make_folders(folder, z, level, at) : TR_ERR_MEMORY;
    if (status == TR_OK && !made)
        status = tr_fail(TR_ERR_DATA, "%s cannot be compressed", path);
    if (status == TR_OK)
        status = write_new(path, z->packing == TR_ZARR_PLAIN ? room : packed, made);
    free(path);
    return status;
}
