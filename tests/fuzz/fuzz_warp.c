/* Warp's .xml, or its .tomostar where the fourth byte is odd. */
#include <string.h>

#include "fuzz_alignment.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    uint8_t bytes[1 << 16];
    if (size < 4 || size > sizeof bytes)
        return -1;
    memcpy(bytes, data, 3);
    memcpy(bytes + 3, data + 4, size - 4);
    return fuzz_alignment(data[3] % 2 ? tr_tomostar_views_read : tr_warp_xml_read, bytes,
                          size - 1);
}
