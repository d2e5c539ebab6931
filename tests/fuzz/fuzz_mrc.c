/* MRC files, also packed with gzip. */
#include <string.h>

#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    /* HDF5 has targets of its own; packed, the fuzzer hardly finds it. */
    if (memmem(data, size < 1024 ? size : 1024, "HDF\r\n", 5))
        return -1;
    fuzz_file file = fuzz_file_make(data, size);
    fuzz_image(file.path);
    fuzz_file_remove(&file);
    return 0;
}
