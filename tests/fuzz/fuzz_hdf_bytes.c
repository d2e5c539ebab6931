/* Files of the HDF5 library with damage anywhere. The library itself (1.10) reads beyond
 * its buffers in many of them; `run` tells what happens inside it from what is ours. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    static const char signature[8] = "\x89HDF\r\n\x1a\n";
    if (size < sizeof signature)
        return -1;
    uint8_t *copy = malloc(size);
    FUZZ_REQUIRE(copy);
    memcpy(copy, data, size);
    if (!memmem(copy, size < 520 ? size : 520, signature, sizeof signature))
        memcpy(copy, signature, sizeof signature);
    fuzz_file file = fuzz_file_make(copy, size);
    free(copy);
    fuzz_image(file.path);
    fuzz_file_remove(&file);
    return 0;
}
