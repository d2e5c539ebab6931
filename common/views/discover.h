/* Which series a folder offers when none is named. */
#ifndef TR_DISCOVER_H
#define TR_DISCOVER_H

#include "common/base/err.h"

/* Strings from malloc; freed by tr_discovery_free. */
typedef struct tr_discovery {
    char *series;   /* the one aligned series, or the one raw one */
    char *imod_com; /* tilt.com when there is one that is about this series, or NULL */
} tr_discovery;

/* Look in `folder` ("." normally) for one series with its angles, in sidecars.h's sense
 * or from tilt.com: first those that are aligned as their names say, then those made from
 * them, then raw ones; never *_rec.* or *.rec. Errors: none found (TR_ERR_USAGE: says
 * what was looked for), several (lists them). */
TR_CHECKED tr_status tr_discover(const char *folder, tr_discovery *found);
void tr_discovery_free(tr_discovery *found);

#endif
