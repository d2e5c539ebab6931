#include "formats/hdf_common.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static hid_t file_access, nameless_access;

/* Of the link to another file met since tr_hdf_enter; "" for none. */
static char linked[256];

/* In place of the library's way into another file. */
#if H5L_LINK_CLASS_T_VERS > 0
static hid_t meet_link(const char *name, hid_t group, const void *data, size_t size,
                       hid_t access, hid_t transfer)
#else
static hid_t meet_link(const char *name, hid_t group, const void *data, size_t size,
                       hid_t access)
#endif
{
    const char *file = "?", *object;
    (void)name;
    (void)group;
    (void)access;
#if H5L_LINK_CLASS_T_VERS > 0
    (void)transfer;
#endif
    (void)H5Lunpack_elink_val(data, size, NULL, &file, &object);
    snprintf(linked, sizeof linked, "%s", file);
    return -1;
}

static void set_up(void)
{
    static const H5L_class_t links = {.version = H5L_LINK_CLASS_T_VERS,
                                      .id = H5L_TYPE_EXTERNAL,
                                      .comment = "not followed",
                                      .trav_func = meet_link};
    /* A file that could not be closed because the disk is full stays in HDF5's tables,
     * and its cleaning up at exit crashes on it. All our files are closed by then. */
    H5dont_atexit();
    file_access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(file_access, false, true);
#endif
    /* The usual driver asks for the real path of what is a link, and there is none. */
    nameless_access = H5Pcopy(file_access);
    H5Pset_fapl_stdio(nameless_access);
    if (H5Lregister(&links) < 0)
        H5Lunregister(H5L_TYPE_EXTERNAL); /* followed in no case */
}

void tr_hdf_enter(void)
{
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5Eclear2(H5E_DEFAULT);
    linked[0] = '\0';
}

void tr_hdf_leave(void) { pthread_mutex_unlock(&lock); }

bool tr_hdf_met_link(void) { return linked[0] != '\0'; }

enum { REASON_BYTES = 200 };

/* What HDF5 says for a user: "file read failed: time = ..., filename = ..., errno = 5,
 * error message = 'Input/output error', buf = ..." becomes "file read failed:
 * Input/output error". What is still too long ends at a word. */
static void tidy(const char *said, char *reason)
{
    static const char system[] = "error message = '";
    const char *why = strstr(said, system);
    size_t head = strlen(said), values = strcspn(said, "=");
    for (size_t i = values; said[values] && i-- > 0;)
        if ((said[i] == ':' || said[i] == ',') && said[i + 1] == ' ') {
            head = i;
            break;
        }
    int n = snprintf(reason, REASON_BYTES, "%.*s", (int)head, said);
    if (why && n < REASON_BYTES) {
        why += sizeof system - 1;
        n += snprintf(reason + n, (size_t)(REASON_BYTES - n), ": %.*s",
                      (int)strcspn(why, "'"), why);
    }
    if (n < REASON_BYTES)
        return;
    size_t end = REASON_BYTES - sizeof " ...";
    while (end > 0 && reason[end] != ' ')
        end--;
    snprintf(reason + end, REASON_BYTES - end, " ...");
}

/* Keep the description of the innermost error, which comes first. */
static herr_t keep_first(unsigned n, const H5E_error2_t *error, void *reason)
{
    if (n == 0 && error->desc)
        tidy(error->desc, reason);
    return 0;
}

tr_status tr_hdf_fail(const char *path, const char *format, ...)
{
    char sentence[200], reason[REASON_BYTES] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (tr_hdf_met_link())
        return tr_fail(TR_ERR_DATA,
                       "%s: a link in it leads to another file, %s; only what is in the "
                       "file itself is read, so copy that into one file first",
                       path, linked);
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, reason);
    if (!reason[0])
        return tr_fail(TR_ERR_DATA, "%s: %s", path, sentence);
    return tr_fail(TR_ERR_DATA, "%s: %s (HDF5: %s)", path, sentence, reason);
}

hid_t tr_hdf_access(void) { return file_access; }
hid_t tr_hdf_nameless_access(void) { return nameless_access; }

hid_t tr_hdf_open_attribute(hid_t object, const char *name, bool text)
{
    if (H5Aexists(object, name) <= 0)
        return -1;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0)
        return -1;
    hid_t space = H5Aget_space(attribute), type = H5Aget_type(attribute);
    H5T_class_t class = H5Tget_class(type);
    bool fits = H5Sget_simple_extent_npoints(space) == 1 &&
                (text ? class == H5T_STRING : class == H5T_INTEGER || class == H5T_FLOAT);
    H5Tclose(type);
    H5Sclose(space);
    if (fits)
        return attribute;
    H5Aclose(attribute);
    return -1;
}

bool tr_hdf_text(hid_t object, const char *name, char *out, size_t size)
{
    hid_t attribute = tr_hdf_open_attribute(object, name, true);
    if (attribute < 0)
        return false;
    hid_t type = H5Aget_type(attribute);
    bool found = false;
    if (H5Tis_variable_str(type) > 0) {
        char *text = NULL;
        found = H5Aread(attribute, type, &text) >= 0 && text;
        if (found)
            snprintf(out, size, "%s", text);
        H5free_memory(text);
    } else {
        size_t length = H5Tget_size(type);
        char *text = length < 65536 ? calloc(1, length + 1) : NULL;
        found = text && H5Aread(attribute, type, text) >= 0;
        if (found)
            snprintf(out, size, "%s", text);
        free(text);
    }
    H5Tclose(type);
    H5Aclose(attribute);
    return found;
}
