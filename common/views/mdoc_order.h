/* In which order an mdoc has the views of a series. */
#ifndef TR_MDOC_ORDER_H
#define TR_MDOC_ORDER_H

#include "common/views/angle_checks.h"
#include "formats/format.h"

typedef struct tr_mdoc_order {
    /* By minimum, maximum and mean of views, which are those of one section each;
     * TR_OTHER_ANGLES where they tell nothing. */
    tr_angle_order proof;
    size_t view,
        section; /* of another order: the first view found elsewhere, and where */
    /* By how the means go up and down, where the values are others than at acquisition.
     */
    tr_angle_order seems;
} tr_mdoc_order;

/* Reads a few views of the image, whole, where the mdoc has their statistics. The mdoc
 * has as many sections as the image. Errors: those of tr_image_read, TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_mdoc_find_order(const tr_mdoc *mdoc, tr_image *image,
                                        tr_mdoc_order *order);

#endif
