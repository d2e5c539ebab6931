#include "formats/png.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "formats/file_io.h"

/* What libpng has written so far. */
typedef struct growing {
    uint8_t *bytes;
    size_t n, room;
} growing;

static void fail_quietly(png_structp png, png_const_charp text)
{
    (void)text; /* the only reasons are memory and our own arguments */
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void append(png_structp png, png_bytep data, size_t n)
{
    growing *g = png_get_io_ptr(png);
    if (n > g->room - g->n) {
        size_t room = g->room + n > SIZE_MAX / 2 ? SIZE_MAX : 2 * (g->room + n);
        uint8_t *larger = realloc(g->bytes, room);
        if (!larger)
            png_error(png, "memory");
        g->bytes = larger;
        g->room = room;
    }
    memcpy(g->bytes + g->n, data, n);
    g->n += n;
}

static void no_flush(png_structp png) { (void)png; }

/* Apart, so that no local variable lives across the setjmp. */
static bool encode(png_structp png, png_infop info, const uint8_t *pixels, size_t width,
                   size_t height, int channels)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8,
                 channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < height; y++)
        png_write_row(png, pixels + y * width * (size_t)channels);
    png_write_end(png, NULL);
    return true;
}

tr_status tr_png_encode(const uint8_t *pixels, size_t width, size_t height, int channels,
                        uint8_t **bytes, size_t *n)
{
    growing g = {0};
    *bytes = NULL;
    *n = 0;
    if (width < 1 || height < 1 || width > PNG_UINT_31_MAX || height > PNG_UINT_31_MAX ||
        (channels != 1 && channels != 3))
        return tr_fail(TR_ERR_INTERNAL,
                       "a picture of %zu x %zu pixels of %d channels cannot be a PNG",
                       width, height, channels);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, fail_quietly,
                                              ignore_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool good = info != NULL;
    if (good) {
        png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
        png_set_write_fn(png, &g, append, no_flush);
        good = encode(png, info, pixels, width, height, channels);
    }
    png_destroy_write_struct(&png, &info);
    if (!good) {
        free(g.bytes);
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a picture of %zu x %zu",
                       width, height);
    }
    *bytes = g.bytes;
    *n = g.n;
    return TR_OK;
}

tr_status tr_png_write(const char *path, const uint8_t *pixels, size_t width,
                       size_t height, int channels)
{
    uint8_t *bytes = NULL;
    size_t n = 0;
    TR_TRY(tr_png_encode(pixels, width, height, channels, &bytes, &n));
    tr_status status = tr_write_whole(path, bytes, n);
    free(bytes);
    return status;
}
