/* Small charts as inline SVG; colours come from the page's style (classes axis, grid,
 * curve, dot, bad, limit). */
#ifndef TR_CHART_H
#define TR_CHART_H

#include <stdbool.h>
#include <stdio.h>

typedef struct tr_chart_limit { /* a horizontal line with words on it */
    double y;
    const char *text;
} tr_chart_limit;

typedef struct tr_chart {
    const char *title;             /* for who cannot see it: what the chart shows */
    const char *x_label, *y_label; /* with units */
    size_t n;
    const double *x, *y;     /* those that are not finite are left out */
    const bool *marked;      /* drawn apart, with `name`; NULL: none */
    const size_t *name;      /* a number for each point; NULL: none */
    const char *name_prefix; /* "view " */
    bool line, dots, log_y;
    double x_low, x_high, y_low, y_high; /* what is shown at least; NAN: as the data */
    tr_chart_limit limits[4];
    size_t n_limits;
    double x_step; /* between the numbers at x; 0: a round one that fits */
    double x_per;  /* > 0: below each x stands x_per / x with `x_unit` */
    const char *x_unit;
} tr_chart;

void tr_chart_svg(FILE *out, const tr_chart *chart);

/* Round numbers that divide [low, high] into `wanted` parts or a few more: the step. */
double tr_chart_step(double low, double high, int wanted);

#endif
