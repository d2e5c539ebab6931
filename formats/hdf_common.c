#include "hdf_common.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static hid_t file_access;

static void set_up(void)
{
    /* A file that could not be closed because the disk is full stays in HDF5's tables,
     * and its cleaning up at exit crashes on it. All our files are closed by then. */
    H5dont_atexit();
    file_access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(file_access, false, true);
#endif
}

void tr_hdf_enter(void)
{
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5Eclear2(H5E_DEFAULT);
}

void tr_hdf_leave(void) { pthread_mutex_unlock(&lock); }

enum { REASON_BYTES = 200 };

/* Keep the description of the innermost error, which comes first. */
static herr_t keep_first(unsigned n, const H5E_error2_t *error, void *reason)
{
    if (n == 0 && error->desc)
        snprintf(reason, REASON_BYTES, "%s", error->desc);
    return 0;
}

tr_status tr_hdf_fail(const char *path, const char *format, ...)
{
    char sentence[200], reason[REASON_BYTES] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, reason);
    if (!reason[0])
        return tr_fail(TR_ERR_DATA, "%s: %s", path, sentence);
    return tr_fail(TR_ERR_DATA, "%s: %s (HDF5: %s)", path, sentence, reason);
}

hid_t tr_hdf_access(void) { return file_access; }
