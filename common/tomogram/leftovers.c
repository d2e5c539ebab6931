#include "common/tomogram/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file_lock.h"
#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "common/tomogram/pyramid.h"

/* What comes after ".NAME." in names of files beside NAME; the last part of such a name
 * may go on. */
static const char *const kinds[] = {"partial",     "float", "journal", "prepared",
                                    "checkpoint-", "lock",  "store"};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* What comes after ".NAME.", or NULL. */
static const char *after_name(const char *path, const char *name)
{
    const char *own = tr_name_only(path);
    size_t length = strlen(own);
    if (name[0] != '.' || strncmp(name + 1, own, length) != 0 || name[length + 1] != '.')
        return NULL;
    return name + length + 2;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool tr_name_is_beside(const char *path, const char *name)
{
    const char *rest = after_name(path, name);
    for (int k = 0; rest && k < N_KINDS; k++)
        if (begins(rest, kinds[k]))
            return true;
    return false;
}

static bool read_number(const char **text, long *number)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    *number = strtol(*text, &end, 10);
    *text = end;
    return true;
}

bool tr_leftover_is_checkpoint(const char *path, const char *name, long *ranks)
{
    static const char first[] = "checkpoint-", second[] = "-of-";
    long rank, generation;
    const char *rest = after_name(path, name);
    if (!rest || !begins(rest, first))
        return false;
    rest += strlen(first);
    if (!read_number(&rest, &rank) || !begins(rest, second))
        return false;
    rest += strlen(second);
    if (!read_number(&rest, ranks) || *rest++ != '.' || !read_number(&rest, &generation))
        return false;
    return *rest == '\0' || strcmp(rest, ".new") == 0;
}

static bool is_leftover(const char *path, const char *name)
{
    static const char *const whole[] = {"partial", "partial.earlier", "partial.packed",
                                        "float", "journal"};
    const char *rest = after_name(path, name);
    long ranks;
    if (!rest)
        return false;
    for (size_t k = 0; k < sizeof whole / sizeof *whole; k++)
        if (strcmp(rest, whole[k]) == 0)
            return true;
    return begins(rest, "prepared") || begins(rest, "lock-") || begins(rest, "store") ||
           tr_leftover_is_checkpoint(path, name, &ranks);
}

static tr_status list(const char *path, DIR *listing,
                      void (*take)(void *self, const char *file), void *self)
{
    const struct dirent *entry;
    const int length = (int)(tr_name_only(path) - path);
    while ((entry = readdir(listing))) {
        if (!is_leftover(path, entry->d_name))
            continue;
        char *file = tr_format_string("%.*s%s", length, path, entry->d_name);
        if (!file)
            return TR_ERR_MEMORY;
        take(self, file);
        free(file);
    }
    return TR_OK;
}

tr_status tr_leftovers_each(const char *path, void (*take)(void *self, const char *file),
                            void *self)
{
    char *folder = tr_name_folder(path);
    if (!folder)
        return TR_ERR_MEMORY;
    DIR *listing = opendir(folder);
    int error = errno;
    free(folder);
    if (!listing) /* one that can be written to but not read holds what it holds */
        return error == ENOMEM
                   ? tr_fail(TR_ERR_MEMORY, "not enough memory to look at a folder")
                   : TR_OK;
    tr_status status = list(path, listing, take, self);
    closedir(listing);
    return status;
}

static void remove_it(void *self, const char *file)
{
    const char *rest = after_name(self, tr_name_only(file));
    if (rest && begins(rest, "lock-")) /* of another run that wants the output, perhaps */
        tr_lock_remove_dead(file);
    else if (rest && begins(rest, "store"))
        (void)!tr_folder_remove(file);
    else
        unlink(file);
}

tr_status tr_leftovers_remove(const char *path)
{
    return tr_leftovers_each(path, remove_it, (void *)path);
}
