/* Conversion between float32 and the sample types of the files, whose loops are in
 * kernels/cpu/samples.c. */
#include <string.h>

#include "formats/format.h"
#include "kernels/samples.h"

_Static_assert(TR_INT8 == 0 && TR_UINT8 == 1 && TR_INT16 == 2 && TR_UINT16 == 3 &&
                   TR_FLOAT32 == 4 && TR_FLOAT16 == 5,
               "the tables of tr_samples are in this order");

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [TR_INT8] = {"int8", 1},       [TR_UINT8] = {"uint8", 1},
    [TR_INT16] = {"int16", 2},     [TR_UINT16] = {"uint16", 2},
    [TR_FLOAT32] = {"float32", 4}, [TR_FLOAT16] = {"float16", 2},
    [TR_UINT4] = {"uint4", 0},     [TR_INT32] = {"int32", 0},
    [TR_UINT32] = {"uint32", 0},   [TR_INT64] = {"int64", 0},
    [TR_UINT64] = {"uint64", 0},   [TR_FLOAT64] = {"float64", 0},
};

size_t tr_type_size(tr_type type) { return types[type].size; }
const char *tr_type_name(tr_type type) { return types[type].name; }

void tr_convert_from_float(const float *in, size_t n, tr_type type, void *out)
{
    TR_ASSERT(tr_type_is_written(type));
    if (type == TR_FLOAT32)
        memmove(out, in, n * sizeof *in);
    else if (tr_type_is_written(type))
        tr_samples_best()->from_float[type](in, n, out);
}

void tr_convert_to_float(const void *in, size_t n, tr_type type, float *out)
{
    TR_ASSERT(type == TR_UINT4 || tr_type_is_written(type)); /* others: of HDF5 only */
    if (type == TR_FLOAT32)
        memcpy(out, in, n * sizeof *out);
    else if (tr_type_is_written(type))
        tr_samples_best()->to_float[type](in, n, out);
    for (size_t i = 0; type == TR_UINT4 && i < n; i++) /* the first of a pair is low */
        out[i] = ((const unsigned char *)in)[i / 2] >> (i % 2 ? 4 : 0) & 15;
}
