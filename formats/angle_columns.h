/* What a table of numbers is about, and which of its columns has the angles: other
 * programs put the views' numbers or exposures first. */
#ifndef TR_ANGLE_COLUMNS_H
#define TR_ANGLE_COLUMNS_H

#include "common/base/err.h"

/* The first columns of a table, row by row; those beyond are not looked at. */
enum { TR_TABLE_COLUMNS = 32 };

/* Whether every row is six numbers that turn, scale or stretch an image by little: lines
 * of an .xf. cells[rows][TR_TABLE_COLUMNS]. */
bool tr_are_transforms(const double *cells, size_t rows, size_t columns);

/* *column, from 0, is the first unless that numbers the views, accumulates, is constant,
 * spans less than 10, goes beyond 360 or is uneven, and another looks like the angles of
 * a series: of both signs, from -90 to 90, about symmetric and evenly spaced, in any
 * order. Errors (TR_ERR_DATA): the first is none, and it is not clear which other is. */
TR_CHECKED tr_status tr_choose_angle_column(const char *path, const double *cells,
                                            size_t rows, size_t columns, size_t *column);

#endif
