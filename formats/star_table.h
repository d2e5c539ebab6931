/* The tables of a STAR file, one after another. */
#ifndef TR_STAR_TABLE_H
#define TR_STAR_TABLE_H

#include "formats/text_file.h"

enum { TR_STAR_COLUMNS = 256 };

/* A "loop_" with its rows; the strings belong to the text. */
typedef struct tr_star_table {
    const char *block;
    const char *labels[TR_STAR_COLUMNS];
    size_t n_columns, n_rows;
    char **cells; /* [row][column], NULL where a row is too short */
    size_t *lines;
    size_t uneven_line, uneven_n; /* the first row of another length, or 0 */
} tr_star_table;

typedef struct tr_star_reader {
    tr_text text;
    const char *block;
    char *line; /* the next one */
} tr_star_reader;

/* To the next line: before the first table, once. */
void tr_star_advance(tr_star_reader *r);
/* The next table, to be freed; one without columns at the end of the file. */
TR_CHECKED tr_status tr_star_next(tr_star_reader *r, tr_star_table *t);
void tr_star_free(tr_star_table *t);

/* Before the first table: whether the text begins as a STAR file. */
bool tr_star_begins(const tr_star_reader *r);
/* Whether its rows are the views of a series, with angles or matrices. */
bool tr_star_is_of_views(const tr_star_table *t);
bool tr_star_has_matrices(const tr_star_table *t); /* RELION 4 */

/* Paths in STAR files begin in RELION's project folder: that is the current folder, or
 * one of those above the file. *path, from malloc, is one that can be read; TR_ERR_DATA
 * and NULL where there is none. */
TR_CHECKED tr_status tr_star_find_file(const char *star, const char *name, char **path);

/* The column of that name, or -1. */
int tr_star_column(const tr_star_table *t, const char *label);
/* TR_ERR_DATA where there are no rows, or one is longer or shorter than the table; after
 * it all cells are there. */
TR_CHECKED tr_status tr_star_check_rows(const tr_star_reader *r, const tr_star_table *t);
/* A number; 0 where col is -1. */
TR_CHECKED tr_status tr_star_number(const tr_star_reader *r, const tr_star_table *t,
                                    size_t row, int col, double *value);
/* One that a row may lack, and then NaN: no column, or what pandas writes for none. */
TR_CHECKED tr_status tr_star_number_or_nan(const tr_star_reader *r,
                                           const tr_star_table *t, size_t row,
                                           const char *label, double *value);
/* The section before an '@' in the name, from 1; 0 if there is none. */
size_t tr_star_section(const char *name);
/* Whether every row names a section in that column, all of one file. */
bool tr_star_has_sections(const tr_star_table *t, int names);

#endif
