/* Whether angles can be those of a tilt series, wherever they come from. `source` is the
 * file as messages name it; an angle that is not known is NaN, and not looked at. */
#ifndef TR_ANGLE_CHECKS_H
#define TR_ANGLE_CHECKS_H

#include "common/views/views.h"

/* The tilts of all views of a series, in degrees, before any is left out: errors
 * (TR_ERR_DATA) where all are equal, unless the x-tilts differ, and where they are
 * radians for all that can be seen; warnings where they span less than 10 degrees or
 * number the views. Silent for two views, and for small spans in twentieths of a degree:
 * someone has chosen them. */
TR_CHECKED tr_status tr_check_tilts(const char *source, const double *tilts, size_t n,
                                    bool xtilts_differ);
/* The x-tilts of these views: an error where they are their tilts, a warning beyond 20
 * degrees. */
TR_CHECKED tr_status tr_check_xtilts(const char *source, const tr_views *views);

/* How two lists of n angles of the same views go together. The same angles: within a
 * degree, as those before and after alignment are. */
typedef enum tr_angle_order {
    TR_OTHER_ANGLES,
    TR_SAME_ORDER,
    TR_ANOTHER_ORDER
} tr_angle_order;
TR_CHECKED tr_status tr_compare_angles(const double *a, const double *b, size_t n,
                                       tr_angle_order *order);

/* Whether they only rise or only fall; equal ones do not matter. */
bool tr_are_sorted(const double *angles, size_t n);

#endif
