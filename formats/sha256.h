/* Checksums of files, as sha256sum prints them (FIPS 180-4). */
#ifndef TR_SHA256_H
#define TR_SHA256_H

#include <stdint.h>

#include "common/base/err.h"

typedef struct tr_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64];
} tr_sha256;

void tr_sha256_begin(tr_sha256 *s);
void tr_sha256_add(tr_sha256 *s, const void *data, size_t n);
/* The 64 digits and a zero byte. */
void tr_sha256_end(tr_sha256 *s, char text[65]);

#endif
