/* RELION's STAR files. */
#include "fuzz_alignment.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    return fuzz_alignment(tr_star_read, data, size);
}
