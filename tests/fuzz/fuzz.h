/* What the fuzzing targets share. A target is one file with one function FUZZ_ENTRY:
 * libFuzzer's own name for it, unless the file that includes it says otherwise
 * (tests/unit/test_regressions.c holds all of them in one program). */
#ifndef TR_FUZZ_H
#define TR_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

#ifndef FUZZ_ENTRY
#define FUZZ_ENTRY LLVMFuzzerTestOneInput
#endif

/* A file with these bytes in TMPDIR, which is best a folder in memory. (One that is only
 * in memory would have no name by which libhdf5 can open it.) */
typedef struct fuzz_file {
    char path[256];
} fuzz_file;

fuzz_file fuzz_file_make(const uint8_t *data, size_t size);
void fuzz_file_remove(fuzz_file *file);

/* End the program, by a signal that the fuzzer reports, unless the condition holds. */
#define FUZZ_REQUIRE(condition)                                                          \
    ((condition) ? (void)0 : fuzz_violated(#condition, __FILE__, __LINE__))
void fuzz_violated(const char *condition, const char *file, int line);

/* What holds of the result of every call: no bug of ours, and a failure is explained. */
void fuzz_check_status(tr_status status);

/* Open the image, look at what is said of it, and read a few rectangles. */
void fuzz_image(const char *path);

int FUZZ_ENTRY(const uint8_t *data, size_t size);

#endif
