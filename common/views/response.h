/* What the microscope and the exposure make of each frequency of a view: CTF (ctf.h)
 * times what the exposure has left (dose.h), where either is wanted. */
#ifndef TR_VIEW_RESPONSE_H
#define TR_VIEW_RESPONSE_H

#include "common/options/view_params.h"
#include "common/views/views.h"

/* Whether there is any. */
bool tr_view_responds(const tr_view_params *params);

/* Of an image of nx x ny pixels of so many angstroms: response[nx][ny/2 + 1], real and
 * even; ny, along y, is the half axis. From any thread. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_view_response(const tr_view_params *params, const tr_view *view,
                                      double pixel, size_t nx, size_t ny,
                                      float *response);

/* How many pixels it spreads a point, rounded up: lambda f |df| at the highest frequency,
 * and 16 for the weights of exposure. */
size_t tr_view_spread(const tr_view_params *params, const tr_view *view, double pixel);

#endif
