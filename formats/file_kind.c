/* The order of the tables matters only where one magic begins another. Sources: the
 * formats' own pages and file(1)'s description of them; for DM3 and DM4 the layout that
 * IMOD's dm2mrc reads, for EM the header of the TOM toolbox. */
#include "formats/file_kind.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "formats/format.h"

typedef struct magic {
    size_t at, length;
    const char *bytes;
    const char *name, *as_image, *as_text;
} magic;

#define MAGIC(at, bytes) (at), sizeof(bytes) - 1, (bytes)

static const char by_dm2mrc[] = "convert it with IMOD's dm2mrc or newstack";
static const char by_tiff[] = "convert it to TIFF";
static const char by_mrcfile[] =
    "write its array [view][row][column] as MRC, for instance with the Python package "
    "mrcfile";
static const char by_fiji[] = "convert it to TIFF with Fiji";
static const char write_text[] = "write the numbers as text, one view a line";
static const char by_gunzip[] = "unpack it with gunzip";
static const char by_bunzip2[] = "unpack it with bunzip2";
static const char by_unxz[] = "unpack it with unxz";
static const char by_zstd[] = "unpack it with unzstd";
static const char by_unlz4[] = "unpack it with unlz4";
static const char by_uncompress[] = "unpack it with uncompress";
static const char by_unzip[] = "unpack it with unzip";
static const char by_7z[] = "unpack it with 7z x";
static const char by_tar[] = "unpack it with tar -xf";
static const char name_series[] = "name the series itself";
static const char by_lfs[] = "get the file that it stands for with git lfs pull";
static const char by_annex[] = "get the file that it stands for with git annex get";
static const char save_plain[] = "save it as plain text";
static const char load_again[] = "perhaps a download that failed; get the file again";

static const magic magics[] = {
    {MAGIC(0, "II*\0"), "a TIFF image", NULL, NULL},
    {MAGIC(0, "MM\0*"), "a TIFF image", NULL, NULL},
    {MAGIC(0, "II+\0"), "a BigTIFF image or an EER movie", NULL, NULL},
    {MAGIC(0, "MM\0+"), "a BigTIFF image or an EER movie", NULL, NULL},
    {MAGIC(0, "II\x97\x01"), "a SER file of TIA", by_fiji, NULL},
    {MAGIC(0, "\x89PNG\r\n\x1a\n"), "a PNG image", by_tiff, NULL},
    {MAGIC(0, "\xff\xd8\xff"), "a JPEG image", by_tiff, NULL},
    {MAGIC(0, "\0\0\0\x0cjP  "), "a JPEG 2000 image", by_tiff, NULL},
    {MAGIC(0, "GIF8"), "a GIF image", by_tiff, NULL},
    {MAGIC(0, "\x93NUMPY"), "an array of NumPy (.npy)", by_mrcfile, write_text},
    {MAGIC(0, "\x80\x04\x95"), "a pickle of Python", by_mrcfile, write_text},
    {MAGIC(0, "\x80\x05\x95"), "a pickle of Python", by_mrcfile, write_text},
    {MAGIC(0, "MATLAB 5.0"), "a MAT-file of MATLAB", by_mrcfile, write_text},
    {MAGIC(0, "MATLAB 7.3"), "a MAT-file of MATLAB", by_mrcfile, write_text},
    {MAGIC(0, "\x1f\x8b"), "a gzip file", by_gunzip, by_gunzip},
    {MAGIC(0, "BZh"), "a bzip2 file", by_bunzip2, by_bunzip2},
    {MAGIC(0, "\xfd"
              "7zXZ\0"),
     "an xz file", by_unxz, by_unxz},
    {MAGIC(0, "\x28\xb5\x2f\xfd"), "a Zstandard file", by_zstd, by_zstd},
    {MAGIC(0, "\x04\x22\x4d\x18"), "an LZ4 file", by_unlz4, by_unlz4},
    {MAGIC(0, "\x1f\x9d"), "a compress file (.Z)", by_uncompress, by_uncompress},
    {MAGIC(0, "PK\x03\x04"), "a ZIP archive (.zip, .npz)", by_unzip, by_unzip},
    {MAGIC(0, "PK\x05\x06"), "an empty ZIP archive", NULL, NULL},
    {MAGIC(0, "7z\xbc\xaf\x27\x1c"), "a 7z archive", by_7z, by_7z},
    {MAGIC(0, "Rar!\x1a\x07"), "a RAR archive", by_7z, by_7z},
    {MAGIC(257, "ustar"), "a tar archive", by_tar, by_tar},
    {MAGIC(0, "SIMPLE  ="), "a FITS image", by_fiji, NULL},
    {MAGIC(0, "NRRD000"), "an NRRD image", by_fiji, NULL},
    {MAGIC(344, "n+1\0"), "a NIfTI image", by_fiji, NULL},
    {MAGIC(128, "DICM"), "a DICOM image", by_fiji, NULL},
    {MAGIC(0, "CDF\x01"), "a netCDF file", by_mrcfile, write_text},
    {MAGIC(0, "CDF\x02"), "a netCDF file", by_mrcfile, write_text},
    {MAGIC(0, "CDF\x05"), "a netCDF file", by_mrcfile, write_text},
    {MAGIC(0, "\x0e\x03\x13\x01"), "an HDF4 file, not HDF5", by_mrcfile, write_text},
    {MAGIC(0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
     "a file of Microsoft's OLE (Zeiss' .txrm, .xrm, .xls)", by_tiff, write_text},
    {MAGIC(0, "SQLite format 3"), "an SQLite database", NULL, NULL},
    {MAGIC(0, "%PDF-"), "a PDF", NULL, NULL},
    {MAGIC(0, "IMODV1."), "an IMOD model", name_series, NULL},
    {MAGIC(0, "# vtk DataFile"), "a VTK file", by_mrcfile, NULL},
    {MAGIC(0, "version https://git-lfs"), "a pointer of Git LFS", by_lfs, by_lfs},
    {MAGIC(0, "/annex/objects/"), "a pointer of git-annex", by_annex, by_annex},
};
enum { N_MAGICS = sizeof magics / sizeof magics[0] };

static uint32_t big_endian(const unsigned char *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static uint32_t little_endian(const unsigned char *b)
{
    return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

/* Version, length, byte order (0 or 1), then two flags of the first group of tags. */
static bool is_digital_micrograph(const unsigned char *head, size_t n, uint32_t version)
{
    size_t order = version == 3 ? 8 : 12;
    return n >= order + 6 && big_endian(head) == version &&
           big_endian(head + order) <= 1 && head[order + 4] <= 1 && head[order + 5] <= 1;
}

/* A machine's number, a type's, and three sizes. In either byte order the first four
 * bytes would be an impossible width of an MRC file. */
static bool is_em(const unsigned char *head, size_t n)
{
    if (n < 512 || head[0] < 1 || head[0] > 6 || head[1] > 1 || head[2] > 1 ||
        head[3] == 0 || head[3] > 9)
        return false;
    for (size_t i = 4; i < 16; i += 4) {
        uint32_t size =
            head[0] == 6 || head[0] == 1 ? little_endian(head + i) : big_endian(head + i);
        if (size < 1 || size > 65536)
            return false;
    }
    return true;
}

static bool binary_kind(const unsigned char *head, size_t n, tr_file_kind *kind)
{
    for (size_t i = 0; i < N_MAGICS; i++) {
        const magic *m = &magics[i];
        if (n < m->at + m->length || memcmp(head + m->at, m->bytes, m->length) != 0)
            continue;
        *kind = (tr_file_kind){.as_image = m->as_image, .as_text = m->as_text};
        snprintf(kind->name, sizeof kind->name, "%s", m->name);
        return true;
    }
    if (is_digital_micrograph(head, n, 3) || is_digital_micrograph(head, n, 4))
        *kind = (tr_file_kind){.name = "a DM3 or DM4 image of DigitalMicrograph",
                               .as_image = by_dm2mrc};
    else if (is_em(head, n))
        *kind = (tr_file_kind){.name = "an EM image (TOM toolbox, Dynamo)",
                               .as_image = by_mrcfile};
    else
        return false;
    return true;
}

/* ---- texts ---- */

static const char warp_angles[] =
    "it has angles and alignment, so give it with --tilts, or write the numbers as text, "
    "one view a line; Warp's angles have the other sign than IMOD's, which is that "
    "needed here, unless it was told not to invert them";
static const char tilt_columns[] =
    "of STAR files, RELION's _rlnTomoYTilt or _rlnTomoNominalStageTiltAngle is read; or "
    "write the numbers as text, one view a line";
static const char as_tilts[] = "it names no images of views (_rlnMicrographName); name "
                               "the series, and RELION's file "
                               "of its views with --tilts";

typedef struct text_mark {
    const char *mark; /* anywhere in the head */
    const char *name, *as_text;
} text_mark;

static const text_mark xml_marks[] = {
    {"<TiltSeries", "an XML file of Warp", warp_angles},
    {"", "an XML file", write_text},
};
static const text_mark star_marks[] = {
    {"_wrpAngleTilt", "a STAR file of Warp (.tomostar)", warp_angles},
    {"stopgap_wedgelist", "a wedge list of STOPGAP", write_text},
    {"", "a STAR file", tilt_columns},
};

static void mark_kind(const char *text, const text_mark *marks, tr_file_kind *kind)
{
    while (!strstr(text, marks->mark))
        marks++;
    *kind = (tr_file_kind){.as_image = name_series, .as_text = marks->as_text};
    snprintf(kind->name, sizeof kind->name, "%s", marks->name);
}

/* " with the columns _a, _b, ..." behind the kind's name. */
static void add_columns(const char *text, tr_file_kind *kind)
{
    enum { MOST = 6 };
    size_t found = 0;
    for (const char *line = text; line && found <= MOST;
         line = (line = strchr(line, '\n')) ? line + 1 : NULL) {
        line += strspn(line, " \t");
        if (*line != '_')
            continue;
        size_t used = strlen(kind->name);
        found++;
        snprintf(kind->name + used, sizeof kind->name - used, "%s%.*s",
                 found == 1 ? " with the columns " : ", ",
                 found > MOST ? 3 : (int)strcspn(line, " \t\r\n"),
                 found > MOST ? "..." : line);
    }
}

/* Windows calls it Unicode. The first two bytes could be the columns of an image. */
static bool is_utf16(const unsigned char *head, size_t n)
{
    return n >= 2 &&
           ((head[0] == 0xff && head[1] == 0xfe) || (head[0] == 0xfe && head[1] == 0xff));
}

static bool begins(const char *text, const char *with)
{
    return strncasecmp(text, with, strlen(with)) == 0;
}

/* A '[' begins JSON, and SerialEM's mdoc: "[ZValue = 0]", "[T = ...]". */
static bool is_json(const char *text)
{
    if (*text == '{')
        return true;
    if (*text != '[')
        return false;
    text += 1 + strspn(text + 1, " \t\r\n");
    return *text && (strchr("{[\"-]", *text) || isdigit((unsigned char)*text));
}

static bool text_kind(const unsigned char *head, size_t n, tr_file_kind *kind)
{
    char copy[TR_KIND_BYTES + 1];
    n = n < TR_KIND_BYTES ? n : TR_KIND_BYTES;
    memcpy(copy, head, n);
    copy[n] = '\0';
    const char *text = copy + (begins(copy, "\xEF\xBB\xBF") ? 3 : 0);
    for (text += strspn(text, " \t\r\n"); *text == '#';) {
        text += strcspn(text, "\n");
        text += strspn(text, " \t\r\n");
    }
    *kind = (tr_file_kind){.as_image = name_series, .as_text = write_text};
    if (begins(text, "<!doctype html") || begins(text, "<html")) {
        *kind = (tr_file_kind){"a web page", load_again, load_again};
    } else if (*text == '<') {
        mark_kind(text, xml_marks, kind);
    } else if (begins(text, "{\\rtf")) {
        *kind = (tr_file_kind){"an RTF document", name_series, save_plain};
    } else if (is_json(text)) {
        snprintf(kind->name, sizeof kind->name, "a JSON file");
    } else if (begins(text, "data_") || begins(text, "loop_")) {
        mark_kind(text, star_marks, kind);
        if (kind->as_text == tilt_columns)
            kind->as_image = as_tilts;
        add_columns(text, kind);
    } else if (*text == '$') {
        *kind = (tr_file_kind){"a command file of IMOD", "give it with --imod-com",
                               "give it with --imod-com"};
    } else {
        return false;
    }
    return true;
}

bool tr_bytes_are_text(const unsigned char *head, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((head[i] < ' ' && !(head[i] >= '\b' && head[i] <= '\r')) || head[i] >= 0xf8)
            return false;
    return true;
}

bool tr_file_kind_of(const unsigned char *head, size_t n, tr_file_kind *kind)
{
    return binary_kind(head, n, kind) ||
           (tr_bytes_are_text(head, n) && text_kind(head, n, kind));
}

tr_status tr_refuse_kind(const char *path, const unsigned char *head, size_t n,
                         const char *needed)
{
    tr_file_kind kind = {.as_text = NULL};
    bool text = tr_bytes_are_text(head, n);
    if (is_utf16(head, n))
        kind = (tr_file_kind){"a text in UTF-16", NULL, save_plain};
    else if (!text && tr_format_hdf.probe(head, n))
        snprintf(kind.name, sizeof kind.name, "an HDF5 file");
    else if (!text && n >= 212 && memcmp(head + 208, "MAP", 3) == 0)
        snprintf(kind.name, sizeof kind.name, "an MRC image");
    else if (!tr_file_kind_of(head, n, &kind)) {
        if (text || !tr_format_mrc.probe(head, n))
            return TR_OK;
        snprintf(kind.name, sizeof kind.name, "an MRC image");
    }
    return tr_fail(TR_ERR_DATA, "%s is %s; %s is needed%s%s", path, kind.name, needed,
                   kind.as_text ? ": " : "", kind.as_text ? kind.as_text : "");
}

FILE *tr_open_without_waiting(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *file = fd >= 0 ? fdopen(fd, "rb") : NULL;
    if (fd >= 0 && !file)
        close(fd);
    return file;
}

tr_status tr_refuse_other_kind(const char *path, const char *needed)
{
    unsigned char head[TR_KIND_BYTES];
    FILE *file = tr_open_without_waiting(path);
    if (!file)
        return TR_OK; /* the reader says why */
    size_t n = fread(head, 1, sizeof head, file);
    fclose(file);
    return tr_refuse_kind(path, head, n, needed);
}
