/* What a GPU can do at most, measured: what the speed of its kernels is set against. */
#ifndef TR_CEILINGS_H
#define TR_CEILINGS_H

#include "common/base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_ceilings {
    double copy;    /* bytes per second within the device, read and written */
    double fma;     /* multiply-adds per second, float */
    double texture; /* fetches per second, one interpolated float each */
} tr_ceilings;

/* On the current device. `quick` does next to nothing, for the emulation. */
TR_CHECKED tr_status tr_measure_ceilings(bool quick, tr_ceilings *c);

#ifdef __cplusplus
}
#endif

#endif
