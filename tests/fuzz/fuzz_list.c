/* Lists of views such as 1-4,7. The first byte is the number of views. */
#include <stdlib.h>
#include <string.h>

#include "common/options/opt.h"
#include "fuzz.h"

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    if (size == 0)
        return -1;
    size_t n = data[0];
    char *list = malloc(size);
    bool *marks = calloc(n ? n : 1, sizeof *marks);
    FUZZ_REQUIRE(list && marks);
    memcpy(list, data + 1, size - 1);
    list[size - 1] = '\0';
    tr_status status = tr_list_expand("--exclude", list, n, marks);
    FUZZ_REQUIRE(status == TR_OK || (status == TR_ERR_USAGE && *tr_error()));
    size_t marked = 0;
    for (size_t k = 0; k < n; k++)
        marked += marks[k];
    FUZZ_REQUIRE(status != TR_OK || marked > 0);
    free(marks);
    free(list);
    return 0;
}
