/* RELION's STAR files as series, as what leads to one, and as a table that is written
 * again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/star_series.h"
#include "formats/star_sheet.h"
#include "fuzz.h"

/* A table that was set and put is read as it was. */
static void write_again(tr_star_sheet *sheet)
{
    char *text = NULL;
    size_t size = 0;
    tr_star_sheet again;
    if (tr_star_sheet_set(sheet, sheet->n_rows, "_rlnTomoName", "TS 1") != TR_OK)
        return;
    FILE *out = open_memstream(&text, &size);
    tr_star_sheet_put(sheet, out);
    fclose(out);
    fuzz_file file = fuzz_file_make((const uint8_t *)text, size);
    if (tr_star_sheet_read(file.path, "global", "_rlnTomoName", &again) == TR_OK) {
        FUZZ_REQUIRE(again.n_columns == sheet->n_columns);
        FUZZ_REQUIRE(again.n_rows == sheet->n_rows);
        FUZZ_REQUIRE(tr_star_sheet_find(&again, "_rlnTomoName", "TS 1") ==
                     tr_star_sheet_find(sheet, "_rlnTomoName", "TS 1"));
    }
    tr_star_sheet_free(&again);
    fuzz_file_remove(&file);
    free(text);
}

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    fuzz_file file = fuzz_file_make(data, size);
    tr_star_lead lead;
    tr_star_sheet sheet;
    char *name = NULL;
    (void)tr_star_leads(file.path);
    tr_status status = tr_star_lead_read(file.path, "TS_1", &lead);
    fuzz_check_status(status);
    if (status == TR_OK)
        FUZZ_REQUIRE(strcmp(lead.name, "TS_1") == 0 && lead.series);
    tr_star_lead_free(&lead);
    fuzz_check_status(tr_star_series_name(file.path, &name));
    free(name);
    status = tr_star_sheet_read(file.path, "global", "_rlnTomoName", &sheet);
    fuzz_check_status(status);
    if (status == TR_OK)
        write_again(&sheet);
    tr_star_sheet_free(&sheet);
    if (tr_star_is_series(file.path))
        fuzz_image(file.path);
    fuzz_file_remove(&file);
    return 0;
}
