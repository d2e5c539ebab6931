/* AreTomo's alignment file (.aln). */
#include "fuzz_alignment.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    return fuzz_alignment(tr_aln_read, data, size);
}
