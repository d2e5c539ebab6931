/* TIFF files. */
#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    if (size < 8 || (data[0] != 'I' && data[0] != 'M') || data[0] != data[1])
        return -1;
    fuzz_file file = fuzz_file_make(data, size);
    fuzz_image(file.path);
    fuzz_file_remove(&file);
    return 0;
}
