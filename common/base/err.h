/* Errors: every function that can fail returns a tr_status and leaves one
 * sentence for the user in a per-thread message. Only main() ends the program;
 * its exit status is the number of the tr_status. */
#ifndef TR_ERR_H
#define TR_ERR_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_status {
    TR_OK = 0,
    TR_ERR_DATA = 1,        /* a file, its contents, or the system refused */
    TR_ERR_USAGE = 2,       /* an option or its value is wrong */
    TR_ERR_UNAVAILABLE = 3, /* asked of a program or build that cannot do it */
    TR_ERR_MEMORY = 4,      /* does not fit in the memory allowed */
    TR_ERR_INTERNAL = 5,    /* a bug of ours */
    TR_ERR_STOPPED = 6      /* asked to stop, and what is done is kept */
} tr_status;

#define TR_CHECKED __attribute__((warn_unused_result))
#define TR_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Store the sentence (printf style, no newline, at most 1023 bytes kept) as this
 * thread's error and return `status`, so that `return tr_fail(...)` reads well. */
tr_status tr_fail(tr_status status, const char *format, ...) TR_PRINTF(2, 3);

/* This thread's last error sentence; "" when there was none. Never NULL; valid
 * until the thread's next tr_fail. */
const char *tr_error(void);

/* Return `status`'s value after the expression failed, from the calling function. */
#define TR_TRY(expression)                                                               \
    do {                                                                                 \
        tr_status tr_failed_ = (expression);                                             \
        if (tr_failed_ != TR_OK)                                                         \
            return tr_failed_;                                                           \
    } while (0)

/* For what only a bug of ours can break; compiled out with NDEBUG. */
#ifdef NDEBUG
#define TR_ASSERT(condition) ((void)0)
#else
void tr_assert_failed(const char *condition, const char *file, int line)
    __attribute__((noreturn));
#define TR_ASSERT(condition)                                                             \
    ((condition) ? (void)0 : tr_assert_failed(#condition, __FILE__, __LINE__))
#endif

#ifdef __cplusplus
}
#endif

#endif
