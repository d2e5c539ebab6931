/* A table of a STAR file to be changed and written again: all columns and rows stay as
 * they are, also those that nobody here knows. */
#ifndef TR_STAR_SHEET_H
#define TR_STAR_SHEET_H

#include <stdio.h>

#include "common/base/err.h"

/* All strings from malloc; freed by tr_star_sheet_free, also after an error. */
typedef struct tr_star_sheet {
    char *block; /* behind "data_" */
    size_t n_columns, n_rows;
    char **label; /* [n_columns], with their '_' */
    char **cell;  /* [n_rows][n_columns]; NULL: not given yet */
} tr_star_sheet;

/* The table that has the column `key`. With no such file it is empty and of that block.
 * Errors (TR_ERR_DATA): the file cannot be read, has another table, none with the column,
 * or is damaged. */
TR_CHECKED tr_status tr_star_sheet_read(const char *path, const char *block,
                                        const char *key, tr_star_sheet *sheet);
void tr_star_sheet_free(tr_star_sheet *sheet);

/* The first row with this value in the column, or n_rows. */
size_t tr_star_sheet_find(const tr_star_sheet *sheet, const char *label,
                          const char *value);
/* The cell; NULL: there is no such column, or the cell is not given. */
const char *tr_star_sheet_get(const tr_star_sheet *sheet, size_t row, const char *label);
/* Set it, with a new row where `row` is n_rows, and a new column where there is none. */
TR_CHECKED tr_status tr_star_sheet_set(tr_star_sheet *sheet, size_t row,
                                       const char *label, const char *value);
/* As RELION writes it; errors are the file's. Cells that are not given are "". */
void tr_star_sheet_put(const tr_star_sheet *sheet, FILE *out);

#endif
