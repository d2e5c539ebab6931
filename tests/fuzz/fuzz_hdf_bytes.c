/* Files of the HDF5 library with damage anywhere. The library itself (1.10) reads beyond
 * its buffers in many of them; `run` tells what happens inside it from what is ours. */
#include <string.h>

#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    if (!memmem(data, size < 1024 ? size : 1024, "HDF\r\n", 5))
        return -1;
    fuzz_file file = fuzz_file_make(data, size);
    fuzz_image(file.path);
    fuzz_file_remove(&file);
    return 0;
}
